"""The cache of one process forgets in time, forgets the right entry, and stays small."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from fluxio.runtime.cache import InMemoryCache
from fluxio.testing.clock import ManualClock


async def test_a_text_comes_back_until_it_is_deleted() -> None:
    cache = InMemoryCache()
    await cache.set("a", "1")
    await cache.set("a", "2")
    assert await cache.get("a") == "2"
    assert await cache.get("b") is None
    await cache.delete("a")
    await cache.delete("a")
    assert await cache.get("a") is None


async def test_an_entry_is_gone_once_its_time_is_over() -> None:
    clock = ManualClock()
    cache = InMemoryCache(clock=clock)
    await cache.set("a", "1", ttl=10)
    await cache.set("b", "1")
    clock.advance(9.9)
    assert await cache.get("a") == "1"
    clock.advance(0.1)
    assert await cache.get("a") is None
    assert len(cache) == 1
    clock.advance(1e9)
    assert await cache.get("b") == "1"


async def test_a_full_cache_drops_what_was_not_used_for_the_longest_time() -> None:
    cache = InMemoryCache(max_entries=2)
    await cache.set("a", "1")
    await cache.set("b", "1")
    await cache.get("a")
    await cache.set("c", "1")
    assert [await cache.get(key) for key in "abc"] == ["1", None, "1"]
    await cache.set("a", "2")
    await cache.set("d", "1")
    assert [await cache.get(key) for key in "acd"] == ["2", None, "1"]


async def test_a_cleared_cache_is_empty() -> None:
    cache = InMemoryCache()
    await cache.set("a", "1")
    cache.clear()
    assert len(cache) == 0


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_entries is 0; give at least 1"):
        InMemoryCache(max_entries=0)
    with pytest.raises(TypeError, match="a whole number of texts; None is none"):
        InMemoryCache(max_entries=None)  # type: ignore[arg-type]


def test_many_threads_and_loops_may_use_one_cache() -> None:
    cache = InMemoryCache(max_entries=50)

    async def work(number: int) -> bool:
        for step in range(300):
            await cache.set(f"{number}-{step % 40}", str(step))
            await cache.get(f"{(number + 1) % 8}-{step % 40}")
            await cache.delete(f"{number}-{(step + 20) % 40}")
        await cache.set(f"last-{number}", "here")
        return await cache.get(f"last-{number}") == "here"

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda number: asyncio.run(work(number)), range(8)))
    assert results == [True] * 8
    assert len(cache) <= 50
