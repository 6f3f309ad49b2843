"""Waiting for work whose outcome must be known, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fluxio.runtime.loopless import in_loop

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Settled(Generic[Result]):
    """The result of finished work, and the cancellation that was held back until it was."""

    result: Result
    cancellation: asyncio.CancelledError | None = None

    def deliver(self) -> Result:
        """Raise the cancellation that was held back, if there is one; else give the result."""
        if self.cancellation is not None:
            raise self.cancellation
        return self.result


async def settled(work: Awaitable[Result]) -> Settled[Result]:
    """Wait until work is done. A cancellation of the waiting is handed back with the result.

    Raises:
        Exception: what the work raised; it outranks a cancellation.
    """
    if not in_loop():
        return Settled(await work)
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as request:
            if task.cancelled():
                raise
            cancellation = request
        except BaseException:  # noqa: BLE001 - raised again by task.result() below
            break
    return Settled(task.result(), cancellation)
