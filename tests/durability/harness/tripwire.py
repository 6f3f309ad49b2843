"""Counts the executed lines of our packages, and kills the process at one of them."""

import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import fluxio
import fluxio_django
from fluxio.runtime.heartbeat import Heartbeat
from tests.durability.harness.moments import die

NEVER = 10**12
"""A line that no process comes to."""

_BEAT = Heartbeat._beat.__code__
_PACKAGES = tuple(f"{Path(package.__file__).parent}/" for package in (fluxio, fluxio_django))


class Tripwire:
    """Traces every thread of this process that begins from now on, and the one that arms it.

    `lines` is how many lines were executed; the process dies before it executes line `kill_at`,
    counted from 1. Heartbeats are left out: when they come is not up to the run.
    """

    def __init__(self, kill_at: int) -> None:
        self.lines = 0
        self._kill_at = kill_at
        self._ours: dict[CodeType, bool] = {}

    def arm(self) -> None:
        """Begin to count."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def disarm(self) -> None:
        """Stop counting."""
        sys.settrace(None)
        threading.settrace(None)
        self._kill_at = NEVER

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code is _BEAT:
            sys.settrace(None)
            return None
        ours = self._ours.get(code)
        if ours is None:
            ours = self._ours[code] = code.co_filename.startswith(_PACKAGES)
        return self._step if ours else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            # Not ==, for another thread may have counted in between.
            if self.lines >= self._kill_at:
                die()
        return self._step


class Survey(Tripwire):
    """Kills nobody; `executions` says at which counts each line of the source was executed."""

    def __init__(self) -> None:
        super().__init__(NEVER)
        self.executions: dict[str, list[int]] = defaultdict(list)

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            self.executions[place].append(self.lines + 1)
        return super()._step(frame, event, argument)
