"""`stream_sync`: chunks for code without an event loop, whose thread does the run's ORM work."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import transaction

from fluxio import BaseCallback, Context, Parallel, RunStatus, Watchers, stage
from fluxio.errors import NoCheckpointError, StageTimeoutError
from fluxio.pipeline import Pipeline
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline

colour: ContextVar[str] = ContextVar("colour", default="none")


@stage(version="1")
async def numbers(ctx: Context) -> AsyncIterator[int]:
    for number in range(ctx.get("count", 3)):
        yield number


@stage(version="1")
async def endless(ctx: Context) -> AsyncIterator[int]:
    number = 0
    while True:
        yield number
        number += 1


@stage(version="1")
def place(ctx: Context) -> Context:
    return ctx.set("thread", threading.get_ident()).set("colour", colour.get())


def durable(*nodes: Any, database: str = "default") -> DjangoPipeline:
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=database))
    return made.bound_to(DjangoPipeline, name="tests", store=DjangoStore)


def plain(*nodes: Any) -> DjangoPipeline:
    return Pipeline(nodes).bound_to(DjangoPipeline, name="tests", store=DjangoStore)


def stage_of_groups(database: str) -> Any:
    @stage(version="1")
    async def groups(ctx: Context) -> AsyncIterator[str]:
        async for group in Group.objects.using(database).order_by("name"):
            yield group.name

    return groups


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    gc.collect()
    assert [thread for thread in threading.enumerate() if thread.name == "fluxio-stream"] == []


def ending_of(run_id: str, database: str = "default") -> RunStatus:
    return RunStatus(Run.objects.using(database).get(run_id=run_id).status)


def test_chunks_come_in_order_and_the_run_is_recorded(database: str) -> None:
    pipeline = durable(numbers, place, database=database)
    assert list(pipeline.stream_sync({"count": 40}, run_id="r")) == list(range(40))
    state = pipeline.state_sync("r")
    assert state["numbers_stream_result"] == list(range(40))
    assert ending_of("r", database) is RunStatus.SUCCEEDED


def test_plain_stages_run_on_the_readers_thread_with_its_context_variables() -> None:
    token = colour.set("green")
    try:
        shown: list[Context] = []

        @stage(version="1")
        def look(ctx: Context) -> Context:
            shown.append(ctx)
            return ctx

        assert list(plain(place, numbers, look).stream_sync({})) == [0, 1, 2]
    finally:
        colour.reset(token)
    assert shown[0]["thread"] == threading.get_ident()
    assert shown[0]["colour"] == "green"


def test_a_run_sees_and_shares_the_open_transaction_of_its_reader(database: str) -> None:
    pipeline = durable(stage_of_groups(database), database=database)
    with transaction.atomic(using=database):
        Group.objects.using(database).create(name="not committed")
        assert list(pipeline.stream_sync({}, run_id="r")) == ["not committed"]
        assert ending_of("r", database) is RunStatus.SUCCEEDED
        transaction.set_rollback(True, using=database)
    assert not Run.objects.using(database).exists()


def test_a_slow_reader_is_waited_for() -> None:
    produced: list[int] = []

    @stage(version="1")
    async def counting(ctx: Context) -> AsyncIterator[int]:
        for number in range(200):
            produced.append(number)
            yield number

    got: list[int] = []
    for chunk in plain(counting).stream_sync({}):
        got.append(chunk)
        assert len(produced) - len(got) <= 17
    assert got == list(range(200))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("leave", ["close", "break", "raise"])
def test_a_reader_that_leaves_cancels_the_run_and_can_go_on_with_it(leave: str) -> None:
    pipeline = durable(place, endless)

    def read() -> None:
        chunks = pipeline.stream_sync({}, run_id="r")
        for chunk in chunks:
            if chunk == 40 and leave == "raise":
                raise ValueError("reader")
            if chunk == 40:
                break
        if leave == "close":
            chunks.close()

    if leave == "raise":
        with pytest.raises(ValueError, match="reader"):
            read()
    else:
        read()
    assert ending_of("r") is RunStatus.CANCELLED
    assert Run.objects.get(run_id="r").owner == ""
    again = pipeline.stream_sync({}, run_id="r", resume=True)
    assert [next(again), next(again)] == [0, 1]
    again.close()


@pytest.mark.django_db(transaction=True)
def test_a_stage_that_fails_gives_what_it_yielded_and_then_its_error() -> None:
    stops = [True]

    @stage(version="1")
    async def failing(ctx: Context) -> AsyncIterator[int]:
        for number in range(40):
            yield number
        if stops:
            raise ValueError("cut")

    pipeline, got = durable(failing, place), list[int]()
    with pytest.raises(ValueError, match="cut"):
        got.extend(pipeline.stream_sync({}, run_id="r"))  # extends by each chunk as it comes
    assert got == list(range(40))
    assert ending_of("r") is RunStatus.FAILED
    stops.clear()
    assert list(pipeline.stream_sync({}, run_id="r", resume=True)) == list(range(40))
    assert list(pipeline.stream_sync({}, run_id="r", resume=True)) == []


@pytest.mark.django_db(transaction=True)
def test_what_cannot_begin_says_so() -> None:
    with pytest.raises(NoCheckpointError):
        next(durable(numbers).stream_sync({}, run_id="unknown", resume=True))


@pytest.mark.django_db(transaction=True)
def test_a_timeout_ends_a_stream_whose_buffer_is_full() -> None:
    timed_out = threading.Event()

    @stage(version="1", timeout=0.05)
    async def slow(ctx: Context) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            timed_out.set()

    chunks = durable(slow).stream_sync({}, run_id="r")
    next(chunks)
    assert timed_out.wait(10)
    with pytest.raises(StageTimeoutError):
        list(chunks)
    assert ending_of("r") is RunStatus.FAILED


@pytest.mark.timeout(30)
def test_a_stage_that_ignores_its_cancellation_waits_for_no_reader_that_is_gone() -> None:
    ended: list[bool] = []

    @stage(version="1")
    async def stubborn(ctx: Context) -> AsyncIterator[int]:
        yield 0
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        for number in range(100):
            yield number
        ended.append(True)

    chunks = plain(stubborn).stream_sync({})
    next(chunks)
    chunks.close()
    assert ended == [True]


def test_a_callback_that_hangs_or_raises_does_not_keep_chunks_back() -> None:
    class Hanging(BaseCallback):
        timeout = 0.05

        async def on_step_stream(self, event: Any) -> None:
            await asyncio.Event().wait()

    class Raising(BaseCallback):
        def on_step_stream(self, event: Any) -> None:
            raise ValueError("callback")

    watch = Watchers(callbacks=[Hanging(), Raising()])
    assert list(plain(numbers).stream_sync({"count": 40}, watch=watch)) == list(range(40))


def test_branches_stream_into_one_reader() -> None:
    pipeline = plain(Parallel([numbers, stage(name="other", version="1")(numbers.function)]))
    assert sorted(pipeline.stream_sync({})) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("branched", [False, True])
def test_an_interrupt_in_a_plain_stage_reaches_the_reader(branched: bool) -> None:
    @stage(version="1")
    def interrupted(ctx: Context) -> Context:
        raise KeyboardInterrupt

    node: Any = Parallel([interrupted, place]) if branched else interrupted
    got: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(plain(numbers, node).stream_sync({}))
    assert got == [0, 1, 2]


def test_a_plain_stage_may_enter_async_code_and_another_stream() -> None:
    async def double(number: int) -> int:
        return await sync_to_async(lambda: 2 * number)()

    @stage(version="1")
    def within(ctx: Context) -> Context:
        inner = list(plain(numbers, place).stream_sync({}))
        return ctx.set("doubled", [async_to_sync(double)(number) for number in inner])

    @stage(version="1")
    async def told(ctx: Context) -> AsyncIterator[int]:
        for number in ctx["doubled"]:
            yield number

    def outer() -> list[int]:
        return list(plain(within, told).stream_sync({}))

    assert outer() == [0, 2, 4]
    assert async_to_sync(sync_to_async(outer))() == [0, 2, 4]


async def test_code_that_is_async_is_told_to_use_the_coroutine() -> None:
    with pytest.raises(RuntimeError, match=r"use stream\(\)"):
        next(plain(numbers).stream_sync({}))


def test_nothing_runs_before_the_first_chunk_is_asked_for() -> None:
    begun: list[str] = []

    @stage(version="1")
    async def begins(ctx: Context) -> AsyncIterator[int]:
        begun.append("begun")
        yield 1

    chunks = plain(begins).stream_sync({})
    chunks.close()
    assert list(chunks) == begun == []


def test_readers_in_many_threads_get_each_their_own_chunks() -> None:
    pipeline, got = plain(numbers, place), dict[int, list[int]]()

    def read(count: int) -> Callable[[], None]:
        return lambda: got.__setitem__(count, list(pipeline.stream_sync({"count": count})))

    threads = [threading.Thread(target=read(count)) for count in range(20, 36)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == {count: list(range(count)) for count in range(20, 36)}
