"""Waiting for work whose outcome must be known, whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar

from fluxio.runtime.loopless import in_loop

Result = TypeVar("Result")


class Settled(NamedTuple, Generic[Result]):
    """The result of finished work, and the cancellation that was held back until it was."""

    result: Result
    cancellation: asyncio.CancelledError | None = None

    def deliver(self) -> Result:
        """Raise the cancellation that was held back, if there is one; else give the result."""
        if self.cancellation is not None:
            raise self.cancellation
        return self.result


Rescue = Callable[[Exception], Awaitable[Result]]
"""Makes a result of what some work raised, or raises itself."""


class Unhurried(asyncio.Future[Result]):
    """A future that no cancellation touches: a task that waits for it is cancelled afterwards."""

    def cancel(self, msg: Any = None) -> bool:
        """Do nothing, so that the task which waits remembers that it was cancelled."""
        return False


async def settled(work: Awaitable[Result], rescue: Rescue[Result] | None = None) -> Settled[Result]:
    """Wait until work is done. A cancellation of the waiting is handed back with the result.

    A future is waited for as it is; anything else becomes a task. Nothing has to be put between the
    waiting and an `Unhurried` future.

    Raises:
        Exception: what the work raised, or its rescue; it outranks a cancellation.
    """
    cancellation: asyncio.CancelledError | None = None
    while True:
        try:
            if not in_loop():
                return Settled(await work)
            if isinstance(work, Unhurried):
                try:
                    return Settled(await work, cancellation)
                except asyncio.CancelledError as request:
                    cancellation = request
                    return Settled(work.result(), cancellation)
            task = asyncio.ensure_future(work)
            cancellation = await _done(task) or cancellation
            return Settled(task.result(), cancellation)
        except Exception as error:
            if rescue is None:
                raise
            work, rescue = rescue(error), None


async def _done(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for a task whatever is cancelled; gives the last cancellation of the waiting."""
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as request:
            if task.cancelled():
                raise
            cancellation = request
        except BaseException:  # noqa: BLE001 - raised again by the result of the task
            break
    return cancellation
