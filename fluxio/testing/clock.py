"""A clock that tests move by hand, so that no test has to wait."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

_START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
# Three times 0.1 s is not quite 0.3 s in binary; nobody should sleep on because of that.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Waiter:
    """Somebody in `sleep` (`due` is a monotonic time) or in `until_sleeping` (`due` is a count)."""

    due: float
    loop: AbstractEventLoop
    future: Future[None]

    def wake(self) -> None:
        self.loop.call_soon_threadsafe(_finish, self.future)


class ManualClock:
    """Time that stands still until `advance` is called; usable from many threads and event loops.

    `auto_advance=True` makes every `sleep` move the time itself and return, for tests that care
    about how long something would have waited but not about what happens meanwhile.

    Args:
        start: the first time of day, with a time zone.
        auto_advance: whether sleeping moves the time.
    """

    def __init__(self, start: datetime = _START, *, auto_advance: bool = False) -> None:
        if start.tzinfo is None:
            raise ValueError(f"{start} has no time zone; give one, as in tzinfo=UTC.")
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._skew = timedelta()
        self._auto_advance = auto_advance
        self._lock = Lock()
        self._sleepers: list[_Waiter] = []
        self._watchers: list[_Waiter] = []

    def now(self) -> datetime:
        """The time of day, in UTC."""
        with self._lock:
            return self._start + timedelta(seconds=self._elapsed) + self._skew

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        with self._lock:
            return self._elapsed

    @property
    def sleeping(self) -> int:
        """How many calls of `sleep` are waiting."""
        with self._lock:
            return len(self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by that much; 0 or less only yields."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        if self._auto_advance:
            self.advance(seconds)
            await asyncio.sleep(0)
            return
        with self._lock:
            sleeper = _waiter(self._elapsed + seconds)
            self._sleepers.append(sleeper)
            self._tell_watchers()
        try:
            await sleeper.future
        finally:
            with self._lock:
                _discard(self._sleepers, sleeper)

    async def until_sleeping(self, count: int = 1) -> None:
        """Wait until that many calls of `sleep` are waiting: then advancing will wake them."""
        with self._lock:
            if len(self._sleepers) >= count:
                return
            watcher = _waiter(count)
            self._watchers.append(watcher)
        try:
            await watcher.future
        finally:
            with self._lock:
                _discard(self._watchers, watcher)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whoever slept long enough, in the order they are due.

        Raises:
            ValueError: time never goes back; `skew` moves the time of day alone.
        """
        if seconds < 0:
            raise ValueError(f"Time cannot pass by {seconds} seconds; use skew() for the calendar.")
        with self._lock:
            self._elapsed += seconds
            due = [
                sleeper for sleeper in self._sleepers if sleeper.due <= self._elapsed + _ROUNDING
            ]
            for sleeper in sorted(due, key=lambda sleeper: sleeper.due):
                self._sleepers.remove(sleeper)
                sleeper.wake()

    def skew(self, seconds: float) -> None:
        """Set the time of day forward or back, as an operator or NTP does; nothing else moves."""
        with self._lock:
            self._skew += timedelta(seconds=seconds)

    def _tell_watchers(self) -> None:
        satisfied = [watcher for watcher in self._watchers if watcher.due <= len(self._sleepers)]
        for watcher in satisfied:
            self._watchers.remove(watcher)
            watcher.wake()


def _waiter(due: float) -> _Waiter:
    loop = asyncio.get_running_loop()
    return _Waiter(due=due, loop=loop, future=loop.create_future())


def _discard(waiters: list[_Waiter], waiter: _Waiter) -> None:
    if waiter in waiters:
        waiters.remove(waiter)


def _finish(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)
