"""Running the runtime's coroutines where no event loop is: possible as long as nothing waits.

A pipeline of plain stages over a store that blocks has nothing to wait for. Its driver can then be
stepped through on the caller's own thread, with no loop, no task and no hop to another thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_loop() -> bool:
    """Whether this code runs inside an event loop."""
    return asyncio._get_running_loop() is not None  # the public twin raises, which costs more


def run_without_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Step through a coroutine that never waits, and give its result.

    Raises:
        RuntimeError: it waits for something, which only an event loop could bring.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("This pipeline waits for something and needs an event loop to run in.")
