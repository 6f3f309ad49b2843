"""Ctrl-C while a run is executed: the run is cancelled in order, and can be resumed at once."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from asgiref.sync import async_to_sync, sync_to_async

Result = TypeVar("Result")


def interruptible(
    work: Callable[[], Result], *, tell: Callable[[], None], leave: Callable[[], None]
) -> Result:
    """Do work that executes a run; Ctrl-C cancels the run instead of tearing it apart.

    `tell` is called at the first Ctrl-C, in the thread of the event loop. A second one interrupts
    the plain stage that is running; where there is none, the run does not heed its cancellation,
    and `leave` is called to end the process without it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if not _is_ours():
        return work()
    brake = _Brake(tell, leave)
    try:
        with brake.at_hand():
            return async_to_sync(brake.drive)(work)
    except asyncio.CancelledError:
        if brake.pulled:
            raise KeyboardInterrupt from None
        raise


class _Brake:
    """Cancels the task that drives a run when SIGINT arrives.

    Python's own handler would raise in the main thread, which under `async_to_sync` only waits for
    the thread of the event loop: the run would go on without anybody to do its database work.
    """

    def __init__(self, tell: Callable[[], None], leave: Callable[[], None]) -> None:
        self._tell = tell
        self._leave = leave
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self.pulled = False

    async def drive(self, work: Callable[[], Result]) -> Result:
        """Do the work on the thread that waits here, as part of a task that can be cancelled."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await sync_to_async(self._do)(work)

    def _do(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except KeyboardInterrupt:
            # It was not met by a stage, which would have kept it: nothing here can end the run.
            self._leave()
            raise

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Stand in for Python's SIGINT handler."""
        before = signal.signal(signal.SIGINT, self._pull)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _pull(self, number: int, frame: FrameType | None) -> None:
        if self._loop is None or self.pulled:
            signal.default_int_handler(number, frame)
        self.pulled = True
        # A handler may come in the middle of a write; both are left to the thread of the loop.
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._tell()
        if self._task is not None:
            self._task.cancel()


def _is_ours() -> bool:
    """Whether SIGINT is ours to handle: in the main thread, and nobody has taken it yet."""
    if threading.current_thread() is not threading.main_thread():
        return False
    return signal.getsignal(signal.SIGINT) is signal.default_int_handler
