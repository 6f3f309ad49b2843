"""W4: how long a resume takes from the call to the first stage that runs again."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from benchmarks import floors
from benchmarks.pipelines import durable
from benchmarks.workload import Workload
from fluxio import Context, stage
from fluxio_django.pipeline import DjangoPipeline

STAGES, KILLED_AT, SIZE = 100, 50, 10 * 1024


class _Killed(BaseException):
    """Ends a run as a kill would, as far as the log can tell."""


class Interrupted:
    """A pipeline that breaks off before stage 50 of 100, and tells when that stage runs again."""

    def __init__(self, size: int = SIZE, steps: int = KILLED_AT) -> None:
        self.reached = 0.0
        self._broken = False
        nodes = [self._adding(number, size) for number in range(steps)]
        nodes += [stage(name="again")(self._again)]
        self.pipeline: DjangoPipeline = durable(nodes)

    def milliseconds(self) -> float:
        """Break a run off, resume it, and give the time to the first stage."""
        run_id = self.broken_off()
        began = time.perf_counter()
        self.pipeline.resume_sync(run_id)
        return (self.reached - began) * 1e3

    def broken_off(self) -> str:
        """The id of a run that was broken off just now."""
        self._broken = False
        run_id = f"w4-{time.monotonic_ns()}"
        with suppress(_Killed):
            self.pipeline.invoke_sync({}, run_id=run_id)
        return run_id

    def _adding(self, number: int, size: int) -> Any:
        def body(ctx: Context) -> Context:
            return ctx.set(f"k{number}", "x" * size)

        return stage(name=f"s{number}")(body)

    def _again(self, ctx: Context) -> Context:
        self.reached = time.perf_counter()
        if not self._broken:
            self._broken = True
            raise _Killed
        return ctx


def workloads() -> list[Workload]:
    """W4."""
    interrupted = Interrupted()
    return [
        Workload(
            name="W4",
            title="resume at stage 50 with 500 KB of state, from the call to the stage",
            unit="ms",
            ours=interrupted.milliseconds,
            floor=lambda: floors.raw_selects(KILLED_AT, "x" * SIZE) * 1e3,
            floor_title=f"one raw SELECT of {KILLED_AT} rows of 10 KB",
            goal="<= 2.5",
        )
    ]
