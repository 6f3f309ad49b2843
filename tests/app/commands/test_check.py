"""fluxio_check: what a deploy would do to open runs; and what --force-version does about it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.test.utils import CaptureQueriesContext

from fluxio import Context, Pipeline, stage
from fluxio.verification import verify_log
from fluxio_django import pipelines, register, services
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import PipelineVersion, Run
from fluxio_django.runner import Executed, execute
from fluxio_django.tables import Tables
from tests.app.commands.conftest import Register, Shell

ran: list[str] = []
failing: set[str] = set()


def step(name: str, version: str = "1") -> Any:
    def work(ctx: Context) -> Context:
        ran.append(name)
        if name in failing:
            raise RuntimeError(name)
        return ctx.set(name, version)

    return stage(name=name, version=version)(work)


@pytest.fixture
def home(every_home: str) -> str:
    ran.clear()
    failing.clear()
    return every_home


@pytest.fixture
def stopped(home: str, registered: Register) -> str:
    """A run "r" of the stages a, b and c that was interrupted before c; its version."""
    registered("shop", [step("a"), step("b"), step("c")])
    failing.add("c")
    with pytest.raises(RuntimeError):
        pipelines["shop"].invoke_sync({}, run_id="r")
    failing.clear()
    ran.clear()
    runs = Run.objects.using(home).filter(run_id="r")
    runs.update(status="running", owner="", finished_at=None)
    return pipelines["shop"].version


def findings(shell: Shell, *words: str, fails: bool) -> list[dict[str, Any]]:
    words = ("fluxio_check", *words, "--json")
    if fails:
        assert "would refuse" in shell.refused(*words)
    else:
        shell(*words)
    return [json.loads(line) for line in shell.out.splitlines()]


def test_a_run_of_the_same_version_is_safe(stopped: str, shell: Shell) -> None:
    found, totals = findings(shell, fails=False)
    assert (found["verdict"], found["step"], found["version"]) == ("safe", "c", stopped)
    assert totals == {"examined": 1, "safe": 1, "re-run": 0, "blocked": 0}
    assert "goes on with all of 1 run" in shell("fluxio_check")


@pytest.mark.parametrize(
    ("nodes", "step_key", "repeats"),
    [
        ([step("a"), step("b"), step("c", "2")], "c", False),
        ([step("a"), step("b"), step("c"), step("d")], "c", False),
        ([step("a"), step("b"), step("x"), step("c")], "x", True),
        ([step("a"), step("b", "2"), step("c")], "b", True),
        ([step("a"), step("x"), step("b"), step("c")], "x", True),
        ([step("a"), step("c")], "c", False),
    ],
    ids=["due-changed", "appended", "inserted-at-due", "changed", "inserted", "removed"],
)
def test_a_changed_step_is_where_a_run_could_go_on(
    stopped: str, shell: Shell, registered: Register, nodes: Any, step_key: str, repeats: bool
) -> None:
    registered("shop", nodes)
    found, totals = findings(shell, fails=True)
    assert (found["verdict"], found["step"]) == ("re-run", step_key)
    assert totals["re-run"] == 1
    if not repeats:
        assert not found["repeats_recorded_steps"]
    assert found["changes"]
    # The verdict is right: the replay it speaks of works, and everything before stays as it was.
    shell("fluxio_replay", "r", "--from-step", step_key, "--force-version", "--reason", "tested")
    assert ran[0] == step_key
    assert "a" not in ran
    assert findings(shell, fails=False)[-1]["examined"] == 0


def test_what_cannot_go_on_is_blocked_and_says_why(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    registered("shop", [step("z"), step("b"), step("c")])
    found, _ = findings(shell, fails=True)
    assert found["verdict"] == "blocked"  # it began before a step that is gone
    assert "row 0 has no place in it" in found["reason"]
    pipelines.remove("shop")
    found, totals = findings(shell, fails=True)
    assert (found["verdict"], totals["blocked"]) == ("blocked", 1)
    assert "No pipeline 'shop' is registered" in found["reason"]

    @register("shop")
    def factory() -> Pipeline:
        raise ZeroDivisionError("a factory with a bug")

    found, _ = findings(shell, fails=True)
    assert "a factory with a bug" in found["reason"]
    registered("shop", [step("a"), step("c")])
    PipelineVersion.objects.using(home).all().delete()
    found, _ = findings(shell, fails=True)
    assert found["verdict"] == "blocked"
    assert "not known what the version" in found["reason"]


def test_a_damaged_log_is_blocked_and_the_others_are_told(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    with pytest.raises(RuntimeError):
        failing.add("c")
        pipelines["shop"].invoke_sync({}, run_id="whole")
    runs = Run.objects.using(home)
    runs.filter(run_id="whole").update(status="queued", finished_at=None)
    runs.get(run_id="r").checkpoints.filter(sequence=1).update(payload="1:p:{}")
    registered("shop", [step("a"), step("b"), step("c"), step("d")])
    first, second, _ = findings(shell, fails=True)
    assert (first["run_id"], first["verdict"], second["verdict"]) == ("r", "blocked", "re-run")
    assert "cannot be trusted" in first["reason"]


def test_passages_are_tried_without_touching_the_run(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    before = list(Run.objects.using(home).values())
    registered("shop", [step("a"), step("b"), step("c"), step("d")], compatible_with=[stopped])
    found, _ = findings(shell, fails=False)
    assert (found["verdict"], found["passage"], found["step"]) == ("safe", "compatible", "c")
    moved = Pipeline([step("begin"), step("end")], durable=True)
    moved.migrate(stopped)(lambda context, where: (context, "end"))
    pipelines.remove("shop")
    register("shop", moved)
    found, _ = findings(shell, fails=False)
    assert (found["passage"], found["step"]) == ("migrated", "end")
    assert "migrated" in shell("fluxio_check")
    wrong = Pipeline([step("begin"), step("end")], durable=True)
    wrong.migrate(stopped)(lambda context, where: context)
    pipelines.remove("shop")
    register("shop", wrong)
    found, _ = findings(shell, fails=True)
    assert found["verdict"] == "blocked"
    assert "have its migration return" in found["reason"]
    assert list(Run.objects.using(home).values()) == before
    assert ran == []


def test_ended_runs_are_examined_when_asked_for(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    Run.objects.using(home).update(status="failed")
    registered("shop", [step("a", "2")])
    assert findings(shell, fails=False)[-1]["examined"] == 0
    assert findings(shell, "--all", fails=True)[0]["step"] == "a"
    assert findings(shell, "--all", "--pipeline", "other", fails=False)[-1]["examined"] == 0


def test_many_runs_of_the_same_version_cost_few_queries(
    stopped: str, shell: Shell, home: str
) -> None:
    for number in range(30):
        pipelines["shop"].invoke_sync({}, run_id=f"more-{number}")
    Run.objects.using(home).update(status="queued")
    with CaptureQueriesContext(connections[home]) as queries:
        assert findings(shell, fails=False)[-1]["safe"] == 31
    assert len(queries) <= 3


def test_force_goes_on_and_the_history_says_who_and_why(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    registered("shop", [step("a"), step("b"), step("c", "2")])
    assert "was recorded by version" in shell.refused("fluxio_resume", "r")
    assert "needs a --reason" in shell.refused("fluxio_resume", "r", "--force-version")
    shell("fluxio_resume", "r", "--force-version", "--reason", "c only logs more")
    assert ran == ["c"]
    run = Run.objects.using(home).get(run_id="r")
    assert (run.status, run.version) == ("succeeded", pipelines["shop"].version)
    assert f"goes on from version {stopped} (forced by" in shell("fluxio_show", "r")
    assert "c only logs more" in shell.out
    journal = DjangoJournal(Tables(home))
    record, rows = journal.run_blocking("r"), journal.rows_blocking("r", first=0)
    assert record is not None
    assert verify_log(record, rows, pipelines["shop"].compiled) == []
    shell("fluxio_verify", "r")


def test_a_fork_can_be_forced_as_well_and_its_source_stays(
    stopped: str, shell: Shell, registered: Register, home: str
) -> None:
    registered("shop", [step("a"), step("b"), step("c", "2")])
    assert "was recorded by version" in shell.refused("fluxio_fork", "r", "--as-run-id", "f")
    forced = ("--force-version", "--reason", "c only logs more")
    shell("fluxio_fork", "r", "--as-run-id", "f", *forced)
    assert ran == ["c"]
    runs = Run.objects.using(home)
    assert dict(runs.values_list("run_id", "version")) == {
        "r": stopped,
        "f": pipelines["shop"].version,
    }


def test_the_decision_takes_the_permission(db: None) -> None:
    user = User.objects.create_user("ada")
    with pytest.raises(PermissionDenied, match="force_version"):
        services.forced_by(user, "because")
    user.user_permissions.add(Permission.objects.get(codename="force_version"))
    user = User.objects.get(pk=user.pk)
    force = services.forced_by(user, "because", "192.0.2.7")
    assert (force.by, force.reason) == ("ada from 192.0.2.7", "because")


def test_a_queued_run_that_cannot_be_carried_over_stays_queued(
    stopped: str, registered: Register, home: str, settings: Any
) -> None:
    runs = Run.objects.using(home).filter(run_id="r")
    runs.update(status="queued", owner="", finished_at=None)
    registered("shop", [step("a"), step("renamed"), step("c")], compatible_with=[stopped])
    assert execute("r") is Executed.HELD_BACK
    run = runs.get()
    assert (run.status, run.version, ran) == ("queued", stopped, [])
    assert "needs version" in run.held_back
    registered("shop", [step("a"), step("b"), step("c", "2")], compatible_with=[stopped])
    assert execute("r") is Executed.DONE
    assert (runs.get().status, ran) == ("succeeded", ["c"])


def test_a_migration_sees_instances_and_a_lost_row_is_told(
    home: str, shell: Shell, registered: Register
) -> None:
    group = Group.objects.using(home).create(name="order 7")
    registered("shop", [step("a"), step("c")])
    failing.add("c")
    with pytest.raises(RuntimeError):
        pipelines["shop"].invoke_sync({"group": group}, run_id="r")
    failing.clear()
    old = pipelines["shop"].version
    Run.objects.using(home).update(status="queued", finished_at=None)
    new = Pipeline([step("a"), step("d")], durable=True)
    new.migrate(old)(lambda context, where: (context.set("name", context["group"].name), "d"))
    pipelines.remove("shop")
    register("shop", new)
    assert findings(shell, fails=False)[0]["passage"] == "migrated"
    assert pipelines["shop"].resume_sync("r")["name"] == "order 7"
