"""A manual clock stands still until it is told otherwise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fluxio.runtime.environment import Clock
from fluxio.testing.clock import ManualClock


def test_it_is_a_clock() -> None:
    clock: Clock = ManualClock()
    assert clock.now().tzinfo is UTC


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = ManualClock()
    first = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == first
    clock.advance(1.5)
    assert clock.now() - first[0] == timedelta(seconds=1.5)
    assert clock.monotonic() - first[1] == 1.5


def test_the_start_may_be_chosen_in_any_zone() -> None:
    start = datetime(2026, 7, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert ManualClock(start).now() == datetime(2026, 7, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        ManualClock(start.replace(tzinfo=None))


def test_time_never_goes_back() -> None:
    with pytest.raises(ValueError, match="cannot pass"):
        ManualClock().advance(-1)


def test_a_skewed_clock_still_counts_seconds() -> None:
    clock = ManualClock()
    before = clock.now()
    clock.skew(-3600)
    assert (clock.now() - before, clock.monotonic()) == (timedelta(hours=-1), 0.0)


async def test_a_sleeper_waits_for_its_time() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await clock.until_sleeping()
    clock.advance(9)
    await asyncio.sleep(0)
    assert not sleeper.done()
    assert clock.sleeping == 1
    clock.advance(1)
    await sleeper
    assert clock.sleeping == 0


async def test_sleepers_wake_in_the_order_they_are_due() -> None:
    clock, woken = ManualClock(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.ensure_future(sleep(seconds)) for seconds in (3, 1, 2)]
    await clock.until_sleeping(3)
    clock.advance(5)
    await asyncio.gather(*tasks)
    assert woken == [1, 2, 3]


async def test_small_steps_add_up() -> None:
    clock = ManualClock()
    clock.advance(0.1)
    sleeper = asyncio.ensure_future(clock.sleep(0.7))
    await clock.until_sleeping()
    for _ in range(7):
        clock.advance(0.1)
    await sleeper


@pytest.mark.parametrize("seconds", [0, -1])
async def test_sleeping_for_no_time_only_yields(seconds: float) -> None:
    clock = ManualClock()
    await clock.sleep(seconds)
    assert clock.monotonic() == 0


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await clock.until_sleeping()
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    assert clock.sleeping == 0
    clock.advance(20)


async def test_a_cancelled_watcher_is_forgotten() -> None:
    clock = ManualClock()
    watcher = asyncio.ensure_future(clock.until_sleeping())
    await asyncio.sleep(0)
    watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watcher
    sleeper = asyncio.ensure_future(clock.sleep(1))
    await clock.until_sleeping()
    clock.advance(1)
    await sleeper


async def test_an_auto_advancing_clock_waits_for_nobody() -> None:
    clock = ManualClock(auto_advance=True)
    await clock.sleep(3600)
    await clock.sleep(60)
    assert clock.monotonic() == 3660


async def test_another_thread_may_advance() -> None:
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await clock.until_sleeping()
    await asyncio.to_thread(clock.advance, 10)
    await sleeper


async def test_sleepers_of_many_event_loops_share_the_clock() -> None:
    clock = ManualClock()
    elsewhere = [
        asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(clock.sleep(5))))
        for _ in range(4)
    ]
    await clock.until_sleeping(4)
    clock.advance(5)
    await asyncio.gather(*elsewhere)
