"""Spaces out the calls of a stage."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, runtime_checkable

from fluxio.context import Context
from fluxio.nodes import Send, Stage
from fluxio.options import check_number, check_whole_number
from fluxio.runtime.environment import Clock, EnvironmentClock
from fluxio.runtime.middleware.base import Middleware
from fluxio.runtime.step import current_step
from fluxio.types import Next

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast calls may come: one every `interval` seconds, and `burst` at once after a rest."""

    interval: float
    burst: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A place in the line: the call may start in `wait` seconds.

    `before` and `after` are what the line was due at without and with this call, in seconds by the
    backend's clock; giving a slot back takes the line from `after` to `before`.
    """

    wait: float
    before: float
    after: float


@runtime_checkable
class RateLimitBackend(Protocol):
    """Where the lines of waiting calls live, and the clock they go by."""

    async def reserve(self, key: str, pace: Pace) -> Slot:
        """Take the next free slot of the line with this key, atomically."""

    async def give_back(self, key: str, slot: Slot) -> None:
        """Free a slot that was not used, where nobody stands behind it any more."""


@dataclass(slots=True)
class _Line:
    """The calls of one key. `waiting` has the slots still to come and whether each is unused."""

    due: float = -math.inf
    waiting: OrderedDict[Slot, bool] = field(default_factory=OrderedDict)

    def forget_served(self, pace: Pace, now: float) -> None:
        """Drop the slots whose time has come."""
        while self.waiting and next(iter(self.waiting)).after - pace.burst * pace.interval <= now:
            self.waiting.popitem(last=False)


class InMemoryRateLimitBackend:
    """The lines of this process, for all its threads and event loops.

    The algorithm is virtual scheduling, that is GCRA as in ITU-T Recommendation I.371 (Annex A),
    with one change: a call that comes too early is not refused but told how long to wait.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or EnvironmentClock()
        self._lines: dict[str, _Line] = {}
        self._lock = Lock()

    async def reserve(self, key: str, pace: Pace) -> Slot:
        """Take the next free slot; those who come first are served first."""
        with self._lock:
            now = self._clock.monotonic()
            line = self._lines.setdefault(key, _Line())
            line.forget_served(pace, now)
            arrival = max(line.due, now)
            wait = max(0.0, arrival - (pace.burst - 1) * pace.interval - now)
            slot = Slot(wait=wait, before=line.due, after=arrival + pace.interval)
            line.due = slot.after
            if wait > 0:
                line.waiting[slot] = False
            return slot

    async def give_back(self, key: str, slot: Slot) -> None:
        """Free an unused slot, together with the unused ones that it was the last to stand behind.

        The others keep their times: a slot in the middle of the line stays unused.
        """
        with self._lock:
            line = self._lines[key]
            if slot in line.waiting:
                line.waiting[slot] = True
            while line.waiting and line.waiting[next(reversed(line.waiting))]:
                last, _ = line.waiting.popitem()
                line.due = last.before


class RateLimitMiddleware(Middleware):
    """Lets a stage be called at most `rps` times per second; calls that come too early wait.

    Calls wait in the order in which they came, and a cancelled one gives its slot back. Waiting is
    not part of an attempt: a stage's `timeout` starts after it. A shared backend is a hint: while
    it fails, calls pass and the log says so.

    Args:
        rps: calls per second, more than 0; 0.5 is one call every two seconds.
        burst: how many calls may come at once after a rest, at least 1.
        key: calls with the same key share the limit, whatever their stage; None gives every stage
            of every pipeline a limit of its own.
        clock: what the waits are measured with and spent on.
        backend: where the lines live; in this object where None.

    Raises:
        TypeError, ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        rps: float,
        burst: int = 1,
        *,
        key: str | None = None,
        clock: Clock | None = None,
        backend: RateLimitBackend | None = None,
    ) -> None:
        check_number("rps", rps, "calls per second")
        if not 0 < rps < math.inf:
            raise ValueError(f"rps is {rps}; give more than 0 calls per second.")
        check_whole_number("burst", burst, "calls")
        if key is not None and not isinstance(key, str):
            raise TypeError(f"key is a text that calls with the same limit share; {key!r} is none.")
        if backend is not None and not isinstance(backend, RateLimitBackend):
            raise TypeError(f"backend is {backend!r}; give what can `reserve` slots.")
        self.pace = Pace(interval=1 / rps, burst=burst)
        self._key = key
        self._clock = clock or EnvironmentClock()
        self._backend: RateLimitBackend = backend or InMemoryRateLimitBackend(self._clock)

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        """Wait for a slot and run the stage in it."""
        # No stage name has a slash in it, so two stages can never get the same key.
        key = self._key if self._key is not None else f"{current_step().pipeline}/{stage.name}"
        try:
            slot = await self._backend.reserve(key, self.pace)
        except Exception as error:  # noqa: BLE001 - a shared backend is a hint
            _report(key, error)
            return await next(ctx)
        if slot.wait > 0:
            await self._sit_out(key, slot)
        return await next(ctx)

    async def _sit_out(self, key: str, slot: Slot) -> None:
        try:
            await self._clock.sleep(slot.wait)
        except BaseException:
            try:
                await self._backend.give_back(key, slot)
            except Exception as error:  # noqa: BLE001 - the cancellation matters more
                _report(key, error)
            raise


def _report(key: str, error: Exception) -> None:
    logger.warning("The rate limit of %r cannot reach its backend.", key, exc_info=error)
