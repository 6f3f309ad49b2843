"""fluxio_replay and fluxio_fork: from where they run, under which id, and with what set."""

from __future__ import annotations

import json

import pytest

from fluxio_django.models import Checkpoint, Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, choose, count, note, price


@pytest.fixture
def home(every_home: str) -> str:
    return every_home


@pytest.fixture
def charge(home: str, shell: Shell, registered: Register) -> Charge:
    """A finished run "r"."""
    charge = Charge()
    charge.works = True
    registered("shop", [price, count, choose, {"big": [charge.stage()], "small": [note]}])
    shell("fluxio_run", "shop", "--run-id", "r")
    return charge


def test_a_replay_is_a_new_attempt_from_the_beginning(
    home: str, shell: Shell, charge: Charge
) -> None:
    before = list(Checkpoint.objects.using(home).values_list("sequence", "digest"))
    assert "attempt 2" in shell("fluxio_replay", "r")
    assert charge.calls == 2
    run = Run.objects.using(home).get(run_id="r")
    assert (run.attempt, run.status) == (2, "succeeded")
    after = list(Checkpoint.objects.using(home).values_list("sequence", "digest"))
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.parametrize("step", ["choose/big/charge", "charge"])
def test_a_replay_begins_at_a_step_by_its_key_or_its_stage(
    step: str, shell: Shell, charge: Charge
) -> None:
    out = shell("fluxio_replay", "r", "--from-step", step)
    steps = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert steps == ["choose/big/charge"]


def test_an_unknown_step_is_refused_with_those_there_are(shell: Shell, charge: Charge) -> None:
    for command in ("fluxio_replay", "fluxio_fork"):
        message = shell.refused(command, "r", "--from-step", "nope")
        assert "'nope' is no step of pipeline 'shop'" in message
        assert "choose/big/charge" in message
    assert charge.calls == 1


def test_a_step_the_run_never_came_to_is_refused(shell: Shell, charge: Charge) -> None:
    message = shell.refused("fluxio_replay", "r", "--from-step", "choose/small/note")
    assert "never came to step 'choose/small/note'" in message


def test_a_fork_is_a_linked_run_that_leaves_its_source_alone(
    home: str, shell: Shell, charge: Charge
) -> None:
    before = list(Checkpoint.objects.using(home).filter(run__run_id="r").values())
    facts = shell.json(
        "fluxio_fork", "r", "--as-run-id", "f", "--from-step", "choose", "--set", "rows=1"
    )
    assert (facts["run_id"], facts["source"], facts["status"]) == ("f", "r", "succeeded")
    assert facts["context"]["noted"] is True
    assert "charged" not in facts["context"]
    fork = Run.objects.using(home).get(run_id="f")
    assert (fork.parent, fork.parent_sequence) == ("r", 2)
    assert list(Checkpoint.objects.using(home).filter(run__run_id="r").values()) == before


def test_set_takes_any_json_and_goes_before_the_patch(shell: Shell, charge: Charge) -> None:
    words = ["--set", 'name="Ada=1"', "--set", "tags=[1, null]", "--patch", '{"name": 0, "x": 1}']
    context = shell.json("fluxio_fork", "r", *words)["context"]
    assert (context["name"], context["tags"], context["x"]) == ("Ada=1", [1, None], 1)


def test_a_fork_without_an_id_is_given_one(home: str, shell: Shell, charge: Charge) -> None:
    run_id = shell.json("fluxio_fork", "r")["run_id"]
    assert Run.objects.using(home).get(run_id=run_id).parent == "r"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "name"], "--set 'name' is no pair"),
        (["--set", "=1"], "--set '=1' is no pair"),
        (["--set", "a=1", "--set", "a=2"], "--set sets 'a' twice"),
        (["--set", "name=Ada"], "A text needs quotes of its own"),
        (["--patch", "[1]"], "--patch is an array"),
        (["--patch", "{"], "--patch was not taken"),
        (["--as-run-id", "a b"], "is no run id"),
        (["--as-run-id", "r"], "exists already"),
    ],
)
def test_what_a_fork_cannot_take_is_refused_before_anything_runs(
    words: list[str], message: str, home: str, shell: Shell, charge: Charge
) -> None:
    assert message in shell.refused("fluxio_fork", "r", *words)
    assert Run.objects.using(home).count() == 1
    assert charge.calls == 1


def test_a_fork_that_fails_is_told_with_the_command_that_resumes_it(
    shell: Shell, charge: Charge
) -> None:
    charge.works = False
    words = ["fluxio_fork", "r", "--as-run-id", "f", "--from-step", "charge"]
    message = shell.refused(*words, "--json")
    assert message.splitlines()[-1].strip() == "python manage.py fluxio_resume f"
    assert json.loads(shell.out)["source"] == "r"
    charge.works = True
    assert shell.json("fluxio_resume", "f")["status"] == "succeeded"
