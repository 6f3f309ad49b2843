"""fluxio_runs: which runs are listed, in which order, and what they are called."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, note, price


@pytest.fixture
def home(every_home: str) -> str:
    return every_home


@pytest.fixture
def runs(home: str, shell: Shell, registered: Register) -> None:
    """Runs "one", "two" and, newest, "three", which failed."""
    registered("shop", [price])
    registered("other", [note, Charge().stage()])
    shell("fluxio_run", "shop", "--run-id", "one")
    shell("fluxio_run", "shop", "--run-id", "two")
    shell.refused("fluxio_run", "other", "--run-id", "three")


def listed(shell: Shell, *words: str) -> list[str]:
    return [line.split()[0] for line in shell("fluxio_runs", *words).splitlines()[1:]]


def interrupt(home: str, run_id: str) -> None:
    past = timezone.now() - timedelta(minutes=1)
    run = Run.objects.using(home).filter(run_id=run_id)
    run.update(status="running", owner="otherhost:1:2:3", lease_expires_at=past)


def test_the_newest_runs_come_first(runs: None, shell: Shell) -> None:
    assert listed(shell) == ["three", "two", "one"]


def test_runs_are_chosen_by_status_and_pipeline(runs: None, shell: Shell) -> None:
    assert listed(shell, "--status", "succeeded") == ["two", "one"]
    assert listed(shell, "--pipeline", "other") == ["three"]
    assert shell("fluxio_runs", "--pipeline", "other", "--status", "dead") == "No such runs.\n"
    assert shell("fluxio_runs", "--pipeline", "\x00\udc80") == "No such runs.\n"


def test_a_limit_is_kept_and_said(runs: None, shell: Shell) -> None:
    out = shell("fluxio_runs", "--limit", "2")
    assert "one " not in out
    assert out.splitlines()[-1] == "There are more; --limit 4 shows twice as many."
    assert "more" not in shell("fluxio_runs", "--limit", "3")


def test_a_running_run_whose_worker_is_gone_is_called_interrupted(
    runs: None, home: str, shell: Shell
) -> None:
    interrupt(home, "two")
    lease = timezone.now() + timedelta(minutes=1)
    Run.objects.using(home).filter(run_id="one").update(
        status="running", owner="otherhost:1:2:3", lease_expires_at=lease
    )
    shown = {line.split()[0]: line.split()[1] for line in shell("fluxio_runs").splitlines()}
    assert (shown["two"], shown["one"]) == ("interrupted", "running")
    assert listed(shell, "--status", "interrupted") == ["two"]
    assert listed(shell, "--status", "running") == ["one"]


def test_json_is_one_object_a_line(runs: None, home: str, shell: Shell) -> None:
    interrupt(home, "two")
    facts = [json.loads(line) for line in shell("fluxio_runs", "--json").splitlines()]
    assert [one["run_id"] for one in facts] == ["three", "two", "one"]
    assert [one["status"] for one in facts] == ["failed", "interrupted", "succeeded"]
    assert facts[0]["error"] == "CardDeclinedError: no funds"
    assert facts[0]["step"] == "charge"
    assert facts[2]["created_at"].endswith("+00:00")


def test_a_home_without_runs_says_how_to_start_one(home: str, shell: Shell) -> None:
    assert "Start one with fluxio_run" in shell("fluxio_runs")
    assert shell("fluxio_runs", "--json") == ""


def test_no_run_costs_a_query_unless_it_is_running(runs: None, home: str, shell: Shell) -> None:
    with CaptureQueriesContext(connections[home]) as queries:
        shell("fluxio_runs")
    assert len(queries) == 1


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "٣", "9" * 10])
def test_a_limit_that_is_none_is_wrong_usage(limit: str) -> None:
    with pytest.raises(CommandError, match="is no whole number"):
        call_command("fluxio_runs", f"--limit={limit}")
