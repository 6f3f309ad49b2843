"""A stream between a run and its reader: bounded, and neither side can leave the other hanging."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from fluxio.runtime.scene import ChunkSink

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
        await _end([task for task in (waiting, run) if task is not None])


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until they have ended, even where the waiting is cancelled as well.

    Raises:
        CancelledError: the waiting was cancelled, and each time the tasks once more.
    """
    interruption: asyncio.CancelledError | None = None
    while lasting := [task for task in tasks if not task.done()]:
        for task in lasting:
            task.cancel()
        try:
            await asyncio.wait(lasting)
        except asyncio.CancelledError as again:
            interruption = again
    for task in tasks:
        if not task.cancelled():
            task.exception()  # whoever left has no use for it
    if interruption is not None:
        raise interruption
