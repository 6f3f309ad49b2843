"""A transactional stage commits together with its checkpoint, once or not at all (G3, G13)."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest

from fluxio import (
    BaseCallback,
    CheckpointStore,
    Context,
    ForkMode,
    InMemoryStore,
    MergeConflictError,
    Middleware,
    Parallel,
    Pipeline,
    RetryMiddleware,
    RetryPolicy,
    RunStatus,
    Send,
    Stage,
    StageTimeoutError,
    TransactionRefusedError,
    stage,
)
from fluxio.errors import EncodingError, LeaseLostError, StoreUnavailableError
from fluxio.events import CheckpointSaved, StepEnded
from fluxio.runtime.environment import Environment, SyncCaller
from fluxio.runtime.loopless import run_without_loop
from fluxio.store.base import Claim, Commit, RowKind
from fluxio.store.memory import MemoryJournal
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from fluxio.types import Next
from tests.core.stores.toy import TransactionalStore

Result = TypeVar("Result")


def booking(store: TransactionalStore, name: str = "book", **options: Any) -> Any:
    """A stage that writes a note with its checkpoint."""

    def book(ctx: Context) -> Context:
        store.ledger.write(name)
        return ctx.set(name, True)

    return stage(name=name, version="1", transactional=True, **options)(book)


def durable(store: CheckpointStore, *nodes: Any, **options: Any) -> Pipeline:
    return Pipeline(list(nodes), durable=True, checkpoint_store=store, name="p", **options)


async def steps(pipeline: Pipeline) -> list[str]:
    return [entry.step for entry in await pipeline.history("r") if entry.kind is RowKind.STEP]


@stage(version="1")
async def last(ctx: Context) -> Context:
    return ctx.set("last", True)


async def test_the_note_and_the_checkpoint_are_kept_together() -> None:
    store = TransactionalStore()
    pipeline = durable(store, booking(store), last)
    assert set(await pipeline.invoke({}, run_id="r")) == {"book", "last"}
    assert store.ledger.kept == ["book"]
    assert await steps(pipeline) == ["book", "last"]


async def test_a_run_that_ends_with_a_transaction_is_finished_by_it() -> None:
    store = TransactionalStore()
    pipeline = durable(store, booking(store))
    await pipeline.invoke({}, run_id="r")
    record = await store.journal().run("r")
    assert record is not None
    assert record.status is RunStatus.SUCCEEDED
    assert record.head == 1


@pytest.mark.parametrize("mode", [ForkMode.PARALLEL, ForkMode.FIRE_FORGET, None])
async def test_a_store_that_is_away_during_a_transaction_fails_no_run(
    mode: ForkMode | None,
) -> None:
    """The run stays as it was recorded; whoever has it next goes on at the same step."""
    inner = TransactionalStore()
    store = FaultyStore(inner, Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.TRANSACTION))
    book = booking(inner)
    nodes = [last, book if mode is None else Parallel([book, [last]], mode=mode)]
    pipeline = durable(store, *nodes)
    with pytest.raises(StoreUnavailableError):
        await pipeline.invoke({}, run_id="r")
    record = await inner.journal().run("r")
    assert record is not None
    assert (record.status, record.error) == (RunStatus.RUNNING, "")
    assert all(row.kind is not RowKind.ERROR for row in await inner.journal().rows("r"))
    await pipeline.invoke({}, run_id="r", resume=True)
    assert inner.ledger.kept == ["book"]


async def stubborn(stage: Stage, ctx: Context, call_next: Next) -> Context | Send:
    """A middleware of a user's own that tries three times, whatever went wrong."""
    for _ in range(2):
        with suppress(Exception):
            return await call_next(ctx)
    return await call_next(ctx)


@pytest.mark.parametrize(
    "again", [stubborn, RetryMiddleware(base_delay=0)], ids=["stubborn", "retry"]
)
async def test_a_transaction_that_may_have_been_committed_is_not_tried_again(again: Any) -> None:
    inner = TransactionalStore()
    store = FaultyStore(
        inner,
        Fault(mode=FaultMode.UNANSWERED, operation=Operation.TRANSACTION),
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.ROWS, forever=True),
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.RUN, forever=True),
    )
    pipeline = durable(store, booking(inner), last, middleware=[again])
    with pytest.raises(StoreUnavailableError):
        await pipeline.invoke({}, run_id="r")
    assert store.calls.count(Operation.TRANSACTION) == 1
    store.heal()
    record = await inner.journal().run("r")
    assert record is not None
    assert record.status is RunStatus.RUNNING
    assert set(await pipeline.invoke({}, run_id="r", resume=True)) == {"book", "last"}
    assert inner.ledger.kept == ["book"]


async def test_transactional_branches_take_turns_and_each_is_recorded_once() -> None:
    store = TransactionalStore()
    pipeline = durable(
        store, Parallel([booking(store, "a"), booking(store, "b"), booking(store, "c"), last])
    )
    assert set(await pipeline.invoke({}, run_id="r")) == {"a", "b", "c", "last"}
    assert sorted(store.ledger.kept) == ["a", "b", "c"]
    assert sorted(step.rpartition("/")[2] for step in await steps(pipeline)) == [
        "a",
        "b",
        "c",
        "last",
    ]


async def test_its_checkpoint_is_told_before_its_end_and_once() -> None:
    heard: list[str] = []

    class Ear(BaseCallback):
        async def on_checkpoint(self, event: CheckpointSaved) -> None:
            heard.append(f"saved {event.step}")

        async def on_step_end(self, event: StepEnded) -> None:
            heard.append(f"ended {event.step} {sorted(event.context)}")

    store = TransactionalStore()
    await durable(store, booking(store), last, callbacks=[Ear()]).invoke({})
    assert heard == [
        "saved book",
        "ended book ['book']",
        "saved last",
        "ended last ['book', 'last']",
    ]


async def test_a_retry_makes_a_new_attempt_and_keeps_one() -> None:
    store, tries = TransactionalStore(), list[int]()

    @stage(transactional=True)
    def flaky(ctx: Context) -> Context:
        tries.append(1)
        store.ledger.write("try")
        if len(tries) < 3:
            raise ValueError("not yet")
        return ctx.set("done", True)

    retry = RetryMiddleware(max_attempts=3, base_delay=0)
    pipeline = durable(store, flaky, middleware=[retry])
    await pipeline.invoke({}, run_id="r")
    assert store.ledger.kept == ["try"]
    assert (await pipeline.history("r"))[-1].tries == 3


async def test_what_is_raised_after_the_commit_changes_nothing() -> None:
    store = TransactionalStore()

    async def spoil(stage: Any, context: Context, call_next: Any) -> Any:
        await call_next(context)
        raise ValueError("too late")

    pipeline = durable(store, booking(store), last, middleware=[spoil])
    with pytest.raises(ValueError, match="too late"):
        await pipeline.invoke({}, run_id="r")
    # The stage that is not transactional failed; the other one counts.
    assert await steps(pipeline) == ["book"]
    assert store.ledger.kept == ["book"]


async def test_asking_again_after_the_commit_gives_the_result_and_runs_nothing() -> None:
    store = TransactionalStore()

    async def twice(stage: Any, context: Context, call_next: Any) -> Any:
        await call_next(context)
        return await call_next(context)

    pipeline = durable(store, booking(store, "a"), booking(store, "b"), middleware=[twice])
    assert dict(await pipeline.invoke({}, run_id="r")) == {"a": True, "b": True}
    assert store.ledger.kept == ["a", "b"]
    assert [entry.tries for entry in await pipeline.history("r")] == [0, 1, 1]


async def test_a_value_that_cannot_be_stored_rolls_the_note_back() -> None:
    store = TransactionalStore()

    @stage(transactional=True)
    def careless(ctx: Context) -> Context:
        store.ledger.write("lost")
        return ctx.set("x", object())

    pipeline = durable(store, careless)
    with pytest.raises(EncodingError, match="x"):
        await pipeline.invoke({}, run_id="r")
    assert store.ledger.kept == []
    assert await steps(pipeline) == []


async def test_a_lost_lease_rolls_the_note_back() -> None:
    store = TransactionalStore()
    lost = Fault(mode=FaultMode.LEASE_LOST, operation=Operation.TRANSACTION)
    pipeline = durable(FaultyStore(store, lost), booking(store))
    with pytest.raises(LeaseLostError):
        await pipeline.invoke({}, run_id="r")
    assert store.ledger.kept == []


@pytest.mark.parametrize("store", [InMemoryStore(), None])
async def test_without_a_store_that_has_transactions_the_stage_is_refused(
    store: CheckpointStore | None,
) -> None:
    made = booking(TransactionalStore())
    pipeline = Pipeline([made], durable=store is not None, checkpoint_store=store)
    with pytest.raises(TransactionRefusedError, match="'book' is transactional"):
        await pipeline.invoke({})


async def test_a_conflict_of_transactional_branches_is_found() -> None:
    store = TransactionalStore()

    def branch(name: str) -> Any:
        def book(ctx: Context) -> Context:
            store.ledger.write(name)
            return ctx.set("same", name)

        return stage(name=name, version="1", transactional=True)(book)

    pipeline = durable(store, Parallel([branch("a"), branch("b")]), last)
    with pytest.raises(MergeConflictError, match="same"):
        await pipeline.invoke({}, run_id="r")
    assert sorted(store.ledger.kept) == ["a", "b"]
    with pytest.raises(MergeConflictError, match="same"):
        await pipeline.invoke({}, run_id="r", resume=True)
    assert sorted(store.ledger.kept) == ["a", "b"]
    errors = [it for it in await pipeline.history("r") if it.kind is RowKind.ERROR]
    assert {(it.tries, it.duration) for it in errors} == {(0, 0.0)}


async def test_a_failing_sibling_does_not_undo_what_was_committed() -> None:
    store, booked = TransactionalStore(), threading.Event()

    @stage(transactional=True, version="1")
    def book(ctx: Context) -> Context:
        store.ledger.write("book")
        return ctx.set("book", True)

    async def tell(stage: Any, context: Context, call_next: Any) -> Any:
        result = await call_next(context)
        if stage.name == "book":
            booked.set()
            await asyncio.Event().wait()  # committed, and cancelled by its sibling's failure
        return result

    failing = True

    @stage(version="1")
    async def fail(ctx: Context) -> Context:
        await asyncio.to_thread(booked.wait)
        if failing:
            raise ValueError("sibling")
        return ctx

    pipeline = durable(store, Parallel([book, fail]), last, middleware=[tell])
    with pytest.raises(ValueError, match="sibling"):
        await pipeline.invoke({}, run_id="r")
    failing = False
    assert set(await pipeline.invoke({}, run_id="r", resume=True)) == {"book", "last"}
    assert store.ledger.kept == ["book"]


async def test_a_background_branch_may_be_transactional() -> None:
    store = TransactionalStore()
    branch = Parallel([[booking(store, "a"), booking(store, "b")]], mode=ForkMode.FIRE_FORGET)
    pipeline = durable(store, branch, last)
    await pipeline.invoke({}, run_id="r")
    assert store.ledger.kept == ["a", "b"]


# --- timeouts and cancellation


class GatedJournal(MemoryJournal):
    """Holds a commit back until the gate opens."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def commit(self, claim: Claim, commit: Commit) -> None:
        if commit.rows and commit.rows[-1].kind is RowKind.STEP:
            self.reached.set()
            await self.gate.wait()
        await super().commit(claim, commit)


class GatedStore(TransactionalStore):
    """Its transactions stand still between their work and their commit."""

    def __init__(self) -> None:
        super().__init__()
        self.gated = GatedJournal()
        transactions = self._journal.transactions
        self._journal = self.gated
        transactions._journal = self.gated  # type: ignore[attr-defined]
        self._journal.transactions = transactions


async def test_a_cancellation_during_the_commit_waits_for_it() -> None:
    store = GatedStore()
    pipeline = durable(store, booking(store), last)
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await store.gated.reached.wait()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    store.gated.gate.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert store.ledger.kept == ["book"]
    assert await steps(pipeline) == ["book"]
    await pipeline.invoke({}, run_id="r", resume=True)
    assert store.ledger.kept == ["book"]


async def test_a_timeout_during_the_commit_comes_too_late() -> None:
    store = GatedStore()
    pipeline = durable(store, booking(store, timeout=0.02), last)
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await store.gated.reached.wait()
    asyncio.get_running_loop().call_later(0.1, store.gated.gate.set)
    assert set(await task) == {"book", "last"}
    assert store.ledger.kept == ["book"]


async def test_a_transaction_that_is_cancelled_from_within_is_the_failure_of_its_stage() -> None:
    class Cancelling(BlockingTransactions):
        async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
            work()
            raise asyncio.CancelledError

    store = TransactionalStore()
    store._journal.transactions = Cancelling(store)  # type: ignore[assignment]
    pipeline = durable(store, booking(store))
    with pytest.raises(RuntimeError, match="nobody cancelled its run"):
        await pipeline.invoke({}, run_id="r")
    assert store.ledger.kept == []
    assert await steps(pipeline) == []
    record = await store.journal().run("r")
    assert record is not None
    assert (record.status, record.owner) == (RunStatus.FAILED, None)


@pytest.mark.parametrize("how", ["timeout", "cancellation"])
async def test_an_attempt_that_was_given_up_can_never_commit(how: str) -> None:
    store = TransactionalStore()
    started, release, ended = asyncio.Event(), threading.Event(), threading.Event()
    loop, complaints = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    @stage(transactional=True, timeout=0.05 if how == "timeout" else None)
    def late(ctx: Context) -> Context:
        loop.call_soon_threadsafe(started.set)
        release.wait(5)
        store.ledger.write("late")
        ended.set()
        return ctx.set("late", True)

    pipeline = durable(store, late)
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await started.wait()
    if how == "cancellation":
        task.cancel()
    await asyncio.wait({task})
    if how == "timeout":
        assert isinstance(task.exception(), StageTimeoutError)
    else:
        assert task.cancelled()
    release.set()
    await asyncio.to_thread(ended.wait, 5)
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.ledger.kept == []
    assert await steps(pipeline) == []
    pipeline.shutdown()
    del task
    gc.collect()
    assert complaints == []  # nobody waits for what the attempt raised in the end


async def test_an_attempt_that_was_given_up_commits_nothing_while_the_next_one_runs() -> None:
    store, loop = TransactionalStore(), asyncio.get_running_loop()
    next_began, ended, tries = threading.Event(), threading.Event(), list[int]()

    async def pause() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    @stage(transactional=True, version="1", timeout=0.2, retry=RetryPolicy(base_delay=0))
    def late(ctx: Context) -> Context:
        tries.append(number := len(tries) + 1)
        if number == 1:
            next_began.wait(5)
            ended.set()
        else:
            next_began.set()
            ended.wait(5)
            # Time enough for the first one to commit, if it could.
            asyncio.run_coroutine_threadsafe(pause(), loop).result(5)
        return ctx.set("try", number)

    pipeline = durable(store, late, last)
    final = await pipeline.invoke({}, run_id="r")
    assert final["try"] == tries[-1] > 1
    assert await steps(pipeline) == ["late", "last"]
    assert (await pipeline.history("r"))[1].tries == tries[-1]


# --- without an event loop


class Inline:
    """Calls plain functions on the spot, as a store that blocks lets one do."""

    async def call(self, function: Callable[..., Result], /, *args: Any) -> Result:
        return function(*args)

    def close(self) -> None:
        pass


def _inline(_: int | None) -> SyncCaller:
    return Inline()


class BlockingTransactions:
    """Transactions on the calling thread."""

    def __init__(self, store: TransactionalStore) -> None:
        self.store = store

    def check(self, stage: str) -> None:
        pass

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        self.store.ledger.pending = []
        result, commit = work()
        await self.store.journal().commit(claim, commit)
        self.store.ledger.kept += self.store.ledger.pending
        return result


inline = pytest.mark.parametrize(
    "core_environment", [Environment(make_caller=_inline)], indirect=True
)


@inline
def test_transactions_need_no_event_loop() -> None:
    store = TransactionalStore()
    store._journal.transactions = BlockingTransactions(store)  # type: ignore[assignment]
    returned: list[dict[str, Any]] = []

    class Note(Middleware):
        """Sees what a stage returned."""

        async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
            result = await next(ctx)
            returned.append(dict(result.items()) if isinstance(result, Context) else {})
            return result

    branches = Parallel([booking(store, "b")])
    pipeline = durable(store, booking(store, "a"), branches, middleware=[Note()])
    final = run_without_loop(pipeline.invoke({}, run_id="r"))
    assert dict(final) == {"a": True, "b": True}
    assert returned == [{"a": True}, {"a": True, "b": True}]
    assert store.ledger.kept == ["a", "b"]


def plain(name: str, done: list[str], failing: set[str]) -> Any:
    def body(ctx: Context) -> Context:
        done.append(name)
        if name in failing:
            raise ValueError(name)
        return ctx.set(name, True)

    return stage(name=name, version="1")(body)


@inline
@pytest.mark.parametrize("store", [True, False])
def test_plain_pipelines_run_without_a_loop_and_background_branches_come_last(store: bool) -> None:
    done = list[str]()
    nodes = [
        plain("a", done, set()),
        Parallel([[plain("x", done, set()), plain("y", done, set())]], mode=ForkMode.FIRE_FORGET),
        Parallel([plain("b", done, set()), plain("c", done, set())]),
        plain("d", done, set()),
    ]
    pipeline = Pipeline(nodes, durable=store, checkpoint_store=InMemoryStore() if store else None)
    assert set(run_without_loop(pipeline.invoke({}))) == {"a", "b", "c", "d"}
    assert done == ["a", "b", "c", "d", "x", "y"]


@inline
def test_without_a_loop_a_failure_ends_the_run_after_its_background_branches() -> None:
    done, failing = list[str](), {"b"}
    pipeline = durable(
        InMemoryStore(),
        Parallel([[plain("x", done, failing), plain("y", done, failing)]], mode="fire_forget"),
        Parallel([plain("b", done, failing), plain("c", done, failing)]),
        plain("d", done, failing),
    )
    with pytest.raises(ValueError, match="b"):
        run_without_loop(pipeline.invoke({}, run_id="r"))
    assert done == ["b", "x", "y"]
    failing.clear()
    run_without_loop(pipeline.invoke({}, run_id="r", resume=True))
    assert done == ["b", "x", "y", "b", "c", "d"]


@inline
def test_without_a_loop_a_failing_background_branch_takes_its_waiting_calls_along() -> None:
    done, failing = list[str](), {"x"}
    inner = Parallel([plain("x", done, failing), plain("z", done, failing)])
    pipeline = durable(
        InMemoryStore(),
        Parallel([[inner], [plain("w", done, failing)]], mode="fire_forget"),
        plain("a", done, failing),
    )
    assert set(run_without_loop(pipeline.invoke({}, run_id="r"))) == {"a"}
    assert done == ["a", "w", "x"]


@inline
def test_a_pipeline_that_waits_says_that_it_needs_a_loop() -> None:
    @stage
    async def waits(ctx: Context) -> Context:
        await asyncio.sleep(0)
        return ctx

    with pytest.raises(RuntimeError, match="needs an event loop"):
        run_without_loop(Pipeline([waits]).invoke({}))
