"""What an object has left in runs can be masked or deleted, and nothing else is touched."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.db import connections, transaction
from django.db.models import F

from fluxio import Context, Parallel, Secret, stage
from fluxio.errors import ConfigurationError, RunIDInUseError, SourceChangedError
from fluxio.pipeline import Pipeline
from fluxio_django import forgetting, services
from fluxio_django.forgetting import Forgetting, Target, Trace
from fluxio_django.models import Checkpoint, DeduplicationKey, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.references import Forgotten, ModelReference
from fluxio_django.registry import pipelines
from fluxio_django.tables import Tables
from tests.app.commands.conftest import Shell
from tests.app.lost_answers import commit_lost
from tests.rivals import rival_after

NAME = "forgetting.tests"
EMAIL = "ada@example.org"
WISH = Forgetting(by="dpo", reason="asked on Monday")


@stage(version="1")
def copy(ctx: Context) -> Context:
    return ctx.set("copied", {"of": [ctx["group"], 1.5, Decimal("1.20")], "email": EMAIL})


@stage(version="1")
def branch(ctx: Context) -> Context:
    return ctx.set("branched", (ctx["group"], ctx["other"]))


@stage(version="1")
def last(ctx: Context) -> Context:
    if ctx.get("fails"):
        raise ValueError(f"cannot write to {EMAIL}")
    return ctx.set("done", True)


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    nodes = [copy, Parallel([[branch]], name="fork"), last]
    pipelines.add(NAME, lambda: Pipeline(nodes, durable=True))
    yield pipelines[NAME]
    pipelines.remove(NAME)


@pytest.fixture
def group(database: str) -> Group:
    return Group.objects.using(database).create(name="ada")


@pytest.fixture
def other(database: str) -> Group:
    return Group.objects.using(database).create(name="somebody else")


@pytest.fixture
def shell() -> Shell:
    return Shell()


def target(group: Group) -> Target:
    return Target.parse(f"auth.Group:{group.pk}")


def payloads(database: str, run_id: str) -> str:
    rows = Checkpoint.objects.using(database).filter(run__run_id=run_id).order_by("sequence")
    return "\n".join(rows.values_list("payload", flat=True))


def test_references_are_masked_wherever_they_stand_and_nothing_else(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    given = {"group": group, "other": other, "set": {group}, "key": {group: Secret([group])}}
    pipeline.invoke_sync(given, run_id="r")
    pipeline.invoke_sync({"group": other, "other": other}, run_id="untouched")
    before, clean = services.history("r"), payloads(database, "untouched")
    (trace,) = services.traces_of(target(group))
    assert (trace.run_id, trace.about, trace.rows) == ("r", False, (0, 1, 2))
    (done,) = services.forget(target(group), WISH)
    assert (done.masked, done.deleted, done.problem) == (3, False, "")
    state = services.state("r")
    assert isinstance(state["group"], Forgotten)
    assert state["other"] == ModelReference("auth.Group", other.pk, database)
    assert state["copied"]["of"][1:] == [1.5, Decimal("1.20")]
    assert isinstance(state["copied"]["of"][0], Forgotten)
    assert state["copied"]["email"] == EMAIL
    assert isinstance(state["branched"][0], Forgotten)
    assert {type(one) for one in state["set"]} == {Forgotten}
    assert services.traces_of(target(group)) == []
    assert payloads(database, "untouched") == clean
    after = services.history("r")
    kept = ("sequence", "attempt", "kind", "step", "ip", "branch", "version", "created_at")
    for old, new in zip(before, after, strict=True):
        assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept]
        assert list(old.writes) == list(new.writes)


def test_all_values_of_a_run_about_the_object_are_masked(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    given = {"group": group, "other": other, "fails": True, "email": EMAIL}
    with pytest.raises(ValueError, match=EMAIL):
        pipeline.invoke_sync(given, run_id="r", subject=group)
    with pytest.raises(ValueError, match=EMAIL):
        pipeline.fork_sync("r", as_run_id="fork")
    services.forget(target(group), WISH)
    for run_id in ("r", "fork"):
        assert EMAIL not in payloads(database, run_id)
        assert "auth.Group" not in payloads(database, run_id)
        assert {type(value) for value in services.state(run_id).values()} == {Forgotten}
        assert set(services.state(run_id)) >= {"group", "email", "copied"}
        run = Run.objects.using(database).get(run_id=run_id)
        assert (run.error, run.subject_id, run.subject_type_id) == ("ValueError", "", None)
        error = services.history(run_id)[-1].error
        assert error is not None
        assert (error.type, error.message, error.traceback) == ("ValueError", "", "")


def test_the_rows_verify_and_the_history_says_that_they_were_masked(
    pipeline: DjangoPipeline, group: Group, other: Group, shell: Shell, caplog: Any
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r")
    with caplog.at_level(logging.INFO, "fluxio.audit"):
        services.forget(target(group), WISH)
    assert f"dpo had auth.Group:{group.pk} forgotten in run r" in caplog.text
    assert "nothing is wrong" in shell("fluxio_verify", "r")
    masked = [entry.forgotten for entry in services.history("r")]
    assert [told is not None for told in masked] == [True, True, True, False]
    assert masked[0] is not None
    assert (masked[0].by, masked[0].reason) == ("dpo", "asked on Monday")
    assert "by dpo: asked on Monday" in shell("fluxio_show", "r")
    assert pipeline.resume_sync("r")["done"] is True


def test_forgetting_twice_changes_nothing_more(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r", subject=group)
    first = services.traces_of(target(group))
    services.forget(target(group), WISH)
    once = payloads(database, "r")
    assert services.forget(target(group), WISH) == []
    (again,) = forgetting.forget(Tables(database), target(group), first, WISH)
    assert again.masked == 0
    assert payloads(database, "r") == once


def test_a_row_that_is_gone_can_be_forgotten(
    pipeline: DjangoPipeline, group: Group, other: Group
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r")
    wanted = target(group)
    group.delete()
    assert [done.masked for done in services.forget(wanted, WISH)] == [3]


def test_a_similar_key_is_another_object(
    pipeline: DjangoPipeline, other: Group, database: str
) -> None:
    ten = Group.objects.using(database).create(pk=7_000, name="ten times as much")
    pipeline.invoke_sync({"group": ten, "other": other, "pk": 700}, run_id="r")
    assert services.traces_of(Target.parse("auth.Group:700")) == []
    assert services.traces_of(Target.parse("auth.User:7000")) == []
    assert len(services.traces_of(Target.parse("auth.Group:7000"))) == 1


@pytest.mark.parametrize("status", ["running", "queued", "waiting"])
def test_an_open_run_is_left_alone_and_told(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str, shell: Shell, status: str
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="open", subject=group)
    pipeline.invoke_sync({"group": group, "other": other}, run_id="ended")
    Run.objects.using(database).filter(run_id="open").update(status=status)
    before = payloads(database, "open")
    said = shell.refused("fluxio_forget", f"auth.Group:{group.pk}", "--mask", "--reason", "x")
    assert "1 of 2 runs still hold" in said
    assert "open: It has not ended" in said
    assert payloads(database, "open") == before
    assert 'auth.Group","pk":' + str(group.pk) + "," not in payloads(database, "ended")


def test_delete_takes_the_runs_about_it_and_masks_the_others(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str, shell: Shell
) -> None:
    given = {"group": group, "other": other}
    pipeline.invoke_sync(given, run_id="about", subject=group)
    pipeline.invoke_sync(given, run_id="refers", subject=other)
    name = f"auth.Group:{group.pk}"
    assert "need a --reason" in shell.refused("fluxio_forget", name, "--delete")
    said = shell("fluxio_forget", name, "--delete", "--reason", "asked")
    assert "masked 3 rows of 1 run, deleted 1 run" in said
    runs = Run.objects.using(database)
    assert list(runs.values_list("run_id", flat=True)) == ["refers"]
    assert runs.get().subject_id == str(other.pk)
    assert not Checkpoint.objects.using(database).exclude(run__run_id="refers").exists()


def test_what_was_forgotten_though_the_answer_is_lost_is_told_and_logged(
    pipeline: DjangoPipeline,
    group: Group,
    other: Group,
    database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = {"group": group, "other": other}
    pipeline.invoke_sync(given, run_id="about", subject=group)
    pipeline.invoke_sync(given, run_id="refers")
    wish = Forgetting(by="dpo", reason="asked on Monday", delete=True)
    found = services.traces_of(target(group))
    for trace in found:
        with caplog.at_level(logging.INFO, "fluxio.audit"), commit_lost(database):
            work = forgetting.forget(Tables(database), target(group), [trace], wish)
            (done,) = work
        assert (done.deleted, done.masked, done.problem) == (
            trace.about,
            0 if trace.about else 3,
            "",
        )
    assert [trace.about for trace in found] == [True, False]
    assert "forgotten in run about (deleted)" in caplog.text
    assert "forgotten in run refers (3 rows masked, links cut)" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_any_number_of_runs_can_be_about_somebody() -> None:
    user = User.objects.create(username="ada")
    Run.objects.bulk_create(
        Run(run_id=f"r{number}", status="succeeded", requested_by=user) for number in range(1200)
    )
    connection = connections["default"]
    limit = connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    try:
        found = forgetting.traces(Tables("default"), Target(model=User, pk=user.pk))
    finally:
        connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, limit)
    assert [trace.run_id for trace in found] == [f"r{number}" for number in range(1200)]


def test_without_a_choice_it_only_says_what_it_would_touch(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str, shell: Shell
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r", subject=group)
    before = payloads(database, "r")
    name = f"auth.Group:{group.pk}"
    said = shell("fluxio_forget", name)
    assert "it is about it; row 0, 1, 2 refers to it" in said
    facts = shell.json("fluxio_forget", name)
    assert facts["dry_run"] is True
    assert facts["runs"][0]["rows"] == [0, 1, 2]
    assert payloads(database, "r") == before
    done = shell.json("fluxio_forget", name, "--mask", "--reason", "asked")
    assert done["runs"][0]["masked"] == 4
    assert shell.json("fluxio_forget", name)["runs"] == []


def test_a_damaged_row_is_told_and_holds_up_no_other_run(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    for run_id in ("a", "b"):
        pipeline.invoke_sync({"group": group, "other": other}, run_id=run_id, subject=group)
    damaged = Checkpoint.objects.using(database).filter(run__run_id="a", sequence=2)
    damaged.update(digest="0" * 64)
    first, second = services.forget(target(group), WISH)
    assert ("cannot be trusted" in first.problem, first.masked) == (True, 0)
    assert (second.problem, second.masked) == ("", 4)
    assert "auth.Group" in payloads(database, "a")  # all of a run or nothing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auth.Group", "names no object"),
        ("auth.Group:", "names no object"),
        ("no.Such:1", "names no object"),
        ("auth.Group:seven", "can be no primary key"),
        ("os.system:1", "names no object"),
    ],
)
def test_what_names_no_object_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Target.parse(text)


def test_a_user_who_asked_for_a_run_is_forgotten_and_the_run_stays(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str, shell: Shell
) -> None:
    user, same = (User.objects.using(database).create(username=name) for name in ("ada", "bob"))
    given = {"group": group, "other": other}
    pipeline.invoke_sync(given, run_id="r", requested_by=user)
    pipeline.invoke_sync(given, run_id="s", requested_by=same)
    clean = payloads(database, "r")
    assert "asked for by it" in shell("fluxio_forget", f"auth.User:{user.pk}")
    shell("fluxio_forget", f"auth.User:{user.pk}", "--delete", "--reason", "asked")
    assert "masked 0 rows of 0 runs, deleted 0 runs, cut the link from 1 run" in shell.out
    runs = Run.objects.using(database)
    assert dict(runs.values_list("run_id", "requested_by")) == {"r": None, "s": same.pk}
    assert payloads(database, "r") == clean
    assert services.traces_of(Target.parse(f"auth.User:{user.pk}")) == []


def test_the_key_that_kept_out_duplicates_is_forgotten_with_the_values(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    for run_id, subject in (("r", group), ("s", other)):
        given = {"group": group, "other": other}
        pipeline.invoke_sync(given, run_id=run_id, subject=subject)
        DeduplicationKey.objects.using(database).create(pipeline=NAME, key=run_id, run_id=run_id)
    services.forget(target(group), WISH)
    kept = DeduplicationKey.objects.using(database)
    assert list(kept.values_list("run_id", flat=True)) == ["s"]


def test_a_replay_that_has_read_the_values_already_is_refused(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group, "other": other, "of": EMAIL}, run_id="r", subject=group)
    looks = iter(("at the record", "for the first row", "at the values"))

    def forget() -> None:
        if next(looks) == "at the values":
            services.forget(target(group), WISH)

    with (
        rival_after(database, forget, times=3),
        pytest.raises(RunIDInUseError, match="has changed since it was looked at"),
    ):
        pipeline.replay_sync("r")
    assert EMAIL not in payloads(database, "r")
    assert Run.objects.using(database).get(run_id="r").status == "succeeded"


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_fork_that_has_read_the_values_already_reads_again_what_was_masked(
    pipeline: DjangoPipeline,
    group: Group,
    other: Group,
    database: str,
    moment: int,
    in_loop: bool,
) -> None:
    """Whichever statement of a fork the forgetting comes behind."""
    pipeline.invoke_sync(
        {"group": group, "other": other, "key": "of Ada"}, run_id="r", subject=group
    )
    looks = count()

    def forget() -> None:
        if next(looks) == moment:
            services.forget(target(group), WISH)

    fork = async_to_sync(pipeline.fork) if in_loop else pipeline.fork_sync
    with rival_after(database, forget, times=moment + 1):
        fork("r", as_run_id="fork")
    for run_id in ("r", "fork"):
        assert "of Ada" not in payloads(database, run_id)
        assert isinstance(services.state(run_id)["key"], Forgotten)


def test_a_fork_that_finds_its_source_changed_each_time_makes_no_run(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r")

    def change() -> None:
        Run.objects.using(database).filter(run_id="r").update(token=F("token") + 1)

    with (
        rival_after(database, change, times=1_000, least=10),
        pytest.raises(SourceChangedError, match="Try again"),
    ):
        pipeline.fork_sync("r", as_run_id="fork")
    assert not Run.objects.using(database).filter(run_id="fork").exists()


def test_a_fork_that_is_made_between_the_look_and_the_masking_is_masked_as_well(
    pipeline: DjangoPipeline,
    group: Group,
    other: Group,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r", subject=group)
    look = forgetting.traces

    def look_and_fork(*wanted: Any) -> list[Trace]:
        found = look(*wanted)
        if not Run.objects.using(database).filter(run_id="fork").exists():
            pipeline.fork_sync("r", as_run_id="fork")
        return found

    monkeypatch.setattr(forgetting, "traces", look_and_fork)
    done = services.forget(target(group), WISH)
    assert [(one.trace.run_id, one.masked > 0) for one in done] == [("r", True), ("fork", True)]
    assert look(Tables(database), target(group)) == []


ON_POSTGRESQL = pytest.param(
    "postgres",
    marks=[
        pytest.mark.postgresql,
        pytest.mark.django_db(transaction=True, databases=["default", "postgres"]),
    ],
)


@pytest.mark.parametrize("database", [ON_POSTGRESQL])
def test_a_resume_that_waits_for_the_forgetting_finds_no_value_that_was_masked(
    pipeline: DjangoPipeline, group: Group, other: Group, database: str
) -> None:
    """Its claim waits for the run's row, and must not bring the rows as they were before."""
    pipeline.invoke_sync({"group": group, "other": other}, run_id="r", subject=group)
    Run.objects.using(database).update(status="failed")
    found: list[Context] = []
    resuming = threading.Thread(target=_resume_in_a_thread, args=[pipeline, found])
    with transaction.atomic(using=database):
        services.forget(target(group), WISH)
        resuming.start()
        _wait_until_it_is_kept_waiting(resuming, database)
    resuming.join(60)
    assert [type(value) for final in found for value in final.values()] == [Forgotten] * 5


def _resume_in_a_thread(pipeline: DjangoPipeline, found: list[Context]) -> None:
    try:
        found.append(pipeline.resume_sync("r"))
    finally:
        connections.close_all()


def _wait_until_it_is_kept_waiting(thread: threading.Thread, database: str) -> None:
    kept = (
        "SELECT COUNT(*) FROM pg_locks "
        "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    )
    while thread.is_alive():
        with connections[database].cursor() as cursor:
            cursor.execute(kept)
            if cursor.fetchone()[0]:
                return
    pytest.fail("the resume waited for nobody")
