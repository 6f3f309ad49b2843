"""Work in a few threads of this process, and work done by the caller."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore, Lock, Timer

from django.db import connections, transaction

from fluxio.errors import FluxioError
from fluxio_django.conf import settings
from fluxio_django.dispatch.base import execute
from fluxio_django.queues import Ticket

logger = logging.getLogger("fluxio.dispatch")

Work = Callable[[], object]

_THREADS = 2
_MOST_WAITING = 10_000


class TooMuchWaitingError(FluxioError):
    """The threads of this process have more to do than they should; the run stays queued."""


class InlineDispatcher:
    """Does the work in a few threads of this process, each with database connections of its own.

    Whatever is waiting when the process ends normally is still done; what is put off until later,
    and what a kill leaves behind, is found by the sweep.
    """

    def __init__(self, threads: int = _THREADS, most_waiting: int = _MOST_WAITING) -> None:
        self._threads = threads
        self._room = BoundedSemaphore(most_waiting)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def dispatch(self, ticket: Ticket) -> None:
        """Queue the run for a thread, now or when its time has come.

        Raises:
            TooMuchWaitingError: too many are queued already.
        """
        work = partial(execute, ticket.run_id)
        if ticket.delay <= 0:
            self.perform(work, ticket.run_id)
            return
        timer = Timer(ticket.delay, self.perform, [work, ticket.run_id])
        timer.daemon = True
        timer.start()

    def perform(self, work: Work, run_id: str) -> None:
        """Queue work for a thread; its failure is logged and stands in the run's row.

        Raises:
            TooMuchWaitingError: too much is queued already.
        """
        if not self._room.acquire(blocking=False):
            raise TooMuchWaitingError(
                f"Run {run_id!r} has to wait: the threads of this process have too much to do."
            )
        try:
            self._executor().submit(self._in_thread, work, run_id)
        except BaseException:
            self._room.release()
            raise

    def drain(self) -> None:
        """Wait until everything handed over so far is done."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _in_thread(self, work: Work, run_id: str) -> None:
        try:
            _guarded(work, run_id)
        finally:
            self._room.release()
            connections.close_all()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "fluxio-inline")
                atexit.register(self.drain)
            return self._pool


class EagerDispatcher:
    """Does the work in the caller, before it goes on; for tests and small scripts.

    A run that is put off until later is left to the sweep.
    """

    def dispatch(self, ticket: Ticket) -> None:
        """Execute the run now."""
        if ticket.delay <= 0:
            _guarded(partial(execute, ticket.run_id), ticket.run_id)


inline = InlineDispatcher()


def work_after_commit(work: Work, run_id: str, *, using: str) -> None:
    """Have work done in this process once the caller's transaction is durable."""
    eager = settings().dispatcher == "eager"
    perform = _guarded if eager else inline.perform
    transaction.on_commit(partial(perform, work, run_id), using=using)


def _guarded(work: Work, run_id: str) -> None:
    try:
        work()
    except Exception:  # whatever a stage raised stands in the run's row already
        logger.exception("Run %s failed.", run_id)
