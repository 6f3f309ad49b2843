"""One thread per process that renews the leases of all runs executed here.

A thread, since a stage may keep the event loop busy for longer than a lease lasts.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread
from time import monotonic

from fluxio.store.base import Claim, Leasing

logger = logging.getLogger("fluxio.heartbeat")

_BEATS_PER_LEASE = 3


class Heartbeat:
    """Renews every registered claim three times per lease."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._claims: dict[tuple[str, int], tuple[Leasing, Claim, float]] = {}
        self._thread: Thread | None = None
        self._wakes_at = float("inf")

    @contextmanager
    def keeping(self, leasing: Leasing | None, claim: Claim) -> Iterator[None]:
        """Renew the claim as long as the block runs; does nothing where claims do not expire."""
        if leasing is None:
            yield
            return
        key = (claim.run_id, claim.token)
        self._register(key, leasing, claim)
        try:
            yield
        finally:
            with self._changed:
                self._claims.pop(key, None)

    def _register(self, key: tuple[str, int], leasing: Leasing, claim: Claim) -> None:
        due = monotonic() + claim.lease_seconds / _BEATS_PER_LEASE
        with self._changed:
            self._claims[key] = (leasing, claim, due)
            if self._thread is None:
                self._thread = Thread(target=self._beat, name="fluxio-heartbeat", daemon=True)
                self._thread.start()
            elif due < self._wakes_at:
                self._changed.notify()

    def _beat(self) -> None:
        while True:
            for leasing, claims in self._wait_for_due().items():
                try:
                    leasing.renew(claims)
                except Exception:
                    logger.exception("Renewing %d leases failed; trying again.", len(claims))

    def _wait_for_due(self) -> dict[Leasing, list[Claim]]:
        with self._changed:
            while True:
                now = monotonic()
                due: dict[Leasing, list[Claim]] = defaultdict(list)
                for key, (leasing, claim, at) in list(self._claims.items()):
                    if at <= now:
                        due[leasing].append(claim)
                        again = now + claim.lease_seconds / _BEATS_PER_LEASE
                        self._claims[key] = (leasing, claim, again)
                if due:
                    return due
                self._wakes_at = min(
                    (at for _, _, at in self._claims.values()), default=float("inf")
                )
                pause = None if self._wakes_at == float("inf") else self._wakes_at - now
                self._changed.wait(pause)


heartbeat = Heartbeat()


def _forget_after_fork() -> None:
    """A child process has no such thread and owns none of its parent's runs."""
    heartbeat.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_forget_after_fork)
