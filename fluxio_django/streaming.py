"""A stream between a run and a reader that is not async: the reader does the run's ORM work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from fluxio.runtime.loopless import in_loop
from fluxio.runtime.scene import ChunkSink
from fluxio.runtime.streaming import BUFFERED_CHUNKS

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def stream_chunks_sync(
    start: Callable[[ChunkSink], Awaitable[Any]],
) -> Generator[Any, None, None]:
    """Do as `stream_chunks`, for a reader without an event loop.

    The run has an event loop in a thread of its own. What it would do on the thread of a caller
    that is not async, such as ORM work, is done by the reader's thread while it waits for a chunk:
    it sees the reader's open transaction. It stands still while the reader is busy with a chunk.

    Raises:
        RuntimeError: the reader is inside of an event loop.
    """
    if in_loop():
        raise RuntimeError("stream_sync() is for code that is not async; here, use stream().")
    desk = _Desk()
    run = _Run(start, desk)
    try:
        while (chunk := desk.next_chunk()) is not None:
            run.make_room()
            yield chunk.value
    finally:
        run.cancel()
        while desk.next_chunk() is not None:
            # Nobody reads it; a stage that ignores its cancellation must not wait for room.
            run.make_room()
    run.outcome.result()


@dataclass(frozen=True, slots=True)
class _Chunk:
    value: Any


class _Desk(Executor):
    """Where a run puts what the reader's thread is to have or to do, in order."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._items: deque[_Chunk | Callable[[], None]] = deque()
        self._closed = False

    def submit(
        self,
        fn: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Future[Result]:
        """Have a function called by the reader's thread; this is where asgiref takes it."""
        answer: Future[Result] = Future()
        self._put(partial(_work, answer, partial(fn, *args, **kwargs)))
        return answer

    def put_chunk(self, value: Any) -> None:
        """Have the reader get a chunk."""
        self._put(_Chunk(value))

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def next_chunk(self) -> _Chunk | None:
        """Work until there is a chunk; None when nothing is left and nothing more will come."""
        while True:
            with self._changed:
                while not self._items and not self._closed:
                    self._changed.wait()
                if not self._items:
                    return None
                item = self._items.popleft()
            if isinstance(item, _Chunk):
                return item
            item()

    def _put(self, item: _Chunk | Callable[[], None]) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify()


def _work(answer: Future[Any], function: Callable[[], Any]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - handed over to whoever waits in the run
        answer.set_exception(error)
    else:
        answer.set_result(result)


class _Run:
    """A run in a thread and an event loop of its own; `outcome` is done when both are gone."""

    def __init__(self, start: Callable[[ChunkSink], Awaitable[Any]], desk: _Desk) -> None:
        self.outcome: Future[None] = Future()
        self._start = start
        self._desk = desk
        self._room = asyncio.Semaphore(BUFFERED_CHUNKS)
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[Any] | None = None
        self._unwanted = False
        context = copy_context()
        # A daemon: a reader who never comes back must not keep the process from ending.
        Thread(target=context.run, args=[self._work], name="fluxio-stream", daemon=True).start()

    def make_room(self) -> None:
        """The reader has taken a chunk."""
        self._tell(self._room.release)

    def cancel(self) -> None:
        """End the run, where it has not ended."""
        self._tell(self._stop)

    def _tell(self, act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, since the run has ended
            self._loop.call_soon_threadsafe(act)

    def _stop(self) -> None:
        self._unwanted = True
        if self._task is not None:
            self._task.cancel()

    def _work(self) -> None:
        problem: BaseException | None = None
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed over to the reader
            problem = error
        if problem is None:
            self.outcome.set_result(None)
        else:
            self.outcome.set_exception(problem)
        self._desk.close()

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        if self._unwanted:
            return
        own = ThreadSensitiveContext()
        SyncToAsync.context_to_thread_executor[own] = self._desk
        SyncToAsync.thread_sensitive_context.set(own)
        # Older releases of asgiref look there first; but that place does no work while it reads.
        AsyncToSync.executors.current = None
        await self._start(self._sink)

    async def _sink(self, value: Any) -> None:
        await self._room.acquire()
        self._desk.put_chunk(value)
