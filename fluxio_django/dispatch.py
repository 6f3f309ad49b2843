"""How work reaches a worker: for now, the threads of this process."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol

from django.db import connections, transaction

from fluxio_django.conf import settings

logger = logging.getLogger("fluxio.dispatch")

Work = Callable[[], object]


class Dispatcher(Protocol):
    """Takes work that must not keep its caller waiting."""

    def dispatch(self, work: Work, run_id: str) -> None:
        """Have the work done, soon or now; its failure is logged and stands in the run's row."""


class InlineDispatcher:
    """Does the work in a few threads of this process, each with database connections of its own.

    Whatever is waiting when the process ends normally is still done; what a kill leaves behind is
    taken over when its lease expires.
    """

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    def dispatch(self, work: Work, run_id: str) -> None:
        """Queue the work for a thread."""
        self._executor().submit(_in_thread, work, run_id)

    def drain(self) -> None:
        """Wait until everything dispatched so far is done."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "fluxio-inline")
                atexit.register(self.drain)
            return self._pool


class EagerDispatcher:
    """Does the work in the caller, before it goes on; for tests and small scripts."""

    def dispatch(self, work: Work, run_id: str) -> None:
        """Do the work now."""
        _guarded(work, run_id)


_DISPATCHERS: dict[str, Dispatcher] = {"inline": InlineDispatcher(), "eager": EagerDispatcher()}


def dispatch_after_commit(work: Work, run_id: str, *, using: str) -> None:
    """Dispatch once the caller's transaction is durable; a rollback dispatches nothing."""
    dispatcher = _DISPATCHERS[settings().dispatcher]
    transaction.on_commit(lambda: dispatcher.dispatch(work, run_id), using=using)


def _in_thread(work: Work, run_id: str) -> None:
    try:
        _guarded(work, run_id)
    finally:
        connections.close_all()


def _guarded(work: Work, run_id: str) -> None:
    try:
        work()
    except Exception:  # whatever a stage raised stands in the run's row already
        logger.exception("Run %s failed.", run_id)
