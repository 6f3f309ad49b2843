"""What middleware does to an attempt is what the history of the run tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fluxio import (
    CacheMiddleware,
    CircuitBreakerMiddleware,
    CircuitOpenError,
    Context,
    InMemoryCache,
    InMemoryStore,
    Middleware,
    Pipeline,
    RateLimitMiddleware,
    RetryMiddleware,
    RetryPolicy,
    Send,
    StageResultError,
    StageTimeoutError,
    current_step,
    stage,
)
from fluxio.nodes import Stage
from fluxio.runtime.middleware import Next
from tests.core.runtime.middleware.around import SleepingClock


class Flaky:
    """A stage that fails this many times and notes the numbers of its attempts."""

    def __init__(self, failures: int, retry: RetryPolicy | int | None = None) -> None:
        self.failures = failures
        self.attempts: list[int] = []

        @stage(retry=retry)
        async def charge(ctx: Context) -> Context:
            self.attempts.append(current_step().attempt)
            if len(self.attempts) <= self.failures:
                raise OSError("down")
            return ctx.set("charged", True)

        self.stage = charge


def durable(*stages: object, middleware: list[Middleware] | None = None) -> Pipeline:
    return Pipeline(
        list(stages),
        name="orders",
        middleware=middleware,
        checkpoint_store=InMemoryStore(),
        durable=True,
    )


async def test_the_history_tells_how_often_a_step_was_tried() -> None:
    flaky = Flaky(2)
    async with durable(flaky.stage, middleware=[RetryMiddleware(clock=SleepingClock())]) as orders:
        await orders.invoke({}, run_id="run-1")
        (entry,) = [entry for entry in await orders.history("run-1") if entry.step == "charge"]
    assert flaky.attempts == [1, 2, 3]
    assert entry.tries == 3


async def test_a_policy_of_a_stage_holds_for_this_stage_alone() -> None:
    patient = Flaky(2, retry=RetryPolicy(max_attempts=3, base_delay=0))
    hasty = Flaky(1)
    async with durable(patient.stage, hasty.stage) as orders:
        with pytest.raises(OSError, match="down"):
            await orders.invoke({}, run_id="run-1")
        tries = {entry.step: entry.tries for entry in await orders.history("run-1") if entry.step}
    assert tries == {"charge": 3, "charge#2": 1}


async def test_a_timeout_holds_for_each_attempt() -> None:
    attempts = 0

    @stage(timeout=0.01, retry=RetryPolicy(max_attempts=2, base_delay=0))
    async def slow(ctx: Context) -> Context:
        nonlocal attempts
        attempts += 1
        await asyncio.Event().wait()
        return ctx

    async with durable(slow) as orders:
        with pytest.raises(StageTimeoutError):
            await orders.invoke({})
    assert attempts == 2


async def test_a_cached_step_writes_what_the_stage_wrote_and_was_never_tried() -> None:
    flaky = Flaky(0)
    async with durable(flaky.stage, middleware=[CacheMiddleware(InMemoryCache())]) as orders:
        await orders.invoke({"order": 7}, run_id="run-1")
        result = await orders.invoke({"order": 7}, run_id="run-2")
        entries = await orders.history("run-2")
    assert dict(result) == {"order": 7, "charged": True}
    assert flaky.attempts == [1]
    assert [(entry.step, entry.tries) for entry in entries if entry.step] == [("charge", 0)]


async def test_a_cached_router_goes_the_same_way() -> None:
    asked = 0

    @stage
    async def pick(ctx: Context) -> Send:
        nonlocal asked
        asked += 1
        return Send("premium", {"discount": 5})

    @stage
    async def premium(ctx: Context) -> Context:
        return ctx.set("total", 100 - ctx["discount"])

    routes = {"premium": [premium]}
    async with durable(pick, routes, middleware=[CacheMiddleware(InMemoryCache())]) as orders:
        totals = [(await orders.invoke({}))["total"] for _ in range(2)]
    assert totals == [95, 95]
    assert asked == 1


async def test_the_breaker_holds_for_all_runs_of_a_pipeline() -> None:
    flaky = Flaky(100)
    async with durable(flaky.stage, middleware=[CircuitBreakerMiddleware(2)]) as orders:
        for _ in range(2):
            with pytest.raises(OSError, match="down"):
                await orders.invoke({})
        with pytest.raises(CircuitOpenError):
            await orders.invoke({})
    assert flaky.attempts == [1, 1]


async def test_the_four_work_together_outermost_first() -> None:
    order: list[str] = []

    class Note(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
            order.append(self.name)
            return await next(ctx)

    clock = SleepingClock()
    flaky = Flaky(2)
    chain = [
        CacheMiddleware(InMemoryCache()),
        Note("after cache"),
        RetryMiddleware(clock=clock, base_delay=0),
        Note("after retry"),
        CircuitBreakerMiddleware(3, clock=clock),
        RateLimitMiddleware(0.5, clock=clock),
        Note("innermost"),
    ]
    async with durable(flaky.stage, middleware=chain) as orders:
        for _ in range(2):
            await orders.invoke({})
    assert order == ["after cache"] + ["after retry", "innermost"] * 3
    assert [seconds for seconds in clock.sleeps if seconds] == [2, 2]


class Giving(Middleware):
    """A middleware that makes something else of every result."""

    def __init__(self, result: Any) -> None:
        self.result = result

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Any:
        await next(ctx)
        return self.result


@pytest.mark.parametrize(
    ("result", "named"), [(None, r"None \(a missing return\?\)"), ({"charged": True}, "dict")]
)
async def test_a_middleware_that_returns_no_result_is_named_with_its_stage(
    result: Any, named: str
) -> None:
    flaky = Flaky(0)
    around = [CacheMiddleware(InMemoryCache()), Giving(result)]
    refusal = f"Middleware Giving around stage 'charge' returned {named}. Return"
    with pytest.raises(StageResultError, match=refusal) as caught:
        await durable(flaky.stage, middleware=around).invoke({}, run_id="r")
    assert caught.value.stage == "charge"
    assert flaky.attempts == [1]


async def test_a_function_that_returns_no_result_around_a_stage_is_named() -> None:
    async def forgetful(stage: Stage, ctx: Context, next: Next) -> Any:
        await next(ctx)

    with pytest.raises(StageResultError, match=r"Middleware \S*forgetful around stage 'charge'"):
        await Pipeline([Flaky(0).stage], middleware=[forgetful]).invoke({})
