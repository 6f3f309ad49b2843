"""Runs the tests of a room against one mutant after another, in a copy of the project."""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.mutation.operators import Mutant, count_edits, mutant_of
from tests.mutation.rooms import ROOMS, Room

PROJECT = Path(__file__).parents[2]
_COPIED = ("fluxio", "fluxio_django", "tests", "example_project")
# The tests of the core run without Django and without what `tests/conftest.py` looks for.
_PYTEST_INI = """\
[pytest]
addopts = --import-mode=importlib --strict-markers
filterwarnings = error
markers =
    timeout: how long a test may take; nobody watches it here
    {markers}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant of a module, and how its trial ended."""

    room: str
    module: str
    mutant: Mutant
    killed: bool
    seconds: float

    def __str__(self) -> str:
        ending = "killed  " if self.killed else "SURVIVED"
        return f"{ending} {self.module}:{self.mutant.line}: {self.mutant.change}"


def chosen(room: str, sample: int | None, seed: int) -> list[tuple[str, Mutant]]:
    """The mutants of a room: all of them, or as many as asked for, the same for the same seed."""
    sources = {
        path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8")
        for pattern in ROOMS[room].modules
        for path in sorted(PROJECT.glob(pattern))
    }
    places = [
        (module, number)
        for module, source in sources.items()
        for number in range(count_edits(source))
    ]
    if sample is not None:
        random.Random(f"{room}:{seed}").shuffle(places)
    plain = {module: ast.unparse(ast.parse(source)) for module, source in sources.items()}
    made = ((module, mutant_of(sources[module], number)) for module, number in places)
    found = list(islice((it for it in made if it[1].source != plain[it[0]]), sample))
    return sorted(found, key=lambda it: (it[0], it[1].line, it[1].change))


def tried(room: str, sample: int | None = None, seed: int = 0) -> Iterator[Trial]:
    """Try the mutants of a room one by one.

    Raises:
        RuntimeError: the tests fail without any change, so that they could tell nothing.
    """
    with _copy() as copy:
        started = time.monotonic()
        if _fails(copy, ROOMS[room], timeout=900):
            raise RuntimeError(f"The tests of {room!r} fail as they are: {ROOMS[room].tests}")
        # A mutant that makes the tests hang is noticed as well.
        timeout = 30 + 4 * (time.monotonic() - started)
        for module, mutant in chosen(room, sample, seed):
            target = copy / module
            target.write_text(mutant.source, encoding="utf-8")
            started = time.monotonic()
            try:
                killed = _fails(copy, ROOMS[room], timeout)
            finally:
                shutil.copy2(PROJECT / module, target)
            yield Trial(room, module, mutant, killed, time.monotonic() - started)


def kill_rate(trials: Sequence[Trial]) -> float:
    """The share of mutants that the tests noticed, in per cent."""
    return 100 * sum(trial.killed for trial in trials) / len(trials)


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fluxio-mutation-") as folder:
        copy = Path(folder)
        for name in _COPIED:
            unneeded = shutil.ignore_patterns("__pycache__", "static", "*.sqlite3")
            shutil.copytree(PROJECT / name, copy / name, ignore=unneeded)
        shutil.copy2(PROJECT / "pyproject.toml", copy)
        options = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))
        markers = "\n    ".join(options["tool"]["pytest"]["ini_options"]["markers"])
        (copy / "core.ini").write_text(_PYTEST_INI.format(markers=markers), encoding="utf-8")
        yield copy


def _fails(copy: Path, room: Room, timeout: float) -> bool:
    tests = [test for test in room.tests if (copy / test).exists()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    if room.needs_django:
        command += ["-c", "pyproject.toml", "-p", "pytest_django.plugin", "-p", "pytest_timeout"]
    else:
        command += ["-c", "core.ini", "--rootdir=.", "--confcutdir=tests/core"]
    command += ["-p", "fluxio_django.pytest_plugin", "-m", room.marks]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    with subprocess.Popen(
        [*command, *tests],
        cwd=copy,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(timeout) != 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
