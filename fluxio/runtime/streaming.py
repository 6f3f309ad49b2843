"""A stream between a run and its reader: bounded, and neither side can leave the other hanging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from fluxio.runtime.driver import ChunkSink

BUFFERED_CHUNKS = 16
"""How many chunks a stage may be ahead of its reader."""


async def stream_chunks(
    start: Callable[[ChunkSink], Awaitable[Any]],
) -> AsyncGenerator[Any, None]:
    """Run `start(sink)` beside the reader and yield what it puts into the sink, in order.

    The run waits while the buffer is full. When the reader leaves, the run is cancelled and
    awaited; what a stage yields all the same is dropped. When the run ends, the reader gets what is
    buffered and then the run's error, if any.
    """
    buffer: asyncio.Queue[Any] = asyncio.Queue(BUFFERED_CHUNKS)
    reading = True

    async def sink(chunk: Any) -> None:
        if reading:
            await buffer.put(chunk)
        else:
            await asyncio.sleep(0)  # a stage that waits for nothing else has to be interruptible

    run = asyncio.ensure_future(start(sink))
    waiting: asyncio.Future[Any] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(buffer.get())
            await asyncio.wait({waiting, run}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                break
            yield waiting.result()
        while not buffer.empty():
            yield buffer.get_nowait()
        await run
    finally:
        reading = False
        await _end(waiting)
        await _end(run)


async def _end(task: asyncio.Future[Any] | None) -> None:
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})
    if task is not None and not task.cancelled():
        task.exception()
