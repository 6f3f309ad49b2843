"""fluxio_diff: two runs, two moments, keys or paths."""

from __future__ import annotations

import json

import pytest

from fluxio import Context, stage
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, note, price


@stage(version="1")
async def order(ctx: Context) -> Context:
    return ctx.set("order", {"lines": [{"price": 1}, {"price": ctx.get("price", 2)}], "open": None})


@pytest.fixture
def runs(home: str, shell: Shell, registered: Register) -> None:
    """Runs "a" and "b" that differ in their input, and in what follows from it."""
    registered("shop", [order, price, note])
    shell("fluxio_run", "shop", "--run-id", "a", "--input", '{"x": 1}')
    shell("fluxio_run", "shop", "--run-id", "b", "--input", '{"x": true, "price": 3}')


def test_keys_that_differ_are_shown_side_by_side(runs: None, shell: Shell) -> None:
    lines = [line.split() for line in shell("fluxio_diff", "a", "b").splitlines()]
    assert lines[0] == ["key", "a", "b"]
    assert ["x", "1", "True"] in lines
    assert ["price", "-", "3"] in lines
    assert {line[0] for line in lines[1:]} == {"x", "order", "price"}


def test_paths_say_what_differs_inside(runs: None, shell: Shell) -> None:
    out = shell("fluxio_diff", "a", "b", "--paths")
    assert '["order"]["lines"][1]["price"]  changed' in out
    assert '["x"]                           type changed' in out


def test_long_values_have_lines_of_their_own_in_a_pipe(runs: None, shell: Shell) -> None:
    assert "shortened" not in shell("fluxio_diff", "a", "b")
    for run_id in "cd":
        given = json.dumps({"text": run_id * 900, "k" * 90: run_id})
        shell("fluxio_run", "shop", "--run-id", run_id, "--input", given)
    for options in ([], ["--paths"]):
        lines = [line.split() for line in shell("fluxio_diff", "c", "d", *options).splitlines()]
        assert ["a", f"'{'c' * 900}'"] in lines
        assert ["b", f"'{'d' * 900}'"] in lines
        assert all(len(" ".join(words)) <= 120 for words in lines if words[0] not in "ab")
    assert shell.json("fluxio_diff", "c", "d")["keys"]["text"]["a"] == "c" * 900


def test_a_missing_side_is_absent_and_none_is_null_in_json(runs: None, shell: Shell) -> None:
    facts = shell.json("fluxio_diff", "a", "b")
    assert facts["keys"]["price"] == {"b": 3}
    assert facts["keys"]["x"] == {"a": 1, "b": True}
    assert facts["a"] == {"run_id": "a", "at": None}
    facts = shell.json("fluxio_diff", "a", "b", "--paths")
    (change,) = [found for found in facts["paths"] if found["path"].startswith('["order"]')]
    assert change == {
        "path": '["order"]["lines"][1]["price"]',
        "kind": "changed",
        "a": 2,
        "b": 3,
    }
    assert facts["truncated"] is False


def test_two_moments_of_one_run_are_compared_by_row_and_by_step(runs: None, shell: Shell) -> None:
    by_row = shell.json("fluxio_diff", "a", "a", "--at-a", "1", "--at-b", "2")
    by_step = shell.json("fluxio_diff", "a", "a", "--at-a", "price", "--at-b", "note")
    assert set(by_row["keys"]) == {"total", "due"}
    assert by_row["keys"] == by_step["keys"]


def test_no_difference_is_said(runs: None, shell: Shell) -> None:
    assert shell("fluxio_diff", "a", "a") == "No difference.\n"
    assert shell.json("fluxio_diff", "a", "a")["keys"] == {}


def test_what_is_not_recorded_is_refused(runs: None, shell: Shell) -> None:
    assert "No run 'c' is recorded" in shell.refused("fluxio_diff", "a", "c")
    assert "there is no row 9" in shell.refused("fluxio_diff", "a", "b", "--at-a", "9")
    assert "'z' is no step" in shell.refused("fluxio_diff", "a", "b", "--at-b", "z")


def test_runs_of_different_pipelines_are_compared(
    runs: None, shell: Shell, registered: Register
) -> None:
    charge = Charge()
    charge.works = True
    registered("other", [charge.stage()])
    shell("fluxio_run", "other", "--run-id", "o")
    assert shell.json("fluxio_diff", "a", "o")["keys"]["charged"] == {"b": True}
