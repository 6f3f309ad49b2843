"""fluxio_show: the head of a run, its rows, its context at any moment, its error."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from fluxio_django.models import Checkpoint, Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, choose, count, note, price


@pytest.fixture
def home(every_home: str) -> str:
    return every_home


@pytest.fixture
def charge(home: str, shell: Shell, registered: Register) -> Charge:
    """A run "r" that failed at its last step."""
    charge = Charge()
    registered("shop", [count, choose, {"big": [price], "small": [note]}, charge.stage()])
    shell.refused("fluxio_run", "shop", "--run-id", "r", "--input", '{"x": 1}')
    return charge


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]


def test_the_head_says_where_the_run_stands(shell: Shell, charge: Charge) -> None:
    lines = [line.split(maxsplit=1) for line in shell("fluxio_show", "r").splitlines()]
    facts = dict(line for line in lines if len(line) == 2)
    assert facts["Run"] == "r of shop"
    assert (facts["status"], facts["step"]) == ("failed", "charge")
    assert facts["error"] == "CardDeclinedError: no funds"


def test_each_row_says_what_its_step_did(shell: Shell, charge: Charge) -> None:
    found = rows(shell("fluxio_show", "r"))
    assert found[0][:5] == ["0", "start", "the", "initial", "context"]
    assert found[1][:4] == ["1", "count", "wrote", "rows"]
    assert found[2][:6] == ["2", "choose", "wrote", "nothing", "->", "big"]
    assert found[3][:5] == ["3", "choose/big/price", "wrote", "total,", "due"]
    assert found[4][:5] == ["4", "charge", "CardDeclinedError:", "no", "funds"]


def test_values_are_shown_only_when_asked_for(shell: Shell, charge: Charge) -> None:
    assert "12.50" not in shell("fluxio_show", "r")
    assert "Context now: x, rows, total, due" in shell.out
    assert ["total", "3", "Decimal('12.50')"] in [
        line.split() for line in shell("fluxio_show", "r", "--values").splitlines()
    ]


def test_the_context_of_a_moment_is_shown_by_row_and_by_step(shell: Shell, charge: Charge) -> None:
    assert "Context after row 0: x  " in shell("fluxio_show", "r", "--at", "0")
    assert "Context before step choose: x, rows  " in shell("fluxio_show", "r", "--at", "choose")
    out = shell("fluxio_show", "r", "--at", "price", "--values")
    assert "Context before step choose/big/price" in out
    assert ["rows", "3"] in [line.split() for line in out.splitlines()]


def test_a_moment_that_is_not_there_is_refused(shell: Shell, charge: Charge) -> None:
    assert "rows 0 to 4; there is no row 5" in shell.refused("fluxio_show", "r", "--at", "5")
    assert "'z' is no step" in shell.refused("fluxio_show", "r", "--at", "z")


def test_the_traceback_is_shown_when_more_is_asked_for(shell: Shell, charge: Charge) -> None:
    assert "Traceback" not in shell("fluxio_show", "r")
    assert "CardDeclinedError at step charge\n  no funds\n" in shell.out
    assert "Traceback (most recent call last)" in shell("fluxio_show", "r", verbosity=2)


def test_json_has_the_keys_or_the_values(shell: Shell, charge: Charge) -> None:
    facts = shell.json("fluxio_show", "r")
    assert facts["context"] == ["x", "rows", "total", "due"]
    assert [row["kind"] for row in facts["rows"]] == ["start", "step", "step", "step", "error"]
    assert facts["rows"][3]["wrote"] == ["total", "due"]
    assert facts["rows"][2]["route"] == "big"
    assert facts["rows"][4]["error"] == {"type": "CardDeclinedError", "message": "no funds"}
    facts = shell.json("fluxio_show", "r", "--values", "--at", "3")
    assert facts["at"] == 3
    assert facts["context"]["total"] == {"$decimal": "12.50"}
    assert facts["rows"][3]["wrote"]["total"] == {"$decimal": "12.50"}


def test_an_interrupted_run_says_so_and_how_to_go_on(
    home: str, shell: Shell, charge: Charge
) -> None:
    past = timezone.now() - timedelta(minutes=1)
    run = Run.objects.using(home).filter(run_id="r")
    run.update(status="running", owner="otherhost:1:2:3", lease_expires_at=past)
    out = shell("fluxio_show", "r")
    assert "interrupted" in out
    assert "otherhost:1:2:3 is gone; go on with: python manage.py fluxio_resume r" in out


def test_a_fork_names_its_source(shell: Shell, charge: Charge) -> None:
    charge.works = True
    shell("fluxio_fork", "r", "--as-run-id", "f", "--from-step", "charge")
    assert "forked from r, row 4" in shell("fluxio_show", "f")


def test_attempts_are_told_apart(shell: Shell, charge: Charge) -> None:
    charge.works = True
    shell("fluxio_resume", "r")
    shell("fluxio_replay", "r", "--from-step", "charge")
    found = rows(shell("fluxio_show", "r"))
    assert found[-2][1:5] == ["start", "begins", "again", "here"]
    assert [row[-1] for row in found] == ["1"] * 6 + ["2"] * 2


def test_a_damaged_row_is_named_after_what_can_be_shown(
    home: str, shell: Shell, charge: Charge
) -> None:
    damaged = Checkpoint.objects.using(home).filter(run__run_id="r", sequence=2)
    damaged.update(payload='{"writes":{"rows":9},"route":null}')
    assert "Row 2 of run 'r'" in shell.refused("fluxio_show", "r")
    assert "Run r of shop" in shell.out
    assert "Row 2 of run 'r'" in shell.refused("fluxio_show", "r", "--json")
    assert shell.out == ""


def test_history_is_shown_though_the_pipeline_is_gone(
    home: str, shell: Shell, charge: Charge
) -> None:
    Run.objects.using(home).filter(run_id="r").update(pipeline="gone")
    assert len(rows(shell("fluxio_show", "r"))) == 5


def test_an_unknown_run_is_refused(home: str, shell: Shell) -> None:
    message = shell.refused("fluxio_show", "r")
    assert "No run 'r' is recorded. Newest runs: none; start one with fluxio_run." in message
