"""Other libraries that do the same work, each a program in an environment of its own.

`make bench-setup` makes the environments. A peer's program tells on its first line which workloads
it can do (a JSON list); then it reads the name of one per line, does it once, and answers with one
figure in the unit of that workload. So a peer works by turns with ours, as the floor does.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from benchmarks.workload import Measure, Workload

PEERS = ("dbos", "langgraph", "absurd", "celery")

_FOLDER = Path(__file__).parent
_ENVIRONMENTS = _FOLDER.parents[1] / ".bench"


class Peer:
    """A peer's running program."""

    def __init__(self, name: str, database_url: str) -> None:
        self._process = subprocess.Popen(
            [str(_ENVIRONMENTS / name / "bin" / "python"), str(_FOLDER / f"{name}_peer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_FOLDER,
            env={**os.environ, "PEER_DATABASE_URL": database_url, "PEER_NAME": name},
        )
        self._name = name
        self._able = set(json.loads(self._answer()))

    def can(self, workload: Workload) -> bool:
        """Whether it does this kind of work."""
        return workload.name in self._able

    def measure_of(self, name: str) -> Measure:
        """A function that has it do a workload once."""

        def measure() -> float:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
            return float(self._answer())

        return measure

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The program of peer {self._name} ended; see its output above.")
        return line


def peers_that_are_ready(names: list[str]) -> dict[str, Peer]:
    """The running programs of the peers whose environment has been made.

    Raises:
        SystemExit: one of them has none.
    """
    from benchmarks.project import fresh_database

    missing = [name for name in names if not (_ENVIRONMENTS / name / "bin" / "python").exists()]
    if missing:
        raise SystemExit(f"No environment for {', '.join(missing)}: run `make bench-setup` first.")
    return {name: Peer(name, fresh_database(f"bench_{name}")) for name in names}
