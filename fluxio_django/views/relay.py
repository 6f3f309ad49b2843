"""Carries chunks from a run to its reader, who may leave: then the run is ended, or goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from enum import StrEnum
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from fluxio.runtime.scene import ChunkSink
from fluxio.runtime.streaming import BUFFERED_CHUNKS
from fluxio_django.tables import hop, let_go

Start = Callable[[ChunkSink], Awaitable[Any]]


class Leaving(StrEnum):
    """What becomes of a run whose reader leaves before it has ended."""

    CANCEL = "cancel"
    """It is cancelled at once; it can be resumed."""
    FINISH = "finish"
    """It goes on in this process; what it still says is heard by nobody."""


class RunIsOver(Exception):
    """There are no more chunks."""


class Relay:
    """One run and its one reader, in one event loop. The run waits for a slow reader."""

    def __init__(self, start: Start, leaving: Leaving) -> None:
        self._leaving = leaving
        self._chunks: asyncio.Queue[Any] = asyncio.Queue(BUFFERED_CHUNKS)
        self._left = asyncio.Event()
        self._run = apart(self._started(start))

    async def next(self) -> Any:
        """The next chunk.

        Raises:
            RunIsOver: it has ended well.
            Exception: what the run raised.
        """
        getting = asyncio.ensure_future(self._chunks.get())
        try:
            await asyncio.wait({getting, self._run}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            getting.cancel()
            raise
        if getting.done():
            return getting.result()
        getting.cancel()
        if not self._chunks.empty():
            return self._chunks.get_nowait()
        self._run.result()
        raise RunIsOver

    def leave(self) -> None:
        """The reader has left; may be said twice. Does not wait for the run."""
        self._left.set()
        if self._leaving is Leaving.CANCEL:
            self._run.cancel()

    async def end(self) -> None:
        """Leave, and wait for a run that is cancelled."""
        self.leave()
        if self._leaving is Leaving.CANCEL:
            await asyncio.wait({self._run})

    async def over(self) -> None:
        """Wait until nobody reads any more and the run has ended, however it did."""
        await self._left.wait()
        await asyncio.wait({self._run})

    async def _started(self, start: Start) -> Any:
        return await start(self._put)

    async def _put(self, chunk: Any) -> None:
        if self._left.is_set():
            # A stage that waits for nothing else could be neither cancelled nor interrupted.
            await asyncio.sleep(0)
            return
        if not self._chunks.full():
            self._chunks.put_nowait(chunk)
            return
        putting = asyncio.ensure_future(self._chunks.put(chunk))
        leaving = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({putting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
            leaving.cancel()


# A loop holds its tasks weakly; these outlive whoever started them.
_running: set[asyncio.Task[Any]] = set()


def apart(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that may outlive the request it was started in, and whose connections are its own.

    Django gives every request under ASGI a thread for its database work, and takes it away when the
    request is over. A task of this kind has such a thread to itself.
    """
    own = Context()
    for variable, value in copy_context().items():
        if variable is not SyncToAsync.thread_sensitive_context:
            own.run(variable.set, value)
    task = asyncio.get_running_loop().create_task(_with_own_thread(work), context=own)
    _running.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    # Asked for, so that asyncio does not complain; the run's own row has the failure.
    with suppress(asyncio.CancelledError):
        task.exception()


async def _with_own_thread(work: Coroutine[Any, Any, Any]) -> Any:
    async with ThreadSensitiveContext():
        try:
            return await work
        finally:
            await hop(let_go)
