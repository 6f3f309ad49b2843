"""`python -m benchmarks.counting`: calls and bytecodes of a step, a resume, a queued run.

Time on a machine that others share says little; what the interpreter carries out is always the
same. Both threads of an async run are counted, and everything that is below our code as well; only
what is done now and then beside the runs is left out.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from secrets import token_hex
from types import FrameType
from typing import Any

from asgiref.sync import async_to_sync

from benchmarks import floors
from benchmarks.pipelines import ENQUEUED, durable, noops
from benchmarks.project import redis_url, set_up

STEPS = 100


_NOW_AND_THEN = ("fluxio-heartbeat", "fluxio-lookout")


class _Counter:
    def __init__(self) -> None:
        self.calls = 0
        self.bytecodes = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Counter | None:
        if event == "call":
            if threading.current_thread().name in _NOW_AND_THEN:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self.calls += 1
        elif event == "opcode":
            self.bytecodes += 1
        return self


def counted(work: Callable[[], object]) -> _Counter:
    """What a piece of work takes, in all threads."""
    counter = _Counter()
    threading.settrace(counter)
    sys.settrace(counter)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    return counter


def main() -> None:
    """Count and print two tables."""
    set_up()
    from fluxio_django import DjangoStore

    plain = durable(noops(STEPS, asynchronous=False))
    asynchronous = durable(noops(STEPS, asynchronous=True))
    on_sqlite = durable(noops(STEPS, asynchronous=False), DjangoStore(using="sqlite"))
    steps: dict[str, Callable[[], object]] = {
        "floor": lambda: floors.raw_inserts(STEPS),
        "W6": lambda: plain.invoke_sync({"a": 1}),
        "W1": lambda: async_to_sync(asynchronous.invoke)({"a": 1}),
        "W6-sqlite": lambda: on_sqlite.invoke_sync({"a": 1}),
    }
    print("| for each step | calls | bytecodes |\n| --- | --- | --- |")
    for name, work in steps.items():
        work()
        _say(name, counted(work), STEPS)
    if redis_url() is None:
        return
    os.environ["FLUXIO_BENCH_QUEUE"] = f"fluxio-bench-{token_hex(4)}"
    from benchmarks import celery_app

    print("\n| as a whole | calls | bytecodes |\n| --- | --- | --- |")
    try:
        for name, prepare in _prepared().items():
            prepare()()
            _say(name, counted(prepare()), 1)
    finally:
        celery_app.forget_queue()


def _prepared() -> dict[str, Callable[[], Callable[[], object]]]:
    """Work for which something has to be there already; each call makes it anew."""
    from benchmarks.workloads.w4 import Interrupted
    from fluxio_django import pipelines, runner

    interrupted, queued = Interrupted(), pipelines[ENQUEUED]

    def resume() -> Callable[[], object]:
        run_id = interrupted.broken_off()
        return lambda: interrupted.pipeline.resume_sync(run_id)

    def enqueue() -> Callable[[], object]:
        return lambda: queued.enqueue_sync({"a": 1})

    def execute() -> Callable[[], object]:
        warm, counted_one = (queued.enqueue_sync({"a": 1}).run_id for _ in range(2))
        runner.execute(warm)
        return lambda: runner.execute(counted_one)

    return {"a resume (W4)": resume, "enqueueing (W9)": enqueue, "a queued run (W9)": execute}


def _say(name: str, counter: _Counter, units: int) -> None:
    print(f"| {name} | {counter.calls / units:,.0f} | {counter.bytecodes / units:,.0f} |")


if __name__ == "__main__":
    main()
