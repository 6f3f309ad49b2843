"""Calls keep their distance, in the order in which they came, and nobody waits for the absent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from fluxio.context import Context
from fluxio.nodes import Stage, stage
from fluxio.runtime.environment import SystemClock
from fluxio.runtime.middleware import RateLimitMiddleware
from fluxio.runtime.middleware.rate_limit import InMemoryRateLimitBackend, Pace, Slot
from fluxio.runtime.step import Step
from fluxio.testing.clock import ManualClock
from tests.core.runtime.middleware.around import SleepingClock, call, settle


class Api:
    """A stage that notes who called it and when, by this clock."""

    def __init__(self, clock: ManualClock, name: str = "fetch") -> None:
        self.calls: list[tuple[float, int]] = []

        @stage(name=name)
        async def fetch(ctx: Context) -> Context:
            self.calls.append((clock.monotonic(), ctx.get("number", 0)))
            return ctx

        self.stage: Stage = fetch

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.calls]


class BrokenBackend:
    """A shared backend that gives slots but takes none back, or gives none either."""

    def __init__(self, *slots: Slot) -> None:
        self.slots = list(slots)

    async def reserve(self, key: str, pace: Pace) -> Slot:
        if not self.slots:
            raise ConnectionError("no server")
        return self.slots.pop(0)

    async def give_back(self, key: str, slot: Slot) -> None:
        raise ConnectionError("no server")


def start(limit: RateLimitMiddleware, api: Api, numbers: range) -> list[asyncio.Future[object]]:
    return [asyncio.ensure_future(call(limit, api.stage, {"number": number})) for number in numbers]


@pytest.mark.parametrize(
    ("rps", "times"),
    [(2, [0, 0.5, 1, 1.5]), (0.5, [0, 2, 4, 6]), (1, [0, 1, 2, 3])],
)
async def test_calls_come_at_most_so_often_per_second(rps: float, times: list[float]) -> None:
    clock = SleepingClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps, clock=clock)
    for _ in times:
        await call(limit, api.stage, {})
    assert api.times == pytest.approx(times)


async def test_a_call_after_a_rest_need_not_wait() -> None:
    clock = SleepingClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock)
    for _ in range(5):
        await call(limit, api.stage, {})
        clock.advance(1)
    assert clock.sleeps == []


async def test_a_burst_may_come_at_once_after_a_rest_and_never_more() -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=10, burst=3, clock=clock)
    start(limit, api, range(5))
    await settle()
    assert api.times == [0, 0, 0]
    clock.advance(0.1)
    await settle()
    clock.advance(0.1)
    await settle()
    assert api.times == pytest.approx([0, 0, 0, 0.1, 0.2])
    clock.advance(100)
    start(limit, api, range(4))
    await settle()
    assert len(api.calls) == 8


async def test_whoever_comes_first_is_served_first() -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock)
    start(limit, api, range(6))
    await settle()
    for _ in range(5):
        clock.advance(1)
        await settle()
    assert api.calls == [(float(number), number) for number in range(6)]


async def test_each_stage_of_each_pipeline_has_a_limit_of_its_own() -> None:
    clock = SleepingClock()
    fetch, push = Api(clock, "fetch"), Api(clock, "push")
    limit = RateLimitMiddleware(rps=1, clock=clock)
    await call(limit, fetch.stage, {})
    await call(limit, push.stage, {})
    elsewhere = Step(run_id="run", key="fetch", pipeline="returns")
    await call(limit, fetch.stage, {}, step=elsewhere)
    assert clock.sleeps == []
    await call(limit, fetch.stage, {}, step=Step(run_id="two", key="fetch#2", pipeline="orders"))
    assert clock.sleeps == [1]


async def test_stages_with_one_key_share_a_limit() -> None:
    clock = SleepingClock()
    fetch, push = Api(clock, "fetch"), Api(clock, "push")
    limit = RateLimitMiddleware(rps=1, key="the api", clock=clock)
    await call(limit, fetch.stage, {})
    await call(limit, push.stage, {})
    assert clock.sleeps == [1]


async def test_two_objects_share_a_limit_by_a_backend() -> None:
    clock = SleepingClock()
    api, backend = Api(clock), InMemoryRateLimitBackend(clock)
    for _ in range(3):
        limit = RateLimitMiddleware(rps=1, clock=clock, backend=backend)
        await call(limit, api.stage, {})
    assert api.times == [0, 1, 2]


async def test_the_last_one_in_line_gives_its_slot_back_when_it_is_cancelled() -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock)
    running = start(limit, api, range(3))
    await settle()
    running[2].cancel()
    await settle()
    start(limit, api, range(9, 10))
    await settle()
    for _ in range(2):
        clock.advance(1)
        await settle()
    assert api.calls == [(0, 0), (1, 1), (2, 9)]


@pytest.mark.parametrize("order", [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]])
async def test_nobody_waits_for_a_line_that_was_cancelled(order: list[int]) -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock)
    running = start(limit, api, range(5))
    await settle()
    for number in order:
        running[number].cancel()
        await settle()
    start(limit, api, range(9, 10))
    await settle()
    clock.advance(1)
    await settle()
    assert api.calls == [(0, 0), (1, 9)]


async def test_one_who_leaves_the_middle_of_the_line_disturbs_nobody() -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock)
    running = start(limit, api, range(4))
    await settle()
    running[2].cancel()
    await settle()
    start(limit, api, range(9, 10))
    await settle()
    for _ in range(4):
        clock.advance(1)
        await settle()
    assert api.calls == [(0, 0), (1, 1), (3, 3), (4, 9)]


async def test_a_slot_that_was_slept_through_cannot_be_given_back_twice() -> None:
    clock = ManualClock()
    backend, pace = InMemoryRateLimitBackend(clock), Pace(interval=1, burst=1)
    await backend.reserve("api", pace)
    late = await backend.reserve("api", pace)
    clock.advance(1)
    after = await backend.reserve("api", pace)
    assert after.wait == 1
    await backend.give_back("api", late)
    assert (await backend.reserve("api", pace)).wait == 2
    await backend.give_back("api", after)
    await backend.give_back("api", after)
    assert (await backend.reserve("api", pace)).wait == 3


async def test_a_line_that_never_ends_does_not_grow() -> None:
    clock = ManualClock()
    backend, pace = InMemoryRateLimitBackend(clock), Pace(interval=1, burst=2)
    for _ in range(5):
        await backend.reserve("api", pace)
    for _ in range(1000):
        assert (await backend.reserve("api", pace)).wait == 4
        clock.advance(1)
    assert len(backend._lines["api"].waiting) <= 4


def test_many_threads_with_loops_of_their_own_share_one_limit() -> None:
    starts: list[float] = []
    lock = threading.Lock()
    barrier = threading.Barrier(8)
    rps = 400

    class Stopwatch(SystemClock):
        """Time that stands still, so that only the waits count."""

        def monotonic(self) -> float:
            return 0.0

        async def sleep(self, seconds: float) -> None:
            with lock:
                starts.append(seconds)

    limit = RateLimitMiddleware(rps, clock=Stopwatch())
    api = Api(ManualClock())

    async def work() -> None:
        barrier.wait()
        await asyncio.gather(*(call(limit, api.stage, {}) for _ in range(50)))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: asyncio.run(work()), range(8)))
    assert len(api.calls) == 400
    gaps = [later - earlier for earlier, later in pairwise(sorted([0.0, *starts]))]
    assert gaps == pytest.approx([1 / rps] * 399)


async def test_calls_pass_while_a_shared_backend_fails(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    api = Api(clock)
    limit = RateLimitMiddleware(rps=1, clock=clock, backend=BrokenBackend())
    await call(limit, api.stage, {})
    await call(limit, api.stage, {})
    assert len(api.calls) == 2
    assert "The rate limit of 'orders/fetch' cannot reach its backend" in caplog.text


async def test_a_cancelled_call_stays_cancelled_when_its_slot_cannot_be_given_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    backend = BrokenBackend(Slot(wait=5, before=0, after=6))
    limit = RateLimitMiddleware(rps=1, clock=clock, backend=backend)
    running = asyncio.ensure_future(call(limit, Api(clock).stage, {}))
    await clock.until_sleeping()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "cannot reach its backend" in caplog.text


@pytest.mark.parametrize(
    ("build", "kind", "problem"),
    [
        (lambda: RateLimitMiddleware(0), ValueError, "rps is 0; give more than 0"),
        (lambda: RateLimitMiddleware(-1), ValueError, "rps is -1; give more than 0"),
        (lambda: RateLimitMiddleware(float("nan")), ValueError, "rps is nan"),
        (lambda: RateLimitMiddleware(float("inf")), ValueError, "rps is inf"),
        (lambda: RateLimitMiddleware(True), TypeError, "rps is a number"),
        (lambda: RateLimitMiddleware("5"), TypeError, "'5' is none"),  # type: ignore[arg-type]
        (lambda: RateLimitMiddleware(1, 0), ValueError, "burst is 0; give at least 1"),
        (lambda: RateLimitMiddleware(1, 1.5), TypeError, "a whole number of calls"),  # type: ignore[arg-type]
        (lambda: RateLimitMiddleware(1, True), TypeError, "a whole number of calls"),
        (lambda: RateLimitMiddleware(1, key=5), TypeError, "5 is none"),  # type: ignore[arg-type]
        (lambda: RateLimitMiddleware(1, backend={}), TypeError, "backend is {}"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_belong_there_is_refused(
    build: Callable[[], object], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        build()
