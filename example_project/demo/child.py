"""Processes of their own: commands of manage.py, run as somebody would at a terminal."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"

_LINE = re.compile(r"(?P<step>\S+) ((?P<word>begins|done)|(?P<done>\d+)/(?P<total>\d+) .*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """What the import says of one of its steps; `total` is 0 where it said no number of rows."""

    step: str
    is_recorded: bool
    done: int = 0
    total: int = 0


class Import:
    """The process of an import that is watched, and can be killed."""

    def __init__(self, run_id: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(MANAGE), "import_airports", "--run-id", run_id],
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def progress(self) -> Iterator[Progress]:
        """What it says, as it says it; ends when the process has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = _LINE.fullmatch(line.rstrip())
            if found is not None:
                yield Progress(
                    step=found["step"],
                    is_recorded=found["word"] == "done",
                    done=int(found["done"] or 0),
                    total=int(found["total"] or 0),
                )

    def kill(self) -> None:
        """SIGKILL, which no process can prepare for."""
        self._process.kill()

    def exit_code(self) -> int:
        """Wait for its end; negative when a signal ended it."""
        return self._process.wait()


def run_command(*words: str) -> int:
    """Run a command of manage.py on this terminal, to its end, and give its exit code."""
    return subprocess.run([sys.executable, str(MANAGE), *words], check=False).returncode
