"""--watch: what is told of a run that somebody else executes, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from fluxio import Context, RetryPolicy, stage
from fluxio_django import pipelines, services
from fluxio_django.management import watching
from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import choose, count, note, price


@stage(version="1", retry=RetryPolicy(max_attempts=2, base_delay=0.0))
def fail(ctx: Context) -> Context:
    raise ValueError("no such card, password=hunter2")


@pytest.fixture
def between_looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has something happen between two looks at the run; after the last one Ctrl-C is pressed."""

    def plan(*events: Callable[[], object]) -> None:
        left = list(events)

        def pause(seconds: float) -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop(0)()

        monkeypatch.setattr(watching.Watch, "pause", staticmethod(pause))

    return plan


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_run_is_left_to_a_worker_and_its_steps_are_seen_while_it_is_under_way(
    home: str, registered: Register, settings: Any, tmp_path: Path
) -> None:
    settings.FLUXIO = {"DATABASE": home, "DISPATCHER": "inline"}
    file = tmp_path / "log"

    @stage(version="1")
    def look(ctx: Context) -> Context:
        while "wrote noted" not in file.read_text():
            pass  # until whoever watches has told of the step before
        return ctx.set("looked", True)

    registered("shop", [note, look])
    with file.open("w", buffering=8192) as stream:
        call_command("fluxio_run", "shop", "--watch", "--run-id", "r", stdout=stream)
    found = words(file.read_text())
    assert found[0] == ["Run", "r", "of", "shop", "is", "left", "to", "a", "worker."]
    steps = {line[0]: line[-1] for line in found}
    assert (steps["note"], steps["look"]) == ("noted", "looked")
    assert found[-1][:4] == ["Run", "r", "succeeded", "after"]


def test_what_a_run_waits_for_and_how_far_it_is_are_told_once(
    every_home: str, shell: Shell, registered: Register, between_looks: Callable[..., None]
) -> None:
    registered("shop", [count, choose, {"big": [note], "small": [price]}])
    runs = Run.objects.using(every_home)
    runs.create(run_id="r", pipeline="shop", head=-1)
    executed = {"status": "running", "step": "count", "owner": "elsewhere:1::"}
    later = timezone.now() + timedelta(hours=1)
    progress = {"progress_done": 3, "progress_total": 3, "progress_at": later}
    between_looks(
        lambda: None,
        lambda: runs.update(held_back="At its limit: 1 of 1 is running."),
        lambda: runs.update(**executed, **progress, lease_expires_at=later),
        lambda: runs.filter(run_id="r").delete(),
    )
    said = shell.refused("fluxio_show", "r", "--watch")
    assert "No run 'r' is recorded" in said
    assert shell.out.splitlines() == [
        "  It waits for a worker.",
        "  It waits. At its limit: 1 of 1 is running.",
        "  count: 3 of 3 (100%)",
    ]


def test_a_run_that_fails_ends_with_exit_code_1_and_the_way_on(
    every_home: str, shell: Shell, registered: Register, settings: Any
) -> None:
    settings.FLUXIO = {"DATABASE": every_home, "DISPATCHER": "eager"}
    registered("shop", [note, fail])
    said = shell.refused("fluxio_run", "shop", "--watch", "--run-id", "r")
    assert said.startswith("Run r failed at step fail: ValueError")
    assert said.endswith("fluxio_requeue r")
    assert "hunter2" not in said + shell.out
    assert ["fail", "failed,", "2", "tries", "ValueError"] in words(shell.out)
    assert shell.refused("fluxio_show", "r", "--watch") == said


@pytest.mark.parametrize(
    ("status", "told"), [("cancelled", "Run r was cancelled: "), ("dead", "Run r is dead: ")]
)
def test_a_run_that_was_ended_by_others_ends_with_exit_code_1(
    home: str, shell: Shell, registered: Register, status: str, told: str
) -> None:
    registered("shop", [note])
    Run.objects.using(home).create(
        run_id="r", pipeline="shop", head=-1, status=status, error="by hand"
    )
    assert shell.refused("fluxio_show", "r", "--watch").startswith(f"{told}by hand\n")


def test_ctrl_c_ends_the_watching_and_not_the_run(
    home: str, shell: Shell, registered: Register, between_looks: Callable[..., None]
) -> None:
    registered("shop", [note])
    Run.objects.using(home).create(run_id="r", pipeline="shop", head=-1)
    between_looks()
    with pytest.raises(KeyboardInterrupt):
        shell("fluxio_show", "r", "--watch")
    assert shell.err.splitlines()[-1].endswith("fluxio_show r --watch")
    assert Run.objects.using(home).get(run_id="r").status == "queued"


def test_a_worker_that_is_gone_and_a_run_that_begins_anew_are_followed(
    home: str, shell: Shell, registered: Register, between_looks: Callable[..., None]
) -> None:
    registered("shop", [note, count])
    pipelines["shop"].invoke_sync({}, run_id="r")
    runs = Run.objects.using(home)
    runs.update(status="running", step="count", owner="elsewhere:1::", lease_expires_at=None)

    def begin_anew() -> None:
        runs.update(status="failed", owner="")
        registered("shop", [note])
        pipelines["shop"].invoke_sync({}, run_id="r")

    between_looks(begin_anew)
    shell("fluxio_show", "r", "--watch")
    assert "  Its worker is gone; it waits for another one." in shell.out.splitlines()
    assert [line[0] for line in words(shell.out) if "wrote" in line] == ["note", "count", "note"]
    assert shell.out.splitlines()[-1].startswith("Run r succeeded")


def test_json_is_one_object_at_the_end(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [note])
    services.start("shop", {}, run_id="r")
    facts = shell.json("fluxio_show", "r", "--watch")
    assert (facts["run_id"], facts["status"]) == ("r", "succeeded")


def test_a_pipeline_that_cannot_be_queued_is_refused(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [note], durable=False)
    assert "durable=True" in shell.refused("fluxio_run", "shop", "--watch")
