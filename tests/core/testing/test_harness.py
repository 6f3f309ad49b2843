"""A stage in the harness behaves as it does in a pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator
from threading import current_thread, main_thread
from threading import enumerate as threads
from typing import Any

import pytest

from fluxio.context import Context
from fluxio.errors import (
    MutationError,
    RoutingError,
    StageResultError,
    StageTimeoutError,
    ValidationError,
)
from fluxio.nodes import Send, Stage, stage
from fluxio.runtime.step import current_step
from fluxio.testing.fixtures import make_ctx
from fluxio.testing.harness import StepHarness
from fluxio.types import Next


@stage
async def total(ctx: Context) -> Context:
    return ctx.set("total", sum(ctx["prices"]))


async def test_a_stage_runs_on_a_context() -> None:
    async with StepHarness(total) as harness:
        result = await harness.run(make_ctx(prices=[1, 2]))
    assert result["total"] == 3
    assert result["prices"] == [1, 2]


async def test_a_stage_runs_on_a_plain_dict() -> None:
    async with StepHarness(total) as harness:
        assert (await harness.run({"prices": [4]}))["total"] == 4


async def test_a_bare_function_will_do() -> None:
    async with StepHarness(lambda ctx: ctx.set("done", True)) as harness:
        assert (await harness.run())["done"] is True


def test_plain_tests_can_run_a_stage_too() -> None:
    with StepHarness(total) as harness:
        assert harness.run_sync({"prices": [5]})["total"] == 5
        harness.assert_writes("total")


async def test_writes_are_those_of_the_last_run_alone() -> None:
    async with StepHarness(total) as harness:
        given = make_ctx(prices=[1]).set("unrelated", 1)
        result = await harness.run(given)
        harness.assert_writes("total")
        assert harness.written == {"total": 1}
        assert result.written == {"total"}


async def test_a_missing_and_an_extra_write_are_both_named() -> None:
    async with StepHarness(total) as harness:
        await harness.run({"prices": []})
        with pytest.raises(AssertionError, match="did not write tax and also wrote total"):
            harness.assert_writes("tax")
        with pytest.raises(AssertionError, match="also wrote total"):
            harness.assert_writes()


async def test_writes_of_no_run_cannot_be_asserted() -> None:
    async with StepHarness(total) as harness:
        with pytest.raises(AssertionError, match="has not finished a run"):
            harness.assert_writes()
        with pytest.raises(KeyError):
            await harness.run({})
        with pytest.raises(AssertionError, match="has not finished a run"):
            harness.assert_writes()


async def test_middleware_stands_around_the_stage_outermost_first() -> None:
    calls: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
            calls.append(self.name)
            return await next(ctx)

    async with StepHarness(total, middleware=[Named("outer"), Named("inner")]) as harness:
        await harness.run({"prices": []})
    assert calls == ["outer", "inner"]


async def test_retries_are_counted() -> None:
    attempts: list[int] = []

    @stage(retry=3)
    async def flaky(ctx: Context) -> Context:
        attempts.append(current_step().attempt)
        if len(attempts) < 2:
            raise OSError("not yet")
        return ctx

    async with StepHarness(flaky) as harness:
        await harness.run()
        assert harness.tries == 2
    assert attempts == [1, 2]


async def test_an_error_of_the_stage_is_handed_on() -> None:
    @stage
    async def broken(ctx: Context) -> Context:
        raise ZeroDivisionError("boom")

    async with StepHarness(broken) as harness:
        with pytest.raises(ZeroDivisionError, match="boom"):
            await harness.run()


async def test_a_result_that_is_no_context_is_refused() -> None:
    async with StepHarness(lambda ctx: None) as harness:
        with pytest.raises(StageResultError):
            await harness.run()


async def test_a_change_in_place_is_found() -> None:
    @stage
    async def careless(ctx: Context) -> Context:
        ctx["items"].append(1)
        return ctx

    async with StepHarness(careless) as harness:
        with pytest.raises(MutationError):
            await harness.run({"items": []})


async def test_schemas_are_checked() -> None:
    class Schema:
        @classmethod
        def model_validate(cls, obj: Any) -> None:
            if "prices" not in obj:
                raise ValueError("prices is missing")

    async with StepHarness(stage(input_schema=Schema)(total.function)) as harness:
        with pytest.raises((ValidationError, ValueError)):
            await harness.run({})


async def test_a_timeout_holds() -> None:
    import asyncio

    @stage(timeout=0.001)
    async def slow(ctx: Context) -> Context:
        await asyncio.Event().wait()
        return ctx

    async with StepHarness(slow) as harness:
        with pytest.raises(StageTimeoutError):
            await harness.run()


async def test_a_router_tells_its_route() -> None:
    @stage
    def pick(ctx: Context) -> Send:
        return Send("premium" if ctx["total"] > 100 else "basic", {"picked": True})

    async with StepHarness(pick, routes=["premium", "basic"]) as harness:
        assert (await harness.run({"total": 101}))["picked"] is True
        assert harness.route == "premium"
        await harness.run({"total": 1})
        assert harness.route == "basic"
    async with StepHarness(pick, routes=["basic"]) as harness:
        with pytest.raises(RoutingError):
            await harness.run({"total": 101})


async def test_a_stage_that_routes_nowhere_has_no_route() -> None:
    async with StepHarness(total) as harness:
        await harness.run({"prices": []})
        assert harness.route is None


@stage
async def numbers(ctx: Context) -> AsyncIterator[int]:
    for number in range(ctx["count"]):
        yield number


async def test_chunks_of_a_stream_are_collected_in_order() -> None:
    async with StepHarness(numbers) as harness:
        assert await harness.run_stream({"count": 3}) == [0, 1, 2]
        harness.assert_writes("numbers_stream_result")
        assert await harness.run_stream({"count": 0}) == []
        assert (await harness.run({"count": 2}))["numbers_stream_result"] == [0, 1]


async def test_only_streams_have_chunks() -> None:
    async with StepHarness(total) as harness:
        with pytest.raises(TypeError, match="yields no chunks"):
            await harness.run_stream({"prices": []})


async def test_a_plain_function_runs_in_a_thread_that_is_given_back() -> None:
    before = set(threads())

    def where(ctx: Context) -> Context:
        return ctx.set("main", current_thread() is main_thread())

    async with StepHarness(where) as harness:
        assert (await harness.run())["main"] is False
        assert set(threads()) - before
    assert not set(threads()) - before


async def test_a_transactional_stage_runs_as_a_plain_one() -> None:
    @stage(transactional=True)
    def charge(ctx: Context) -> Context:
        return ctx.set("charged", ctx["total"])

    async with StepHarness(charge) as harness:
        assert (await harness.run({"total": 7}))["charged"] == 7
        harness.assert_writes("charged")
        with pytest.raises(KeyError):
            await harness.run({})


async def test_the_step_is_known_inside_the_stage() -> None:
    @stage
    async def name(ctx: Context) -> Context:
        return ctx.update({"key": current_step().key, "id": current_step().run_id})

    async with StepHarness(name) as harness:
        result = await harness.run()
    assert result["key"] == "name"
    assert len(result["id"]) == 32
