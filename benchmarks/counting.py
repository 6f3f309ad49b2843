"""`python -m benchmarks.counting`: what a step costs in calls and bytecodes, on any machine alike.

Time on a machine that others share says little; what the interpreter carries out is always the
same. Both threads of an async run are counted, and everything that is below our code as well.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from asgiref.sync import async_to_sync

from benchmarks import floors
from benchmarks.pipelines import durable, noops
from benchmarks.project import set_up

STEPS = 100


class _Counter:
    def __init__(self) -> None:
        self.calls = 0
        self.bytecodes = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Counter:
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self.calls += 1
        elif event == "opcode":
            self.bytecodes += 1
        return self


def counted(work: Callable[[], object]) -> tuple[float, float]:
    """Calls and bytecodes for each of so many steps; the first time is not counted."""
    work()
    counter = _Counter()
    threading.settrace(counter)
    sys.settrace(counter)
    try:
        work()
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    return counter.calls / STEPS, counter.bytecodes / STEPS


def main() -> None:
    """Count and print a table."""
    set_up()
    from fluxio_django import DjangoStore

    plain = durable(noops(STEPS, asynchronous=False))
    asynchronous = durable(noops(STEPS, asynchronous=True))
    on_sqlite = durable(noops(STEPS, asynchronous=False), DjangoStore(using="sqlite"))
    rows: dict[str, Callable[[], object]] = {
        "floor": lambda: floors.raw_inserts(STEPS),
        "W6": lambda: plain.invoke_sync({"a": 1}),
        "W1": lambda: async_to_sync(asynchronous.invoke)({"a": 1}),
        "W6-sqlite": lambda: on_sqlite.invoke_sync({"a": 1}),
    }
    print("| | calls | bytecodes |\n| --- | --- | --- |")
    for name, work in rows.items():
        calls, bytecodes = counted(work)
        print(f"| {name} | {calls:.0f} | {bytecodes:,.0f} |")


if __name__ == "__main__":
    main()
