"""The tab key: names and ids are offered as a shell takes them, and none of them is carried out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from fluxio_django.management.commands.fluxio_completion import SCRIPT
from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import price

BASH = shutil.which("bash")
HOSTILE = [
    "$(touch${IFS}done)",
    "`touch${IFS}done`",
    "a'b\"c",
    ";touch${IFS}done;",
    "*",
    "~root",
    "back\\slash",
    "!1",
    "{a,b}",
]
ASK = """
set -- "$1"
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_fluxio_complete
printf '%s\\n' "${COMPREPLY[@]}"
"""

Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(tmp_path: Path) -> Complete:
    """What bash offers for a line; the project has these pipelines and runs."""
    if BASH is None:
        pytest.skip("needs bash")
    (tmp_path / "runs").write_text("".join(f"{one}\n" for one in ["order-1", "order:2", *HOSTILE]))
    (tmp_path / "pipelines").write_text("shop\nshop.refund\n")
    project = tmp_path / "manage.py"
    project.write_text('#!/bin/sh\ncat "$3"\n')
    project.chmod(0o755)

    def ask(line: str) -> list[str]:
        done = subprocess.run(
            [str(BASH), "--norc", "-c", SCRIPT + ASK, "bash", line],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        assert not (tmp_path / "done").exists()
        return [line for line in done.stdout.splitlines() if line]

    return ask


def test_the_script_is_what_the_command_writes(shell: Shell) -> None:
    assert shell("fluxio_completion") == SCRIPT


def test_ids_of_runs_are_offered_quoted_and_never_carried_out(
    complete: Complete, tmp_path: Path
) -> None:
    offered = complete("./manage.py fluxio_show ")
    assert offered[:2] == ["order-1", "order:2"]
    for quoted, id in zip(offered[2:], HOSTILE, strict=True):
        line = f"printf %s {quoted}"
        typed = subprocess.run([str(BASH), "--norc", "-c", line], capture_output=True, text=True)
        assert typed.stdout == id
    assert not (tmp_path / "done").exists()


def test_what_was_typed_so_far_narrows_the_offer(complete: Complete) -> None:
    assert complete("./manage.py fluxio_diff order-1 order-") == ["order-1"]
    assert complete("./manage.py fluxio_run shop.") == ["shop.refund"]
    assert complete("./manage.py fluxio_runs --pipeline sho") == ["shop", "shop.refund"]
    assert complete("./manage.py fluxio_show \\$\\(") == ["\\$\\(touch\\$\\{IFS\\}done\\)"]


def test_after_a_colon_only_the_rest_is_offered(complete: Complete) -> None:
    assert complete("./manage.py fluxio_show order:") == ["2"]


@pytest.mark.parametrize("line", ["./manage.py migrate ", "./manage.py fluxio_show --"])
def test_anything_else_is_left_to_django(complete: Complete, line: str) -> None:
    assert complete(line) == []


def test_names_are_written_one_a_line(home: str, shell: Shell, registered: Register) -> None:
    registered("shop.completed", [price])
    assert shell("fluxio_completion", "--names", "pipelines", "--starting", "shop.c") == (
        "shop.completed\n"
    )
    for run_id in ("old", "order:1", "order 2\x1b[2J"):
        Run.objects.using(home).create(run_id=run_id, pipeline="shop", version="1")
    assert shell("fluxio_completion", "--names", "runs", "--starting", "o").split() == [
        "order:1",
        "old",
    ]
    assert shell("fluxio_completion", "--names", "runs", "--starting", "é") == ""
    assert shell.json("fluxio_completion", "--names", "runs", "--starting", "old") == {
        "name": "old"
    }


def test_of_many_runs_only_the_newest_are_asked_for(home: str, shell: Shell) -> None:
    for number in range(3):
        Run.objects.using(home).create(run_id=f"o-{number}", pipeline="shop", version="1")
    with (
        CaptureQueriesContext(connections[home]) as asked,
        patch("fluxio_django.management.commands.fluxio_completion._MOST", 2),
    ):
        assert shell("fluxio_completion", "--names", "runs").split() == ["o-2", "o-1"]
    assert "LIMIT 2" in asked.captured_queries[-1]["sql"]
