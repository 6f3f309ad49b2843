"""A wish from outside that an execution ends: how it is heard, and when it is heeded."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Lock, Thread

from fluxio.errors import RunCancelledError
from fluxio.runtime.loopless import in_loop
from fluxio.store.base import Claim, Leasing

logger = logging.getLogger("fluxio.run")

SECONDS_BETWEEN_LOOKS = 2.0
"""How long a wish may go unheard, where leases are not so short that they are looked at sooner."""
_LOOKS_PER_LEASE = 3


class StopSign:
    """Put up once, by any thread; an execution heeds it at its next await or stage boundary."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._reason: str | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False

    @property
    def is_up(self) -> bool:
        """Whether the execution is to end."""
        return self._reason is not None

    def put_up(self, reason: str) -> None:
        """Ask the execution to end; asking again changes nothing."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop was closed under the execution
                    self._loop.call_soon_threadsafe(self._cancel)

    @contextmanager
    def in_sight(self) -> Iterator[None]:
        """Have the task that runs this block be cancelled when the sign is put up.

        The cancellation is taken back at the end of the block: whoever waits for the task, or
        cancels it as well, is not to take it for theirs.
        """
        if not in_loop():
            yield
            return
        task = asyncio.current_task()
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), task
        try:
            yield
        finally:
            with self._lock:
                self._loop = self._task = None
            if self._cancelled and task is not None:
                task.uncancel()

    def check(self) -> None:
        """Heed the sign at a stage boundary.

        Raises:
            CancelledError: it is up.
        """
        if self._reason is not None:
            raise asyncio.CancelledError(self._reason)

    def error(self, run_id: str) -> RunCancelledError:
        """What to tell whoever waits for the run."""
        reason = self._reason or ""
        text = f"Cancelled: {reason}" if reason else "Cancelled."
        return RunCancelledError(text, run_id=run_id, reason=reason)

    def is_heeded_by(self, interruption: BaseException) -> bool:
        """Whether an interruption came from this sign alone; then it cancels nothing any more."""
        if not self.is_up or not isinstance(interruption, asyncio.CancelledError):
            return False
        task = asyncio.current_task() if in_loop() else None
        if task is not None and task.cancelling() > self._cancelled:
            return False
        self._task = None
        return True

    def _cancel(self) -> None:
        if self._task is not None:
            self._cancelled = True
            self._task.cancel(self._reason)


class Lookout:
    """One thread per process that asks now and then which of its runs somebody wants to end.

    A thread, since a stage may keep the event loop busy. It ends when nothing is executed.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._signs: dict[tuple[str, int], tuple[Leasing, Claim, StopSign]] = {}
        self._thread: Thread | None = None

    @contextmanager
    def watching(self, leasing: Leasing | None, claim: Claim) -> Iterator[StopSign]:
        """The sign of an execution; nobody puts it up where claims are not shared."""
        sign = StopSign()
        if leasing is None:
            yield sign
            return
        key = (claim.run_id, claim.token)
        with self._changed:
            self._signs[key] = (leasing, claim, sign)
            if self._thread is None:
                self._thread = Thread(target=self._look_on, name="fluxio-lookout", daemon=True)
                self._thread.start()
        try:
            yield sign
        finally:
            with self._changed:
                self._signs.pop(key, None)

    def _look_on(self) -> None:
        while signs := self._after_a_pause():
            by_leasing: dict[Leasing, list[Claim]] = defaultdict(list)
            for leasing, claim, _ in signs.values():
                by_leasing[leasing].append(claim)
            for leasing, claims in by_leasing.items():
                try:
                    wishes = leasing.wishes(claims)
                except Exception:
                    logger.exception("Who is to be cancelled cannot be found out; trying again.")
                    continue
                for claim in claims:
                    if claim.run_id in wishes:
                        signs[claim.run_id, claim.token][2].put_up(wishes[claim.run_id])

    def _after_a_pause(self) -> dict[tuple[str, int], tuple[Leasing, Claim, StopSign]]:
        """What is executed after the next pause; where that is nothing, the thread may end."""
        with self._changed:
            leases = [claim.lease_seconds for _, claim, _ in self._signs.values()]
            pauses = [lease / _LOOKS_PER_LEASE for lease in leases if lease > 0]
            self._changed.wait(min([SECONDS_BETWEEN_LOOKS, *pauses]))
            if not self._signs:
                self._thread = None
            return dict(self._signs)


lookout = Lookout()


def _forget_after_fork() -> None:
    """A child process has no such thread and owns none of its parent's runs."""
    lookout.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_forget_after_fork)
