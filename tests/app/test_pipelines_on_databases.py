"""Whole pipelines over DjangoStore, on each database: the same promises, and transactions."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from fluxio import (
    Context,
    ForkMode,
    Parallel,
    RetryMiddleware,
    RunIDInUseError,
    Send,
    StageTimeoutError,
    TransactionRefusedError,
    stage,
)
from fluxio.pipeline import Pipeline
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline


def pipeline(database: str, nodes: list[Any], **options: Any) -> DjangoPipeline:
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=database), **options)
    return made.bound_to(DjangoPipeline, name="tests", store=lambda: DjangoStore(using=database))


class Ledger:
    """A transactional stage that books one row, and can be told to misbehave."""

    def __init__(self, database: str, name: str = "book") -> None:
        self.database, self.name = database, name
        self.calls = 0
        self.fails_times = 0

    def stage(self, **options: Any) -> Any:
        def book(ctx: Context) -> Context:
            self.calls += 1
            Group.objects.using(self.database).create(name=f"{self.name}-{self.calls}")
            if self.calls <= self.fails_times:
                raise ValueError("after the write")
            return ctx.set(self.name, self.calls)

        return stage(name=self.name, transactional=True, version="1", **options)(book)

    def rows(self) -> list[str]:
        found = Group.objects.using(self.database).filter(name__startswith=self.name)
        return sorted(found.values_list("name", flat=True))


@stage(version="1")
async def first(ctx: Context) -> Context:
    return ctx.set("first", 1)


@stage(version="1")
def second(ctx: Context) -> Context:
    return ctx.set("second", 2)


@stage(version="1")
async def pick(ctx: Context) -> Send:
    return Send("left")


def test_a_pipeline_runs_is_recorded_and_gives_its_result_again(database: str) -> None:
    p = pipeline(database, [first, Parallel([second]), pick, {"left": stage(name="z")(first)}])
    final = p.invoke_sync({"start": 1}, run_id="r")
    assert dict(final) == {"start": 1, "first": 1, "second": 2}
    run = Run.objects.using(database).get(run_id="r")
    assert (run.status, run.pipeline, run.owner, run.lease_expires_at) == (
        "succeeded",
        "tests",
        "",
        None,
    )
    assert run.finished_at is not None
    steps = Checkpoint.objects.using(database).filter(run=run).order_by("sequence")
    assert list(steps.values_list("step", flat=True)) == [
        "",
        "first",
        "parallel/second",
        "pick",
        "pick/left/z",
    ]
    assert p.resume_sync("r") == final


def test_a_transactional_stage_commits_its_writes_with_its_checkpoint(database: str) -> None:
    ledger = Ledger(database)
    final = pipeline(database, [first, ledger.stage(), second]).invoke_sync({}, run_id="r")
    assert dict(final) == {"first": 1, "book": 1, "second": 2}
    assert ledger.rows() == ["book-1"]


def test_a_failing_transactional_stage_leaves_nothing_and_can_be_resumed(database: str) -> None:
    ledger = Ledger(database)
    ledger.fails_times = 1
    p = pipeline(database, [first, ledger.stage(), second])
    with pytest.raises(ValueError, match="after the write"):
        p.invoke_sync({}, run_id="r")
    assert ledger.rows() == []
    assert Run.objects.using(database).get(run_id="r").status == "failed"
    p.resume_sync("r")
    assert ledger.rows() == ["book-2"]


def test_each_retry_of_a_transactional_stage_is_a_transaction_of_its_own(database: str) -> None:
    ledger = Ledger(database)
    ledger.fails_times = 2
    retry = RetryMiddleware(max_attempts=3, base_delay=0)
    p = pipeline(database, [ledger.stage()], middleware=[retry])
    assert p.invoke_sync({}, run_id="r")["book"] == 3
    assert ledger.rows() == ["book-3"]
    assert p.history_sync("r")[-1].tries == 3


def test_what_a_transactional_stage_returned_cannot_be_changed_behind_its_commit(
    database: str,
) -> None:
    async def meddling(stage: Any, ctx: Context, next: Any) -> Any:
        result = await next(ctx)
        return result.set("book", "changed")

    ledger = Ledger(database)
    final = pipeline(database, [ledger.stage()], middleware=[meddling]).invoke_sync({}, run_id="r")
    assert final["book"] == 1


def test_an_error_raised_behind_a_commit_does_not_undo_or_repeat_it(database: str) -> None:
    async def failing(stage: Any, ctx: Context, next: Any) -> Any:
        await next(ctx)
        raise ValueError("too late")

    ledger = Ledger(database)
    middleware = [RetryMiddleware(max_attempts=3, base_delay=0), failing]
    final = pipeline(database, [ledger.stage()], middleware=middleware).invoke_sync({}, run_id="r")
    assert final["book"] == 1
    assert ledger.rows() == ["book-1"]


@pytest.mark.parametrize("kind", [ValueError, IntegrityError])
def test_what_fails_behind_the_commit_of_a_stage_does_not_undo_or_repeat_it(
    database: str, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def hook() -> None:
        raise kind("in a hook")

    def book(ctx: Context) -> Context:
        Group.objects.using(database).create(name=f"book-{ctx.get('tries', 1)}")
        transaction.on_commit(hook, using=database)
        return ctx.set("booked", True)

    retry = RetryMiddleware(max_attempts=3, base_delay=0)
    booking = stage(transactional=True, version="1")(book)
    p = pipeline(database, [booking, second], middleware=[retry])
    assert dict(p.invoke_sync({}, run_id="r")) == {"booked": True, "second": 2}
    assert Group.objects.using(database).count() == 1
    assert Run.objects.using(database).get(run_id="r").status == "succeeded"
    assert "An on_commit function of a stage of run r failed" in caplog.text


def test_a_stage_that_swallows_a_database_error_is_told_how_to_do_that(database: str) -> None:
    careful = []

    def book(ctx: Context) -> Context:
        groups = Group.objects.using(database)
        groups.create(name="book")
        with suppress(IntegrityError), transaction.atomic(database) if careful else nullcontext():
            groups.create(name="book")
        return ctx.set("booked", True)

    p = pipeline(database, [stage(transactional=True, version="1")(book)])
    with pytest.raises(TransactionRefusedError, match=r"an atomic\(\) of its own"):
        p.invoke_sync({}, run_id="r")
    assert not Group.objects.using(database).exists()
    careful.append(True)
    assert p.resume_sync("r")["booked"] is True


def test_transactional_stages_in_branches_keep_their_place_in_the_log(database: str) -> None:
    one, two = Ledger(database, "one"), Ledger(database, "two")
    branches = [[one.stage(), first], two.stage(), second]
    p = pipeline(database, [Parallel(branches), stage(name="last", version="1")(second)])
    final = p.invoke_sync({}, run_id="r")
    assert dict(final) == {"one": 1, "first": 1, "two": 1, "second": 2}
    history = p.history_sync("r")
    assert [entry.sequence for entry in history] == list(range(6))
    assert p.state_sync("r") == final
    assert Run.objects.using(database).get(run_id="r").status == "succeeded"


def test_a_run_may_end_with_a_transactional_stage_in_a_branch(database: str) -> None:
    one, two = Ledger(database, "one"), Ledger(database, "two")
    p = pipeline(database, [Parallel([one.stage(), two.stage()])])
    assert dict(p.invoke_sync({}, run_id="r")) == {"one": 1, "two": 1}
    run = Run.objects.using(database).get(run_id="r")
    assert (run.status, run.head) == ("succeeded", 2)
    assert dict(p.resume_sync("r")) == {"one": 1, "two": 1}


def test_a_transactional_stage_that_timed_out_never_commits(database: str) -> None:
    ledger, release = Ledger(database), threading.Event()

    def late(ctx: Context) -> Context:
        Group.objects.using(database).create(name="book-late")
        release.wait(0.2)
        return ctx

    slow = stage(name="late", transactional=True, timeout=0.05, version="1")(late)
    p = pipeline(database, [first, slow])
    with pytest.raises(StageTimeoutError):
        p.invoke_sync({}, run_id="r")
    assert ledger.rows() == []
    assert [entry.kind.value for entry in p.history_sync("r")] == ["start", "step", "error"]


def test_an_enclosing_transaction_is_refused_with_the_remedy(database: str) -> None:
    ledger = Ledger(database)
    p = pipeline(database, [ledger.stage()])
    with (
        pytest.raises(TransactionRefusedError, match="outside of atomic"),
        transaction.atomic(using=database),
    ):
        p.invoke_sync({}, run_id="r")
    assert ledger.calls == 0


async def test_a_transactional_stage_needs_a_store_that_shares_its_database() -> None:
    calls: list[int] = []

    @stage(transactional=True)
    def book(ctx: Context) -> Context:
        calls.append(1)
        return ctx

    for options in ({}, {"durable": True}):
        with pytest.raises(TransactionRefusedError, match="DjangoStore"):
            await Pipeline([book], **options).invoke({})
    assert calls == []


def test_an_id_is_executed_once_at_a_time(database: str) -> None:
    started, release = threading.Event(), threading.Event()

    @stage(version="1")
    def hold(ctx: Context) -> Context:
        started.set()
        release.wait(10)
        return ctx

    p = pipeline(database, [hold])
    failures: list[BaseException] = []

    def execute() -> None:
        from django.db import connections

        try:
            p.invoke_sync({}, run_id="r")
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=execute)
    thread.start()
    assert started.wait(10)
    with pytest.raises(RunIDInUseError) as caught:
        p.resume_sync("r")
    release.set()
    thread.join(10)
    assert failures == []
    assert caught.value.owner
    assert caught.value.lease_expires_at is not None


def test_fork_replay_and_diff_work_on_rows(database: str) -> None:
    p = pipeline(database, [first, second, pick, {"left": stage(name="z", version="1")(first)}])
    p.invoke_sync({"x": 1}, run_id="r")
    before = list(Checkpoint.objects.using(database).filter(run__run_id="r").values())
    forked = p.fork_sync("r", from_step="second", patch={"x": 2}, as_run_id="copy")
    assert list(Checkpoint.objects.using(database).filter(run__run_id="r").values()) == before
    assert dict(p.diff_sync("r", "copy")) == {"x": {"a": 1, "b": 2}}
    assert forked["second"] == 2
    p.replay_sync("r", from_step="second")
    after = list(Checkpoint.objects.using(database).filter(run__run_id="r").values())
    assert after[: len(before)] == before
    assert len(after) == len(before) + 4
    copy = Run.objects.using(database).get(run_id="copy")
    assert (copy.parent, copy.parent_sequence) == ("r", 1)


def test_a_cancelled_run_is_freed_and_goes_on(database: str) -> None:
    from asgiref.sync import async_to_sync

    @stage(version="1")
    async def wait(ctx: Context) -> Context:
        if not ctx.get("go"):
            entered.set()
            await asyncio.Event().wait()
        return ctx

    entered = threading.Event()
    p = pipeline(database, [first, wait])

    async def cancel_in_the_middle() -> None:
        task = asyncio.ensure_future(p.invoke({}, run_id="r"))
        while not entered.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(cancel_in_the_middle)()
    run = Run.objects.using(database).get(run_id="r")
    assert (run.status, run.owner) == (RunStatus.CANCELLED, "")
    assert p.fork_sync("r", patch={"go": True})["first"] == 1


def test_a_background_branch_is_recorded_beside_the_run(database: str) -> None:
    ledger = Ledger(database)
    nodes = [Parallel([[ledger.stage(), second]], mode=ForkMode.FIRE_FORGET), first]
    p = pipeline(database, nodes)
    assert dict(p.invoke_sync({}, run_id="r")) == {"first": 1}
    assert ledger.rows() == ["book-1"]
    assert {entry.step for entry in p.history_sync("r") if entry.background} == {
        "parallel/book",
        "parallel/second",
    }


@pytest.mark.django_db
async def test_async_code_sees_the_transaction_of_its_test() -> None:
    await Group.objects.acreate(name="seen")

    @stage(version="1")
    def look(ctx: Context) -> Context:
        return ctx.set("seen", Group.objects.filter(name="seen").exists())

    p = pipeline("default", [look])
    assert (await p.invoke({}, run_id="r"))["seen"] is True
    assert await Run.objects.filter(run_id="r").aexists()
