"""Where `CacheMiddleware` keeps results: the port, and the cache of one process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from threading import Lock

from fluxio.options import check_whole_number
from fluxio.runtime.environment import Clock, EnvironmentClock


class CacheStore(ABC):
    """Keeps ASCII texts by key for a while; it may forget any of them at any time."""

    @abstractmethod
    async def get(self, key: str) -> str | None:
        """The text kept under this key, None where there is none or its time is over."""

    @abstractmethod
    async def set(self, key: str, value: str, ttl: float | None = None) -> None:
        """Keep a text for `ttl` seconds, None being without end; it replaces an older one."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Forget a key; unknown ones are fine."""


class InMemoryCache(CacheStore):
    """A cache in this process: bounded, and safe to use from many threads and event loops.

    When it is full, the entry that was not used for the longest time makes room (LRU). An entry
    whose time is over goes when it is asked for.

    Args:
        max_entries: how many texts are kept at most, at least 1.
        clock: what the lifetimes are measured with.

    Raises:
        TypeError, ValueError: `max_entries` is no whole number from 1 on.
    """

    def __init__(self, max_entries: int = 1024, *, clock: Clock | None = None) -> None:
        check_whole_number("max_entries", max_entries, "texts")
        self._max_entries = max_entries
        self._clock = clock or EnvironmentClock()
        self._entries: OrderedDict[str, tuple[str, float | None]] = OrderedDict()
        self._lock = Lock()

    async def get(self, key: str) -> str | None:
        """The text kept under this key, which counts as used now."""
        with self._lock:
            value, deadline = self._entries.get(key, (None, None))
            if deadline is not None and deadline <= self._clock.monotonic():
                del self._entries[key]
                return None
            if value is not None:
                self._entries.move_to_end(key)
            return value

    async def set(self, key: str, value: str, ttl: float | None = None) -> None:
        """Keep a text for `ttl` seconds; the least recently used one makes room for it."""
        deadline = None if ttl is None else self._clock.monotonic() + ttl
        with self._lock:
            self._entries[key] = (value, deadline)
            self._entries.move_to_end(key)
            if len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    async def delete(self, key: str) -> None:
        """Forget a key; unknown ones are fine."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
