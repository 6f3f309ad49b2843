"""A kept result is as good as a run stage, and nothing is kept that would be worse."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from fluxio.codec import Secret
from fluxio.context import Context
from fluxio.nodes import Send, Stage, stage
from fluxio.runtime.cache import CacheStore, InMemoryCache
from fluxio.runtime.middleware import CacheMiddleware
from fluxio.runtime.step import Step
from fluxio.testing.clock import ManualClock
from tests.core.runtime.middleware.around import call, settle


class Calls:
    """A stage that counts its calls; `work` says what it does."""

    def __init__(
        self, work: Callable[[Context], Context | Send] | None = None, **options: Any
    ) -> None:
        self.count = 0
        self.given: list[Context] = []

        async def price(ctx: Context) -> Context | Send:
            self.count += 1
            self.given.append(ctx)
            return work(ctx) if work else ctx.set("total", ctx["net"] * 2)

        self.stage: Stage = stage(**options)(price)


class BrokenStore(CacheStore):
    """A store whose server is gone."""

    async def get(self, key: str) -> str | None:
        raise ConnectionError("no server")

    async def set(self, key: str, value: str, ttl: float | None = None) -> None:
        raise ConnectionError("no server")

    async def delete(self, key: str) -> None:
        raise NotImplementedError


class OpenStore(InMemoryCache):
    """A store whose texts everybody can read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}

    async def set(self, key: str, value: str, ttl: float | None = None) -> None:
        self.texts[key] = value

    async def get(self, key: str) -> str | None:
        return self.texts.get(key)


class Gate:
    """A stage that waits at a gate: each call ends with the next outcome it is given."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Any]] = []

        @stage
        async def price(ctx: Context) -> Context:
            outcome = asyncio.get_running_loop().create_future()
            self.calls.append(outcome)
            return ctx.set("total", await outcome)

        self.stage = price


async def totals(results: list[Context | Send]) -> list[Any]:
    return [result["total"] for result in results if isinstance(result, Context)]


async def test_the_same_values_run_the_stage_once() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    results = [await call(cache, calls.stage, {"net": 21}) for _ in range(3)]
    assert await totals(results) == [42, 42, 42]
    assert calls.count == 1


async def test_a_kept_result_counts_as_written_by_the_stage() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    await call(cache, calls.stage, {"net": 21})
    result = await call(cache, calls.stage, {"net": 21})
    assert isinstance(result, Context)
    assert result.writes == {"total": 42}
    assert dict(result) == {"net": 21, "total": 42}


async def test_other_values_run_the_stage_again() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    for values in ({"net": 1}, {"net": 1.0}, {"net": True}, {"net": 1, "more": None}):
        await call(cache, calls.stage, values)
    assert calls.count == 4


async def test_the_order_of_keys_makes_no_difference() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    await call(cache, calls.stage, {"net": 1, "tax": 2})
    await call(cache, calls.stage, {"tax": 2, "net": 1})
    assert calls.count == 1


async def test_only_declared_reads_count_where_a_stage_declares_them() -> None:
    calls = Calls(reads=["net", "discount"])
    cache = CacheMiddleware(InMemoryCache())
    await call(cache, calls.stage, {"net": 1, "note": "a"})
    second = await call(cache, calls.stage, {"net": 1, "note": "b"})
    assert calls.count == 1
    assert isinstance(second, Context)
    assert second["note"] == "b"
    await call(cache, calls.stage, {"net": 1, "discount": None})
    assert calls.count == 2


@pytest.mark.parametrize(
    "other",
    [
        Step(run_id="run", key="price", pipeline="returns", version="v1"),
        Step(run_id="run", key="price#2", pipeline="orders", version="v1"),
        Step(run_id="run", key="price", pipeline="orders", version="v2"),
    ],
    ids=["pipeline", "step", "version"],
)
@pytest.mark.parametrize("key_fn", [None, lambda stage, ctx: "same"], ids=["values", "key_fn"])
async def test_pipeline_step_and_version_keep_results_apart(
    other: Step, key_fn: Callable[[Stage, Context], str] | None
) -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache(), key_fn=key_fn)
    await call(cache, calls.stage, {"net": 1})
    await call(cache, calls.stage, {"net": 1}, step=other)
    assert calls.count == 2
    again = Step(run_id="another", key="price", pipeline="orders", version="v1", attempt=7)
    await call(cache, calls.stage, {"net": 1}, step=again)
    assert calls.count == 2


async def test_a_key_function_says_which_values_count() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache(), key_fn=lambda stage, ctx: str(ctx["net"] // 10))
    for net in (10, 11, 19, 20):
        await call(cache, calls.stage, {"net": net})
    assert calls.count == 2


async def test_a_key_function_that_gives_no_text_is_an_error_that_names_the_stage() -> None:
    cache = CacheMiddleware(InMemoryCache(), key_fn=lambda stage, ctx: 7)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"gave int for stage 'price'\. Return a str"):
        await call(cache, Calls().stage, {"net": 1})


async def test_a_router_goes_the_kept_way() -> None:
    calls = Calls(lambda ctx: Send("premium", {"discount": 5}))
    cache = CacheMiddleware(InMemoryCache())
    for _ in range(2):
        assert await call(cache, calls.stage, {"net": 1}) == Send("premium", {"discount": 5})
    assert calls.count == 1


async def test_a_result_is_good_for_its_time_only() -> None:
    clock = ManualClock()
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache(clock=clock), ttl=60)
    await call(cache, calls.stage, {"net": 1})
    clock.advance(59)
    await call(cache, calls.stage, {"net": 1})
    assert calls.count == 1
    clock.advance(1)
    await call(cache, calls.stage, {"net": 1})
    assert calls.count == 2


async def test_a_time_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="ttl is 0; give more than 0 seconds"):
        CacheMiddleware(InMemoryCache(), ttl=0)


@pytest.mark.parametrize("store", [None, {}, InMemoryCache])
def test_what_is_no_store_is_refused_before_anything_runs(store: Any) -> None:
    with pytest.raises(TypeError, match=r"store is .*; give an instance of CacheStore"):
        CacheMiddleware(store)


def test_a_key_function_can_be_called() -> None:
    with pytest.raises(TypeError, match="key_fn takes a stage and a context"):
        CacheMiddleware(InMemoryCache(), key_fn="n")  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl", ["60", True])
def test_a_lifetime_is_a_number(ttl: Any) -> None:
    with pytest.raises(TypeError, match="ttl is a number of seconds"):
        CacheMiddleware(InMemoryCache(), ttl)


async def test_writes_made_before_the_stage_are_neither_kept_nor_lost() -> None:
    calls = Calls(reads=["net"])
    cache = CacheMiddleware(InMemoryCache())
    for trace in ("first", "second"):
        outer = Context.create({"net": 1}).set("trace", trace)
        result = await call(cache, calls.stage, outer)
        assert isinstance(result, Context)
        assert result.writes == {"trace": trace, "total": 2}
    assert calls.count == 1
    assert [dict(context.writes) for context in calls.given] == [{}]


async def test_a_result_that_does_not_descend_from_the_context_is_kept_whole() -> None:
    calls = Calls(lambda ctx: Context.create({"total": 5}))
    cache = CacheMiddleware(InMemoryCache())
    await call(cache, calls.stage, {"net": 1})
    kept = await call(cache, calls.stage, {"net": 1})
    assert isinstance(kept, Context)
    assert kept.writes == {"total": 5}


async def test_stream_and_transactional_stages_are_always_run() -> None:
    @stage
    async def tokens(ctx: Context):  # type: ignore[no-untyped-def]
        yield "a"

    @stage(transactional=True)
    def book(ctx: Context) -> Context:
        return ctx

    cache = CacheMiddleware(InMemoryCache())
    for each in (tokens, book):
        count = 0

        async def work(ctx: Context) -> Context:
            nonlocal count
            count += 1
            return ctx

        for _ in range(2):
            await call(cache, each, {"net": 1}, next=work)
        assert count == 2


@pytest.mark.parametrize(
    ("values", "work", "reason"),
    [
        ({"net": 1, "file": object()}, None, "the codec cannot store ctx"),
        ({"net": 1}, lambda ctx: ctx.set("file", object()), "the codec cannot store result"),
        ({"net": 1}, lambda ctx: ctx.set("token", [Secret("s3cr3t")]), "holds a Secret"),
        ({"net": 1}, lambda ctx: Send("a", {"token": Secret("s3cr3t")}), "holds a Secret"),
    ],
    ids=["input", "output", "secret", "secret on the way"],
)
async def test_what_must_not_be_kept_is_run_every_time_and_told_once(
    values: Mapping[str, Any],
    work: Callable[[Context], Context] | None,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = Calls(work)
    store = OpenStore()
    cache = CacheMiddleware(store)
    for _ in range(3):
        await call(cache, calls.stage, values)
    assert calls.count == 3
    assert store.texts == {}
    assert len(caplog.records) == 1
    assert "A result of stage 'price' is not cached" in caplog.text
    assert reason in caplog.text
    assert "s3cr3t" not in caplog.text


async def test_text_that_looks_like_a_secret_is_kept() -> None:
    calls = Calls(lambda ctx: ctx.set("note", '{"$secret":"no"}').set("$secret", 1))
    cache = CacheMiddleware(InMemoryCache())
    for _ in range(2):
        await call(cache, calls.stage, {"net": 1})
    assert calls.count == 1


async def test_a_result_that_its_schema_refuses_is_not_kept() -> None:
    class Positive:
        @staticmethod
        def model_validate(values: Any) -> None:
            if values["total"] <= 0:
                raise ValueError("total")

    calls = Calls(lambda ctx: ctx.set("total", ctx["net"]), output_schema=Positive)
    cache = CacheMiddleware(InMemoryCache())
    for net in (-1, -1, 5, 5):
        await call(cache, calls.stage, {"net": net})
    assert calls.count == 3


async def test_a_failure_is_not_kept() -> None:
    def fail(ctx: Context) -> Context:
        raise OSError("down")

    calls = Calls(fail)
    cache = CacheMiddleware(InMemoryCache())
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            await call(cache, calls.stage, {"net": 1})
    assert calls.count == 2


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "{}", '{"route":null,"writes":7}', '{"route":7,"writes":{}}', "é"]
)
async def test_a_damaged_text_is_a_miss_and_is_replaced(
    damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    calls, store = Calls(), OpenStore()
    cache = CacheMiddleware(store)
    await call(cache, calls.stage, {"net": 1})
    good = dict(store.texts)
    store.texts = dict.fromkeys(good, damaged)
    result = await call(cache, calls.stage, {"net": 1})
    assert await totals([result]) == [2]
    assert calls.count == 2
    assert store.texts == good
    assert "A cached result of stage 'price' cannot be read" in caplog.text


async def test_a_store_that_fails_never_fails_the_stage(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    result = await call(CacheMiddleware(BrokenStore()), calls.stage, {"net": 1})
    assert await totals([result]) == [2]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "cannot be read" in caplog.text
    assert "cannot be written" in caplog.text


async def test_calls_at_the_same_time_run_the_stage_once() -> None:
    gate = Gate()
    cache = CacheMiddleware(InMemoryCache())
    running = [asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(50)]
    other = asyncio.ensure_future(call(cache, gate.stage, {"net": 2}))
    await settle()
    assert len(gate.calls) == 2
    for number, outcome in enumerate(gate.calls):
        outcome.set_result([number])
    results = await asyncio.gather(*running)
    assert await totals(results) == [[0]] * 50
    assert await totals([await other]) == [[1]]
    values = {id(result["total"]) for result in results if isinstance(result, Context)}
    assert len(values) == 50, "two runs share a value that one of them could change"


async def test_when_the_first_call_fails_the_next_one_tries() -> None:
    gate = Gate()
    cache = CacheMiddleware(InMemoryCache())
    running = [asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(4)]
    await settle()
    gate.calls[0].set_exception(OSError("down"))
    await settle()
    assert len(gate.calls) == 2
    gate.calls[1].set_result(7)
    results = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(results[0], OSError)
    assert [result["total"] for result in results[1:]] == [7, 7, 7]  # type: ignore[index]


async def test_when_the_first_call_is_cancelled_the_next_one_tries() -> None:
    gate = Gate()
    cache = CacheMiddleware(InMemoryCache())
    first, second = (asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    gate.calls[1].set_result(7)
    assert await totals([await second]) == [7]


async def test_a_cancelled_waiter_disturbs_nobody() -> None:
    gate = Gate()
    cache = CacheMiddleware(InMemoryCache())
    running = [asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(3)]
    await settle()
    running[1].cancel()
    await settle()
    gate.calls[0].set_result(7)
    assert await totals([await running[0], await running[2]]) == [7, 7]
    assert len(gate.calls) == 1


async def test_those_who_wait_for_a_result_that_cannot_be_kept_run_side_by_side() -> None:
    gate = Gate()
    cache = CacheMiddleware(InMemoryCache())
    running = [asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(4)]
    await settle()
    gate.calls[0].set_result(object())
    await settle()
    assert len(gate.calls) == 4
    for outcome in gate.calls[1:]:
        outcome.set_result(1)
    await asyncio.gather(*running)


async def test_those_who_wait_share_a_result_that_the_store_could_not_take() -> None:
    gate = Gate()
    cache = CacheMiddleware(BrokenStore())
    running = [asyncio.ensure_future(call(cache, gate.stage, {"net": 1})) for _ in range(3)]
    await settle()
    gate.calls[0].set_result(7)
    assert await totals(list(await asyncio.gather(*running))) == [7, 7, 7]


def test_one_cache_serves_many_threads_with_loops_of_their_own() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    barrier = threading.Barrier(8)

    async def work() -> list[Any]:
        barrier.wait()
        running = [call(cache, calls.stage, {"net": net}) for net in range(20) for _ in range(3)]
        return await totals(list(await asyncio.gather(*running)))

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: asyncio.run(work()), range(8)))
    assert results == [[net * 2 for net in range(20) for _ in range(3)]] * 8
    assert calls.count <= 8 * 20


def test_a_call_never_waits_for_one_in_another_event_loop() -> None:
    cache = CacheMiddleware(InMemoryCache())
    meeting = threading.Barrier(2, timeout=5)

    @stage
    async def price(ctx: Context) -> Context:
        await asyncio.to_thread(meeting.wait)
        return ctx.set("total", 2)

    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(asyncio.run, call(cache, price, {"net": 1})) for _ in range(2)]
    assert [dict(run.result()) for run in runs] == [{"net": 1, "total": 2}] * 2  # type: ignore[arg-type]


def test_a_call_that_was_left_behind_in_a_closed_event_loop_blocks_nobody() -> None:
    gate, calls = Gate(), Calls()
    cache = CacheMiddleware(InMemoryCache())
    loop, context = asyncio.new_event_loop(), copy_context()
    left_behind = loop.create_task(call(cache, gate.stage, {"net": 1}), context=context)
    loop.run_until_complete(settle())
    loop.close()
    assert len(gate.calls) == 1
    for _ in range(2):
        asyncio.run(call(cache, calls.stage, {"net": 1}))
    assert calls.count == 1
    context.run(left_behind.get_coro().close)


def test_no_event_loop_is_kept_alive() -> None:
    calls = Calls()
    cache = CacheMiddleware(InMemoryCache())
    loops = []

    async def work(net: int) -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*(call(cache, calls.stage, {"net": net}) for _ in range(3)))

    for net in range(3):
        asyncio.run(work(net))
    gc.collect()
    assert [loop() for loop in loops] == [None] * 3
