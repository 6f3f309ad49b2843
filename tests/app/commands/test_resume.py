"""fluxio_resume: what it goes on with, what it refuses, how it waits for a dead worker's lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fluxio import Context, stage
from fluxio.runtime.owner import own_identity
from fluxio_django.management.commands.fluxio_resume import Command
from fluxio_django.models import Checkpoint, Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, note, price

ELSEWHERE = "otherhost:1:2:3"
"""A worker of which this machine cannot know whether it lives."""


@pytest.fixture
def home(every_home: str) -> str:
    return every_home


@pytest.fixture
def failed(home: str, shell: Shell, registered: Register) -> Charge:
    """A run "r" that failed at its second step, which works from now on."""
    charge = Charge()
    registered("shop", [price, charge.stage(), note])
    shell.refused("fluxio_run", "shop", "--run-id", "r")
    charge.works = True
    return charge


def hold(home: str, *, seconds: float, owner: str = ELSEWHERE) -> None:
    """Put the run into the hands of a worker whose lease ends in so many seconds."""
    lease = timezone.now() + timedelta(seconds=seconds)
    runs = Run.objects.using(home).filter(run_id="r")
    runs.update(status="running", owner=owner, lease_expires_at=lease)


def resume_with(pause: Callable[[float], None]) -> Command:
    command = Command()
    command.pause = pause
    return command


def test_a_failed_run_goes_on_and_what_is_recorded_does_not_run_again(
    home: str, shell: Shell, failed: Charge
) -> None:
    out = shell("fluxio_resume", "r")
    assert "goes on" in out
    steps = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert steps == ["charge", "note"]
    assert failed.calls == 2
    assert Run.objects.using(home).get(run_id="r").status == "succeeded"


def test_a_finished_run_gives_its_stored_result(shell: Shell, failed: Charge) -> None:
    shell("fluxio_resume", "r")
    assert "has succeeded before; nothing was run" in shell("fluxio_resume", "r")
    facts = shell.json("fluxio_resume", "r")
    assert (facts["executed"], facts["context"]["charged"]) == (False, True)
    assert failed.calls == 2


def test_an_unknown_run_is_refused_with_the_newest_ids(shell: Shell, failed: Charge) -> None:
    assert "No run 'R' is recorded. Newest runs: r." in shell.refused("fluxio_resume", "R")


def test_a_run_of_a_pipeline_that_is_gone_is_refused(
    home: str, shell: Shell, failed: Charge
) -> None:
    Run.objects.using(home).filter(run_id="r").update(pipeline="gone")
    assert "No pipeline 'gone' is registered" in shell.refused("fluxio_resume", "r")


def test_a_changed_pipeline_is_refused_with_what_changed_and_nothing_runs(
    home: str, shell: Shell, registered: Register, failed: Charge
) -> None:
    @stage(name="price", version="2")
    async def other_price(ctx: Context) -> Context:
        raise AssertionError("must not run")

    registered("shop", [other_price, failed.stage()])
    rows = Checkpoint.objects.using(home).count()
    for command in ("fluxio_resume", "fluxio_replay", "fluxio_fork"):
        message = shell.refused(command, "r")
        assert "Nothing was run" in message
        assert "  removed: note" in message.splitlines()
        assert any(line.startswith("  changed: price") for line in message.splitlines())
    assert failed.calls == 1
    assert Checkpoint.objects.using(home).count() == rows


def test_a_run_that_is_executed_elsewhere_is_refused_with_owner_and_lease(
    home: str, shell: Shell, failed: Charge
) -> None:
    hold(home, seconds=60)
    message = shell.refused("fluxio_resume", "r")
    lease = Run.objects.using(home).get(run_id="r").lease_expires_at
    assert lease is not None
    assert f"is being executed by {ELSEWHERE}" in message
    assert lease.strftime("%H:%M:%S") in message
    assert "--wait" in message
    assert failed.calls == 1


def test_a_damaged_row_is_named_and_nothing_runs(home: str, shell: Shell, failed: Charge) -> None:
    rows = Checkpoint.objects.using(home).filter(run__run_id="r", sequence=1)
    rows.update(payload='{"writes":{},"route":null}')
    assert "Row 1 of run 'r'" in shell.refused("fluxio_resume", "r")
    assert failed.calls == 1


def test_waiting_ends_when_the_lease_of_the_killed_worker_does(
    home: str, shell: Shell, failed: Charge
) -> None:
    hold(home, seconds=60)
    pauses = []

    def pause(seconds: float) -> None:
        assert failed.calls == 1
        pauses.append(seconds)
        if len(pauses) == 3:
            hold(home, seconds=-1)

    out = shell(resume_with(pause), "r", "--wait")
    assert len(pauses) == 3
    assert f"Run r is held by {ELSEWHERE}. Waiting" in out
    assert Run.objects.using(home).get(run_id="r").status == "succeeded"


def test_waiting_gives_up_when_the_worker_turns_out_to_be_alive(
    home: str, shell: Shell, failed: Charge
) -> None:
    hold(home, seconds=60)
    message = shell.refused(resume_with(lambda _: hold(home, seconds=90)), "r", "--wait")
    assert "which is alive" in message
    assert failed.calls == 1


def test_nothing_is_waited_for_when_nobody_holds_the_run(
    home: str, shell: Shell, failed: Charge
) -> None:
    def pause(seconds: float) -> None:
        raise AssertionError("nobody to wait for")

    out = shell(resume_with(pause), "r", "--wait")
    assert "Waiting" not in out
    assert failed.calls == 2


def test_a_worker_of_this_machine_that_is_gone_is_not_waited_for(
    home: str, shell: Shell, failed: Charge
) -> None:
    host, _, _, namespace = own_identity().split(":")
    hold(home, seconds=3600, owner=f"{host}:1:0:{namespace}")
    assert "interrupted" in shell("fluxio_runs")
    shell("fluxio_resume", "r")
    assert failed.calls == 2


def test_waiting_says_nothing_to_scripts(home: str, shell: Shell, failed: Charge) -> None:
    hold(home, seconds=60)
    facts: Any = shell.json(resume_with(lambda _: hold(home, seconds=-1)), "r", "--wait")
    assert facts["status"] == "succeeded"
