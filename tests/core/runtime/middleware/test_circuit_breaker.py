"""A stage that keeps failing is left alone, and one call at a time finds out whether it is back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fluxio.context import Context
from fluxio.errors import CircuitOpenError, ValidationError
from fluxio.nodes import Stage, stage
from fluxio.runtime.middleware import CircuitBreakerMiddleware
from fluxio.runtime.middleware.circuit_breaker import (
    CLOSED,
    BreakerState,
    InMemoryBreakerBackend,
)
from fluxio.runtime.step import Step
from fluxio.testing.clock import ManualClock
from tests.core.runtime.middleware.around import call, settle


class Service:
    """A stage that calls something which is up or down; while `held`, calls wait for their end."""

    def __init__(self, name: str = "charge", **options: Any) -> None:
        self.is_down = False
        self.held = False
        self.calls: list[asyncio.Future[None]] = []
        self.count = 0

        async def charge(ctx: Context) -> Context:
            self.count += 1
            if self.held:
                end = asyncio.get_running_loop().create_future()
                self.calls.append(end)
                await end
            elif self.is_down:
                raise OSError("down")
            return ctx.set("charged", True)

        self.stage: Stage = stage(name=name, **options)(charge)

    async def fail(self, breaker: CircuitBreakerMiddleware, times: int) -> None:
        self.is_down = True
        for _ in range(times):
            with pytest.raises(OSError, match="down"):
                await call(breaker, self.stage, {})
        self.is_down = False


class BrokenBackend:
    """A shared backend that answers `answers` times and is gone then."""

    def __init__(self, answers: int = 0) -> None:
        self.answers = answers

    async def load(self, key: str) -> BreakerState:
        self.answers -= 1
        if self.answers < 0:
            raise ConnectionError("no server")
        return CLOSED

    async def swap(self, key: str, expected: BreakerState, state: BreakerState) -> bool:
        raise ConnectionError("no server")


class ContendedBackend(InMemoryBreakerBackend):
    """A backend where somebody else is faster now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.interruptions: list[BreakerState] = []

    async def swap(self, key: str, expected: BreakerState, state: BreakerState) -> bool:
        if self.interruptions:
            await super().swap(key, expected, self.interruptions.pop())
        return await super().swap(key, expected, state)


async def test_the_breaker_opens_at_the_threshold_and_the_stage_is_left_alone() -> None:
    service = Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=3, clock=ManualClock())
    await service.fail(breaker, 3)
    with pytest.raises(CircuitOpenError, match="circuit of stage 'charge' is open"):
        await call(breaker, service.stage, {})
    assert service.count == 3


async def test_a_success_starts_the_count_anew() -> None:
    service = Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=3, clock=ManualClock())
    for _ in range(3):
        await service.fail(breaker, 2)
        await call(breaker, service.stage, {})
    assert service.count == 9


async def test_the_refusal_says_how_many_seconds_are_left() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=1, recovery_timeout=30, clock=clock)
    await service.fail(breaker, 1)
    clock.advance(12)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == 18
    assert caught.value.stage == "charge"


async def test_a_probe_that_succeeds_closes_the_breaker() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=2, recovery_timeout=30, clock=clock)
    await service.fail(breaker, 2)
    clock.advance(30)
    await call(breaker, service.stage, {})
    await service.fail(breaker, 1)
    await call(breaker, service.stage, {})


async def test_a_probe_that_fails_opens_the_breaker_for_the_whole_time_again() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=5, recovery_timeout=30, clock=clock)
    await service.fail(breaker, 5)
    clock.advance(31)
    await service.fail(breaker, 1)
    clock.advance(29)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == 1
    clock.advance(1)
    await call(breaker, service.stage, {})


async def test_one_probe_at_a_time() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=1, recovery_timeout=30, clock=clock)
    await service.fail(breaker, 1)
    clock.advance(30)
    service.held = True
    calls = [asyncio.ensure_future(call(breaker, service.stage, {})) for _ in range(10)]
    await settle()
    assert len(service.calls) == 1
    clock.advance(1000)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == 30
    service.calls[0].set_result(None)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Context] + [CircuitOpenError] * 9


async def test_a_cancelled_probe_frees_the_probe() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=1, recovery_timeout=30, clock=clock)
    await service.fail(breaker, 1)
    clock.advance(30)
    service.held = True
    probe = asyncio.ensure_future(call(breaker, service.stage, {}))
    await settle()
    probe.cancel()
    await settle()
    assert probe.cancelled()
    service.held = False
    await call(breaker, service.stage, {})
    await call(breaker, service.stage, {})


async def test_a_cancelled_call_is_no_failure() -> None:
    service = Service()
    service.held = True
    breaker = CircuitBreakerMiddleware(failure_threshold=1, clock=ManualClock())
    running = asyncio.ensure_future(call(breaker, service.stage, {}))
    await settle()
    running.cancel()
    await settle()
    service.held = False
    await call(breaker, service.stage, {})


async def test_an_error_about_the_code_is_neither_a_failure_nor_a_success() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=2, recovery_timeout=30, clock=clock)

    async def wrong(ctx: Context) -> Context:
        raise ValidationError("wrong")

    async def misuse(times: int) -> None:
        for _ in range(times):
            with pytest.raises(ValidationError):
                await call(breaker, service.stage, {}, next=wrong)

    await misuse(10)
    await service.fail(breaker, 1)
    await misuse(1)
    await service.fail(breaker, 1)
    clock.advance(30)
    await misuse(1)
    await call(breaker, service.stage, {})


async def test_each_stage_of_each_pipeline_has_a_state_of_its_own() -> None:
    broken, sound = Service("charge"), Service("refund")
    breaker = CircuitBreakerMiddleware(failure_threshold=1, clock=ManualClock())
    await broken.fail(breaker, 1)
    await call(breaker, sound.stage, {})
    elsewhere = Step(run_id="run", key="charge", pipeline="returns", version="v1")
    await call(breaker, broken.stage, {}, step=elsewhere)
    again = Step(run_id="another", key="charge#2", pipeline="orders", version="v2")
    with pytest.raises(CircuitOpenError):
        await call(breaker, broken.stage, {}, step=again)


async def test_a_call_from_before_the_opening_changes_nothing_when_it_ends_late() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(failure_threshold=1, recovery_timeout=30, clock=clock)
    service.held = True
    early = [asyncio.ensure_future(call(breaker, service.stage, {})) for _ in range(2)]
    await settle()
    service.held = False
    await service.fail(breaker, 1)
    clock.advance(20)
    service.calls[0].set_result(None)
    service.calls[1].set_exception(OSError("late"))
    await asyncio.gather(*early, return_exceptions=True)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == 10


async def test_two_processes_share_a_state_by_a_backend() -> None:
    backend, clock, service = InMemoryBreakerBackend(), ManualClock(), Service()
    here, there = (
        CircuitBreakerMiddleware(2, 30, clock=each, backend=backend)
        for each in (clock, ManualClock(clock.now()))
    )
    await service.fail(here, 1)
    await service.fail(there, 1)
    for breaker in (here, there):
        with pytest.raises(CircuitOpenError):
            await call(breaker, service.stage, {})
    clock.advance(30)
    await call(here, service.stage, {})
    await call(there, service.stage, {})
    assert await backend.load("orders/charge") == CLOSED


@pytest.mark.parametrize(("timeout", "lifetime"), [(None, 30), (10.0, 30), (90.0, 90)])
async def test_a_probe_whose_process_died_is_replaced_in_time(
    timeout: float | None, lifetime: float
) -> None:
    backend, clock, service = InMemoryBreakerBackend(), ManualClock(), Service(timeout=timeout)
    breaker = CircuitBreakerMiddleware(1, 30, clock=clock, backend=backend)
    await service.fail(breaker, 1)
    clock.advance(30)
    opened = await backend.load("orders/charge")
    dead = BreakerState(
        failures=opened.failures, opened_at=opened.opened_at, probe_at=clock.now().timestamp()
    )
    assert await backend.swap("orders/charge", opened, dead)
    clock.advance(lifetime - 1)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == pytest.approx(1)
    clock.advance(1)
    await call(breaker, service.stage, {})
    assert await backend.load("orders/charge") == CLOSED


@pytest.mark.parametrize("ending", ["success", "failure", "cancellation"])
async def test_a_probe_that_was_replaced_has_no_say_any_more(ending: str) -> None:
    backend, clock, service = InMemoryBreakerBackend(), ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(1, 30, clock=clock, backend=backend)
    await service.fail(breaker, 1)
    clock.advance(30)
    service.held = True
    slow = asyncio.ensure_future(call(breaker, service.stage, {}))
    await settle()
    clock.advance(30)
    heir = asyncio.ensure_future(call(breaker, service.stage, {}))
    await settle()
    state = await backend.load("orders/charge")
    match ending:
        case "success":
            service.calls[0].set_result(None)
        case "failure":
            service.calls[0].set_exception(OSError("late"))
        case _:
            slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await backend.load("orders/charge") == state
    service.calls[1].set_result(None)
    await heir
    assert await backend.load("orders/charge") == CLOSED


async def test_a_clock_far_ahead_cannot_lock_a_stage_out() -> None:
    backend, clock, service = InMemoryBreakerBackend(), ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(1, 30, clock=clock, backend=backend)
    clock.skew(3600)
    await service.fail(breaker, 1)
    clock.skew(-3600)
    await call(breaker, service.stage, {})
    clock.skew(5)
    await service.fail(breaker, 1)
    clock.skew(-5)
    with pytest.raises(CircuitOpenError) as caught:
        await call(breaker, service.stage, {})
    assert caught.value.retry_after == 30


async def test_the_states_of_one_process_do_not_care_about_the_time_of_day() -> None:
    clock, service = ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(1, 30, clock=clock)
    await service.fail(breaker, 1)
    clock.skew(3600)
    with pytest.raises(CircuitOpenError):
        await call(breaker, service.stage, {})


@pytest.mark.parametrize("answers", [0, 1])
async def test_calls_pass_while_a_shared_backend_fails(
    answers: int, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()
    breaker = CircuitBreakerMiddleware(1, backend=BrokenBackend(answers))
    await service.fail(breaker, 1)
    await call(breaker, service.stage, {})
    assert service.count == 2
    assert "The breaker of 'orders/charge' cannot reach its backend" in caplog.text


async def test_a_change_by_somebody_else_is_never_overwritten() -> None:
    backend, clock, service = ContendedBackend(), ManualClock(), Service()
    breaker = CircuitBreakerMiddleware(3, 30, clock=clock, backend=backend)
    backend.interruptions = [BreakerState(failures=1)]
    await service.fail(breaker, 1)
    assert await backend.load("orders/charge") == BreakerState(failures=2)
    await service.fail(breaker, 1)
    clock.advance(30)
    now = clock.now().timestamp()
    opened = await backend.load("orders/charge")
    backend.interruptions = [BreakerState(failures=3, opened_at=opened.opened_at, probe_at=now)]
    with pytest.raises(CircuitOpenError):
        await call(breaker, service.stage, {})


def test_many_threads_count_every_failure_and_send_one_probe() -> None:
    clock = ManualClock()
    breaker = CircuitBreakerMiddleware(failure_threshold=800, recovery_timeout=30, clock=clock)
    barrier = threading.Barrier(8)
    probes = []

    @stage
    async def charge(ctx: Context) -> Context:
        raise OSError("down")

    async def probe(ctx: Context) -> Context:
        probes.append(ctx)
        await asyncio.to_thread(barrier.wait)
        return ctx

    async def fail() -> None:
        for _ in range(100):
            with pytest.raises(OSError, match="down"):
                await call(breaker, charge, {})

    async def race() -> str:
        barrier.wait()
        try:
            await call(breaker, charge, {}, next=probe)
        except CircuitOpenError:
            await asyncio.to_thread(barrier.wait)
            return "refused"
        return "probe"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: asyncio.run(fail()), range(8)))
        clock.advance(30)
        results = list(threads.map(lambda _: asyncio.run(race()), range(8)))
    assert sorted(results) == ["probe"] + ["refused"] * 7
    assert len(probes) == 1


@pytest.mark.parametrize(
    ("build", "kind", "problem"),
    [
        (lambda: CircuitBreakerMiddleware(0), ValueError, "failure_threshold is 0"),
        (lambda: CircuitBreakerMiddleware(1.5), TypeError, "a whole number of failures"),  # type: ignore[arg-type]
        (lambda: CircuitBreakerMiddleware(True), TypeError, "a whole number of failures"),
        (lambda: CircuitBreakerMiddleware(5, 0), ValueError, "recovery_timeout is 0"),
        (lambda: CircuitBreakerMiddleware(5, float("nan")), ValueError, "recovery_timeout is nan"),
        (lambda: CircuitBreakerMiddleware(5, "30"), TypeError, "'30' is none"),  # type: ignore[arg-type]
        (lambda: CircuitBreakerMiddleware(backend={}), TypeError, "backend is {}"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_belong_there_is_refused(
    build: Callable[[], object], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        build()
