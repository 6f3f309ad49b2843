"""Work in a few threads of this process, and work done by the caller."""

from __future__ import annotations

import heapq
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from django.db import connections, transaction

from fluxio.errors import FluxioError
from fluxio_django.conf import settings
from fluxio_django.dispatch.base import execute
from fluxio_django.tickets import Ticket

logger = logging.getLogger("fluxio.dispatch")

Work = Callable[[], object]
Task = tuple[Work, str]
"""Work with the id of the run that it is about."""

_THREADS = 2
_MOST_WAITING = 10_000
_IDLE_SECONDS = 5.0


class TooMuchWaitingError(FluxioError):
    """The threads of this process have more to do than they should; the run stays queued."""


@dataclass(frozen=True, order=True, slots=True)
class _PutOff:
    """Work whose time is still to come, by the monotonic clock."""

    due: float
    number: int
    work: Work = field(compare=False)
    run_id: str = field(compare=False)


class InlineDispatcher:
    """Does the work in a few threads of this process, each with database connections of its own.

    Whatever is waiting when the process ends normally is still done; what is put off until later,
    and what a kill leaves behind, is found by the sweep. A thread ends when there was nothing to do
    for a few seconds.
    """

    def __init__(self, threads: int = _THREADS, most_waiting: int = _MOST_WAITING) -> None:
        self._most_threads = threads
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._waiting: deque[Task] = deque()
        self._put_off: list[_PutOff] = []
        self._number = 0
        self._threads = self._busy = 0
        self._is_ending = False

    def dispatch(self, ticket: Ticket) -> None:
        """Queue the run for a thread, now or when its time has come.

        Raises:
            TooMuchWaitingError: too many are queued already.
        """
        work = partial(execute, ticket.run_id)
        self.perform(work, ticket.run_id, delay=ticket.delay)

    def perform(self, work: Work, run_id: str, *, delay: float = 0.0) -> None:
        """Queue work for a thread; its failure is logged and stands in the run's row.

        Raises:
            TooMuchWaitingError: too much is queued already.
        """
        with self._changed:
            if len(self._waiting) + len(self._put_off) >= self._most_waiting:
                raise TooMuchWaitingError(
                    f"Run {run_id!r} has to wait: the threads of this process have too much to do."
                )
            if delay > 0:
                self._number += 1
                due = time.monotonic() + delay
                heapq.heappush(self._put_off, _PutOff(due, self._number, work, run_id))
            else:
                self._waiting.append((work, run_id))
            self._see_to_threads()
            self._changed.notify()

    def hasten(self, run_id: str) -> None:
        """Have a run done in a thread of its own, where one of these threads waits for its end.

        Threads that wait for runs which they have enqueued would else leave nobody to do those.
        Such a thread ends with that run; none is added for what nobody waits for.
        """
        if not getattr(_of_this_thread, "is_ours", False):
            return
        with self._changed:
            self._ripen()
            awaited = next((task for task in self._waiting if task[1] == run_id), None)
            if awaited is not None:
                self._waiting.remove(awaited)
                self._busy += 1
                self._threads += 1
                self._most_threads += 1
                _start(partial(self._serve_one, awaited))

    def drain(self) -> None:
        """Wait until everything handed over so far is done; what is put off is not waited for."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy)

    def end(self) -> None:
        """Drain, and let the threads go; called when the process ends."""
        self._is_ending = True
        self.drain()
        with self._changed:
            self._changed.notify_all()

    def _see_to_threads(self) -> None:
        idle = self._threads - self._busy
        if idle < len(self._waiting) + bool(self._put_off) and self._threads < self._most_threads:
            _end_with_process(self)
            self._threads += 1
            _start(self._serve)

    def _serve(self) -> None:
        while (task := self._next()) is not None:
            is_alive = False
            try:
                _do(task)
                is_alive = True
            finally:
                self._done(is_alive=is_alive)

    def _serve_one(self, task: Task) -> None:
        try:
            _do(task)
        finally:
            with self._changed:
                self._most_threads -= 1
                self._done(is_alive=False)

    def _done(self, *, is_alive: bool) -> None:
        """Count work as done, and its thread as gone where it does not live on."""
        with self._changed:
            self._busy -= 1
            if not is_alive:
                self._threads -= 1
                self._see_to_threads()
            self._changed.notify_all()

    def _ripen(self) -> None:
        """Let wait what was put off until now."""
        while self._put_off and self._put_off[0].due <= time.monotonic():
            ripe = heapq.heappop(self._put_off)
            self._waiting.append((ripe.work, ripe.run_id))

    def _next(self) -> Task | None:
        """The next thing to do, None when this thread may end."""
        with self._changed:
            while True:
                self._ripen()
                if self._waiting:
                    self._busy += 1
                    return self._waiting.popleft()
                pause = _IDLE_SECONDS
                if self._put_off:
                    pause = max(0.0, self._put_off[0].due - time.monotonic())
                woken = not self._is_ending and self._changed.wait(pause)
                if self._is_ending or not (woken or self._put_off or self._waiting):
                    self._threads -= 1
                    return None


class EagerDispatcher:
    """Does the work in the caller, before it goes on; for tests and small scripts.

    A run that is put off until later is left to the sweep.
    """

    def dispatch(self, ticket: Ticket) -> None:
        """Execute the run now."""
        if ticket.delay <= 0:
            _guarded(partial(execute, ticket.run_id), ticket.run_id)


inline = InlineDispatcher()


def hasten(run_id: str) -> None:
    """Have a run that this process is to execute not wait for the thread that waits for its end."""
    inline.hasten(run_id)


def work_after_commit(work: Work, run_id: str, *, using: str) -> None:
    """Have work done in this process once the caller's transaction is durable."""
    eager = settings().dispatcher == "eager"
    perform = _guarded if eager else inline.perform
    transaction.on_commit(partial(perform, work, run_id), using=using)


def _guarded(work: Work, run_id: str, against: type[BaseException] = Exception) -> None:
    """Do work whose failure is logged.

    What ends a process, `SystemExit` for instance, is the caller's own affair; a thread that lives
    on guards itself `against` that as well.
    """
    try:
        work()
    except against:  # whatever a stage raised stands in the run's row already
        logger.exception("Run %s failed.", run_id)


_of_this_thread = threading.local()


def _start(function: Callable[[], None]) -> None:
    def serve() -> None:
        _of_this_thread.is_ours = True
        function()

    threading.Thread(target=serve, name="fluxio-inline", daemon=True).start()


def _do(task: Task) -> None:
    work, run_id = task
    _guarded(partial(_and_disconnect, work), run_id, against=BaseException)


def _and_disconnect(work: Work) -> None:
    try:
        work()
    finally:
        connections.close_all()


_ending: set[int] = set()


def _end_with_process(dispatcher: InlineDispatcher) -> None:
    """Have what waits done before the interpreter shuts down.

    `atexit` comes too late: by then no executor takes work any more, and a run with coroutines
    needs one. Functions registered here are called while everything still works.
    """
    if id(dispatcher) not in _ending:
        _ending.add(id(dispatcher))
        threading._register_atexit(dispatcher.end)  # type: ignore[attr-defined]


def _forget_after_fork() -> None:
    """A child process has no such threads, and its parent does what waits."""
    _ending.clear()
    inline.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_forget_after_fork)
