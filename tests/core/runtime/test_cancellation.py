"""Cancellation at any await, streams that nobody reads, and timeouts (G13, G14)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from fluxio import (
    BaseCallback,
    CheckpointStore,
    Context,
    ForkMode,
    InMemoryStore,
    Parallel,
    Pipeline,
    RetryMiddleware,
    RunStatus,
    Send,
    StageTimeoutError,
    stage,
)
from fluxio.events import PipelineEnded, PipelineStarted
from fluxio.store.lone import open_journal
from tests.core.stores.toy import ToyStore, TransactionalStore
from tests.proofs.tally import Tally


class Endings(BaseCallback):
    """Counts beginnings and collects terminal events."""

    def __init__(self) -> None:
        self.begun = 0
        self.seen: list[PipelineEnded] = []

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        self.begun += 1

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        self.seen.append(event)


def step(name: str, ticks: int = 2, answer: Send | None = None) -> Any:
    async def body(ctx: Context) -> Any:
        for _ in range(ticks):
            await asyncio.sleep(0)
        return answer or ctx.set(name, True)

    return stage(name=name, version="1")(body)


@stage(version="1")
async def tokens(ctx: Context) -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(0)
        yield number


@stage(version="1")
async def unfinished(ctx: Context) -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


TOPOLOGIES: dict[str, Callable[[], list[Any]]] = {
    "linear": lambda: [step("a"), step("b"), step("c")],
    "parallel": lambda: [step("a"), Parallel([step("b"), [step("c", 3), step("d")]]), step("e")],
    "routes": lambda: [
        step("pick", answer=Send("x")),
        {"x": [step("a"), Parallel([step("b"), step("c")])]},
    ],
    "background": lambda: [Parallel([step("a", 5)], mode=ForkMode.FIRE_FORGET), step("b")],
    "stream": lambda: [step("a"), tokens, step("b")],
}


async def tick(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


STORES: dict[str, Callable[[], CheckpointStore]] = {"memory": InMemoryStore, "toy": ToyStore}


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("place", [*STORES, "none"])
async def test_g14_cancellation_at_any_tick_ends_once_frees_the_run_and_can_be_resumed(
    topology: str, place: str, tally: Tally
) -> None:
    endings, durable = Endings(), place in STORES
    store = STORES[place]() if durable else None
    pipeline = Pipeline(
        TOPOLOGIES[topology](), callbacks=[endings], durable=durable, checkpoint_store=store
    )
    expected = await pipeline.invoke({}, run_id="whole")
    cancelled, ended = 0, list[RunStatus]()
    before = asyncio.all_tasks()
    for count in range(200):
        endings.seen.clear()
        endings.begun = 0
        run_id = f"r{count}"
        task = asyncio.ensure_future(pipeline.invoke({}, run_id=run_id))
        await tick(count)
        if task.done():
            break
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({task})
        assert asyncio.all_tasks() == before
        if not task.cancelled():
            continue
        cancelled += 1
        assert endings.begun <= 1
        assert len(endings.seen) == endings.begun
        ended += [event.status for event in endings.seen]
        if store is not None:
            record = await open_journal(store).run(run_id)
            assert record is None or record.owner is None
            again = await pipeline.invoke({}, run_id=run_id, on_conflict="resume")
            assert again == expected
        tally.add("G14", place)
    assert cancelled > 5
    assert ended.count(RunStatus.CANCELLED) > 3
    assert set(ended) <= {RunStatus.CANCELLED, RunStatus.SUCCEEDED}


@pytest.mark.parametrize("place", [*STORES, "none"])
async def test_g14_a_reader_that_is_cancelled_at_any_tick_leaves_a_run_that_can_go_on(
    place: str, tally: Tally
) -> None:
    endings, durable = Endings(), place in STORES
    store = STORES[place]() if durable else None
    pipeline = Pipeline(
        TOPOLOGIES["stream"](), callbacks=[endings], durable=durable, checkpoint_store=store
    )

    async def read(run_id: str, resume: bool = False) -> list[int]:
        return [chunk async for chunk in pipeline.stream({}, run_id=run_id, resume=resume)]

    assert await read("whole") == [0, 1, 2]
    before = asyncio.all_tasks()
    cancelled = 0
    for count in range(200):
        endings.seen.clear()
        endings.begun = 0
        run_id = f"r{count}"
        task = asyncio.ensure_future(read(run_id))
        await tick(count)
        if task.done():
            break
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait({task})
            await tick(3)
        assert asyncio.all_tasks() == before
        if not task.cancelled():
            continue
        cancelled += 1
        assert len(endings.seen) == endings.begun <= 1
        if store is not None and (record := await open_journal(store).run(run_id)):
            assert record.owner is None
            assert await read(run_id, resume=True) in ([0, 1, 2], [])
        tally.add("G14", place)
    assert cancelled > 5


async def test_a_second_cancellation_does_not_stop_the_record_of_the_first() -> None:
    started = asyncio.Event()

    @stage
    async def stubborn(ctx: Context) -> Context:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            await tick(3)
        return ctx

    pipeline = Pipeline([Parallel([stubborn])], durable=True)
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await started.wait()
    task.cancel()
    await tick(1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert pipeline.checkpoint_store is not None
    journal = pipeline.checkpoint_store.journal()
    assert journal is not None
    record = await journal.run("r")
    assert record is not None
    assert record.status in (RunStatus.CANCELLED, RunStatus.RUNNING)


# --- streams


async def test_chunks_come_while_the_run_goes_on_and_wait_for_the_reader() -> None:
    produced: list[int] = []

    @stage
    async def counting(ctx: Context) -> AsyncIterator[int]:
        for number in range(1000):
            produced.append(number)
            yield number

    got: list[int] = []
    async for chunk in Pipeline([counting]).stream({}):
        await tick(3)
        got.append(chunk)
        assert len(produced) - len(got) <= 20
    assert got == list(range(1000))


async def test_leaving_the_stream_early_cancels_the_run_and_frees_it() -> None:
    endings = Endings()
    pipeline = Pipeline([unfinished], callbacks=[endings], durable=True)
    before = asyncio.all_tasks()
    stream = pipeline.stream({}, run_id="r")
    async for chunk in stream:
        if chunk == 40:
            break
    await stream.aclose()
    assert asyncio.all_tasks() == before
    assert [event.status for event in endings.seen] == [RunStatus.CANCELLED]
    resumed = pipeline.stream({}, run_id="r", resume=True)
    assert await anext(resumed) == 0
    await resumed.aclose()


async def test_a_reader_that_is_cancelled_again_and_again_waits_for_the_end_of_its_run() -> None:
    endings, cleaned = Endings(), asyncio.Event()

    @stage
    async def careful(ctx: Context) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    await tick(3)
            cleaned.set()

    pipeline = Pipeline([careful], callbacks=[endings], durable=True)
    before, got = asyncio.all_tasks(), asyncio.Event()

    async def read() -> None:
        async for _ in pipeline.stream({}, run_id="r"):
            got.set()

    reader = asyncio.ensure_future(read())
    await got.wait()
    while not reader.done():
        reader.cancel()
        await tick(2)
    assert reader.cancelled()
    assert cleaned.is_set()
    assert asyncio.all_tasks() == before
    assert [event.status for event in endings.seen] == [RunStatus.CANCELLED]
    assert pipeline.checkpoint_store is not None
    record = await open_journal(pipeline.checkpoint_store).run("r")
    assert record is not None
    assert (record.owner, record.status) == (None, RunStatus.CANCELLED)


async def test_a_failing_stream_delivers_what_was_yielded_and_then_its_error() -> None:
    @stage
    async def failing(ctx: Context) -> AsyncIterator[int]:
        for number in range(40):
            yield number
        raise ValueError("cut")

    got: list[int] = []
    with pytest.raises(ValueError, match="cut"):
        async for chunk in Pipeline([failing]).stream({}):
            got.append(chunk)
    assert got == list(range(40))


async def test_a_reader_that_raises_is_not_left_hanging() -> None:
    before = asyncio.all_tasks()
    stream = Pipeline([unfinished]).stream({})
    with pytest.raises(ValueError, match="reader"):
        async for _ in stream:
            raise ValueError("reader")
    await stream.aclose()
    assert asyncio.all_tasks() == before


async def test_a_timeout_ends_a_stream_whose_buffer_is_full() -> None:
    slow = stage(timeout=0.05)(unfinished)
    stream = Pipeline([slow]).stream({})
    assert await anext(stream) == 0
    with pytest.raises(StageTimeoutError):
        async with asyncio.timeout(5):
            waiter = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, waiter.set)
            await waiter.wait()
            async for _ in stream:
                pass


async def test_the_generator_is_closed_whoever_ends_the_stream() -> None:
    closed: list[bool] = []

    @stage
    async def careful(ctx: Context) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    stream = Pipeline([careful]).stream({})
    await anext(stream)
    await stream.aclose()
    assert closed == [True]


@pytest.mark.timeout(30)
async def test_a_stage_that_ignores_its_cancellation_waits_for_no_reader_that_is_gone() -> None:
    ignored: list[int] = []

    @stage(version="1")
    async def stubborn(ctx: Context) -> AsyncIterator[int]:
        for number in range(100):
            yield number
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                ignored.append(number)

    pipeline = Pipeline([stubborn], durable=True)
    before = asyncio.all_tasks()
    stream = pipeline.stream({}, run_id="r")
    assert await anext(stream) == 0
    await tick(3)
    await stream.aclose()
    assert ignored
    assert asyncio.all_tasks() == before
    assert len((await pipeline.state("r"))["stubborn_stream_result"]) == 100


async def test_branches_stream_into_one_reader() -> None:
    pipeline = Pipeline([Parallel([tokens, stage(name="other", version="1")(tokens)])])
    assert sorted([chunk async for chunk in pipeline.stream({})]) == [0, 0, 1, 1, 2, 2]


# --- timeouts


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transactional"])
async def test_g13_what_a_plain_stage_does_after_its_timeout_is_never_committed(
    transactional: bool, tally: Tally
) -> None:
    store = TransactionalStore()
    gates: dict[str, threading.Event] = {}
    ended: list[str] = []

    @stage(timeout=0.001, transactional=transactional)
    def late(ctx: Context) -> Context:
        gates[ctx["run"]].wait(30)
        store.ledger.write(ctx["run"])
        ended.append(ctx["run"])
        return ctx.set("late", True)

    pipeline = Pipeline([late], durable=True, checkpoint_store=store, max_workers=4)
    for number in range(250):
        run_id = f"r{number}"
        gates[run_id] = threading.Event()
        with pytest.raises(StageTimeoutError):
            await pipeline.invoke({"run": run_id}, run_id=run_id)
        gates[run_id].set()
    pipeline.shutdown()
    await tick(20)
    committed = []
    for number in range(250):
        kinds = [entry.kind.value for entry in await pipeline.history(f"r{number}")]
        late_writes = "late" in await pipeline.state(f"r{number}")
        committed += [number] if late_writes or kinds != ["start", "error"] else []
    if transactional:
        assert await store.ledger.notes() == []
    tally.add("G13", "memory", 250, len(committed))
    assert committed == []
    assert len(ended) > 0, "no stage went on after its timeout"


async def test_a_plain_stage_that_timed_out_can_never_write() -> None:
    release, ended = threading.Event(), threading.Event()

    @stage(timeout=0.02)
    def late(ctx: Context) -> Context:
        release.wait(5)
        ended.set()
        return ctx.set("late", True)

    pipeline = Pipeline([late], durable=True)
    with pytest.raises(StageTimeoutError):
        await pipeline.invoke({}, run_id="r")
    release.set()
    await asyncio.to_thread(ended.wait, 5)
    assert dict(await pipeline.state("r")) == {}
    assert [entry.kind.value for entry in await pipeline.history("r")] == ["start", "error"]
    pipeline.shutdown()


async def test_retry_sees_each_attempts_timeout() -> None:
    tries: list[int] = []

    @stage(timeout=0.02)
    async def slow_once(ctx: Context) -> Context:
        tries.append(1)
        if len(tries) == 1:
            await asyncio.Event().wait()
        return ctx.set("done", True)

    pipeline = Pipeline(
        [slow_once], middleware=[RetryMiddleware(max_attempts=2, base_delay=0)], durable=True
    )
    assert (await pipeline.invoke({}, run_id="r"))["done"]
    assert (await pipeline.history("r"))[-1].tries == 2
