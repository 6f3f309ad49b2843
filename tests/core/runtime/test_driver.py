"""What an execution does when several things happen at once, or at the wrong moment."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fluxio import (
    BaseCallback,
    Checkpoint,
    CheckpointStore,
    Context,
    EncodingError,
    ForkMode,
    InMemoryStore,
    MergeConflictError,
    Parallel,
    Pipeline,
    RunStatus,
    Send,
    stage,
)
from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    StepFailed,
)
from fluxio.runtime.runs import Watchers
from fluxio.runtime.step import current_step
from fluxio.store.base import RowKind
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from tests.core.stores.toy import ToyStore


class Workshop:
    """Makes stages that note their executions, wait some ticks, and fail while told to."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.failing: set[str] = set()
        self.cancelled: list[str] = []

    def make(self, name: str, answer: Any = None, ticks: int = 1) -> Any:
        async def body(ctx: Context) -> Any:
            self.executed.append(name)
            try:
                for _ in range(ticks):
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            if name in self.failing:
                raise ValueError(name)
            return ctx.set(name, True) if answer is None else answer

        return stage(name=name, version="1")(body)

    def same(self, name: str) -> Any:
        """A stage that writes the key that others write, too."""

        async def body(ctx: Context) -> Context:
            self.executed.append(name)
            return ctx.set("same", name)

        return stage(name=name, version="1")(body)


@pytest.fixture
def shop() -> Workshop:
    return Workshop()


@pytest.fixture(params=[InMemoryStore, ToyStore, None])
def store(request: pytest.FixtureRequest) -> CheckpointStore | None:
    return request.param and request.param()  # type: ignore[no-any-return]


def pipeline_of(store: CheckpointStore | None, *nodes: Any, **options: Any) -> Pipeline:
    return Pipeline(
        list(nodes), durable=store is not None, checkpoint_store=store, name="p", **options
    )


def background(*branches: Any) -> Parallel:
    return Parallel(list(branches), mode=ForkMode.FIRE_FORGET)


async def record_of(store: InMemoryStore, run_id: str = "r") -> Any:
    return await store.journal().run(run_id)


# --- background branches


@pytest.mark.parametrize("failing", [{"x"}, {"y"}, {"x", "y"}])
@pytest.mark.parametrize("ticks", [(1, 1), (1, 4), (4, 1)])
async def test_a_background_branch_that_fails_inside_takes_all_of_itself_along_and_nothing_else(
    shop: Workshop, store: CheckpointStore | None, failing: set[str], ticks: tuple[int, int]
) -> None:
    inner = Parallel([shop.make("x", ticks=ticks[0]), shop.make("y", ticks=ticks[1])])
    pipeline = pipeline_of(
        store,
        background([inner, shop.make("never")], shop.make("other", ticks=9)),
        shop.make("a", ticks=6),
        shop.make("b", ticks=2),
    )
    shop.failing = failing
    assert set(await pipeline.invoke({}, run_id="r")) == {"a", "b"}
    assert "never" not in shop.executed
    assert shop.cancelled in ([], ["x"], ["y"])
    assert shop.executed.count("other") == 1


async def test_calls_that_are_in_flight_when_their_background_branch_fails_are_cancelled(
    shop: Workshop, store: CheckpointStore | None, caplog: pytest.LogCaptureFixture
) -> None:
    inner = Parallel([shop.make("x"), shop.make("slow", ticks=100)])
    pipeline = pipeline_of(store, background(inner), shop.make("a", ticks=10))
    shop.failing = {"x"}
    before = asyncio.all_tasks()
    await pipeline.invoke({}, run_id="r")
    assert shop.cancelled == ["slow"]
    assert asyncio.all_tasks() == before
    [told] = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert "parallel/parallel/x of run r failed in the background" in told.getMessage()


async def test_what_a_failed_background_branch_would_have_run_next_does_not_start(
    shop: Workshop, store: CheckpointStore | None
) -> None:
    # Both end in one tick: what the first opened is dropped with the failure of the second.
    inner = Parallel([[shop.make("x"), shop.make("next")], shop.make("y")])
    pipeline = pipeline_of(store, background(inner), shop.make("a", ticks=5))
    shop.failing = {"y"}
    await pipeline.invoke({}, run_id="r")
    assert "next" not in shop.executed


async def test_a_conflict_in_the_background_closes_the_branch_only(
    shop: Workshop, store: CheckpointStore | None
) -> None:
    inner = Parallel([shop.same("x"), shop.same("y")])
    pipeline = pipeline_of(store, background([inner, shop.make("never")]), shop.make("a", ticks=5))
    assert set(await pipeline.invoke({}, run_id="r")) == {"a"}
    assert "never" not in shop.executed


async def test_background_branches_go_on_to_their_end_after_the_run_has_failed(
    shop: Workshop, store: CheckpointStore | None
) -> None:
    pipeline = pipeline_of(
        store,
        background([shop.make("x", ticks=3), shop.make("y")]),
        Parallel([shop.make("fails"), shop.make("slow", ticks=50)]),
        shop.make("never"),
    )
    shop.failing = {"fails"}
    with pytest.raises(ValueError, match="fails"):
        await pipeline.invoke({}, run_id="r")
    assert shop.executed.count("y") == 1
    assert shop.cancelled == ["slow"]
    assert "never" not in shop.executed


# --- failures in the foreground


async def test_of_two_branches_that_fail_at_once_the_first_is_told_and_both_are_run_again(
    shop: Workshop, store: CheckpointStore | None
) -> None:
    pipeline = pipeline_of(store, Parallel([shop.make("x"), shop.make("y")]), shop.make("b"))
    shop.failing = {"x", "y"}
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r")
    assert "b" not in shop.executed


async def test_a_failure_is_noticed_however_far_its_siblings_are(
    shop: Workshop, store: CheckpointStore | None
) -> None:
    pipeline = pipeline_of(
        store, Parallel([[shop.make("a"), shop.make("slow", ticks=200)], shop.make("x", ticks=20)])
    )
    shop.failing = {"x"}
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r")
    assert shop.cancelled == ["slow"]


async def test_a_sibling_that_ends_although_it_is_cancelled_counts(shop: Workshop) -> None:
    @stage(version="1")
    async def stubborn(ctx: Context) -> Context:
        shop.executed.append("stubborn")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ctx.set("stubborn", True)
        raise AssertionError("nobody sets it")

    store = InMemoryStore()
    pipeline = pipeline_of(store, Parallel([stubborn, shop.make("x")]))
    shop.failing = {"x"}
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r")
    shop.failing = set()
    assert set(await pipeline.invoke({}, run_id="r", resume=True)) == {"stubborn", "x"}
    assert shop.executed.count("stubborn") == 1


async def test_a_branch_whose_values_cannot_be_stored_fails_like_one_that_raised(
    shop: Workshop,
) -> None:
    @stage(version="1")
    async def odd(ctx: Context) -> Context:
        return ctx.set("odd", object())

    store = InMemoryStore()
    pipeline = pipeline_of(store, Parallel([odd, shop.make("slow", ticks=50)]))
    with pytest.raises(EncodingError, match="odd"):
        await pipeline.invoke({}, run_id="r")
    assert shop.cancelled == ["slow"]
    [entry] = [entry for entry in await pipeline.history("r") if entry.kind is RowKind.ERROR]
    assert (entry.step, entry.tries) == ("parallel/odd", 1)


async def test_the_record_of_a_failed_run_says_where_and_why(shop: Workshop) -> None:
    store = InMemoryStore()
    pipeline = pipeline_of(store, shop.make("a"), shop.make("x"), shop.make("b"))
    shop.failing = {"x"}
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r")
    record = await record_of(store)
    assert (record.status, record.step, record.error) == (RunStatus.FAILED, "x", "ValueError: x")
    assert record.owner is None
    entry = (await pipeline.history("r"))[-1]
    assert entry.error is not None
    assert (entry.kind, entry.step, entry.tries) == (RowKind.ERROR, "x", 1)
    assert (entry.error.type, entry.error.message) == ("ValueError", "x")
    assert "raise ValueError(name)" in entry.error.traceback
    assert entry.duration > 0


async def test_a_run_in_progress_says_which_step_is_due(shop: Workshop) -> None:
    store, seen = InMemoryStore(), list[Any]()

    @stage(version="1")
    async def look(ctx: Context) -> Context:
        seen.append(await record_of(store))
        return ctx

    await pipeline_of(store, shop.make("a"), look).invoke({}, run_id="r")
    assert (seen[0].status, seen[0].step, seen[0].ip, seen[0].head) == (
        RunStatus.RUNNING,
        "look",
        1,
        1,
    )
    record = await record_of(store)
    assert (record.status, record.step, record.error) == (RunStatus.SUCCEEDED, "", "")


# --- merges


@pytest.mark.parametrize("store", [InMemoryStore, ToyStore], indirect=True)
async def test_a_conflict_is_raised_again_by_a_resume_and_nothing_runs(
    shop: Workshop, store: CheckpointStore
) -> None:
    pipeline = pipeline_of(
        store, shop.make("a"), Parallel([shop.same("x"), shop.same("y")]), shop.make("never")
    )
    with pytest.raises(MergeConflictError) as first:
        await pipeline.invoke({}, run_id="r")
    executed = list(shop.executed)
    for _ in range(2):
        with pytest.raises(MergeConflictError) as again:
            await pipeline.invoke({}, run_id="r", resume=True)
        assert str(again.value) == str(first.value)
    assert shop.executed == executed == ["a", "x", "y"]


async def test_a_run_with_a_conflict_can_be_forked_from_before_it(shop: Workshop) -> None:
    store = InMemoryStore()
    calm = False

    def branch(name: str) -> Any:
        async def body(ctx: Context) -> Context:
            return ctx.set(name if calm else "same", name)

        return stage(name=name, version="1")(body)

    pipeline = pipeline_of(store, shop.make("a"), Parallel([branch("x"), branch("y")]))
    with pytest.raises(MergeConflictError):
        await pipeline.invoke({}, run_id="r")
    calm = True
    forked = await pipeline.fork("r", from_step="a")
    assert dict(forked) == {"a": True, "x": "x", "y": "y"}
    # From a branch its sibling's recorded write stays, and no longer meets another.
    again = await pipeline.fork("r", from_step="parallel/y")
    assert dict(again) == {"a": True, "same": "x", "y": "y"}


async def test_background_branches_of_a_run_with_a_conflict_are_finished_by_a_resume(
    shop: Workshop,
) -> None:
    store = InMemoryStore()
    pipeline = pipeline_of(
        store,
        background([shop.make("x", ticks=3), shop.make("y", ticks=3)]),
        Parallel([shop.same("b"), shop.same("c")]),
    )
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    while "c" not in shop.executed:
        await asyncio.sleep(0)
    with pytest.raises(MergeConflictError):
        await task
    assert shop.executed.count("y") == 1
    with pytest.raises(MergeConflictError):
        await pipeline.invoke({}, run_id="r", resume=True)


async def test_a_conflict_that_was_recorded_meanwhile_waits_for_what_runs_beside_it(
    shop: Workshop,
) -> None:
    """A snapshot with a conflict and an open background branch: only the branch runs."""
    store = InMemoryStore()
    pipeline = pipeline_of(
        store,
        background([shop.make("x"), shop.make("y", ticks=30)]),
        Parallel([shop.same("b"), shop.same("c")]),
    )
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    while "y" not in shop.executed:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    executed = list(shop.executed)
    with pytest.raises(MergeConflictError):
        await pipeline.invoke({}, run_id="r", resume=True)
    assert shop.executed == [*executed, "y"]


# --- events


class Ear(BaseCallback):
    """Notes what is told, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        self.heard.append(event)

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        self.heard.append(event)

    async def on_branch(self, event: BranchOpened) -> None:
        self.heard.append(event)

    async def on_route(self, event: RouteTaken) -> None:
        self.heard.append(event)

    async def on_error(self, event: StepFailed) -> None:
        self.heard.append(event)

    async def on_checkpoint(self, event: CheckpointSaved) -> None:
        self.heard.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


async def test_failures_are_told_as_fatal_or_not(shop: Workshop) -> None:
    ear = Ear()
    pipeline = pipeline_of(
        InMemoryStore(),
        background(shop.make("x")),
        shop.make("a", ticks=9),
        Parallel([shop.same("b"), shop.same("c")]),
        callbacks=[ear],
    )
    shop.failing = {"x"}
    with pytest.raises(MergeConflictError):
        await pipeline.invoke({}, run_id="r")
    told = [(event.step, event.stage, event.branch, event.fatal) for event in ear.of(StepFailed)]
    assert told == [
        ("parallel/x", "x", "parallel/x", False),
        ("parallel#2", "parallel#2", "", True),
    ]
    assert [event.error for event in ear.of(CheckpointSaved)].count(True) == 2


async def test_a_resumed_execution_is_told_as_one_with_its_attempt(shop: Workshop) -> None:
    ear = Ear()
    pipeline = pipeline_of(InMemoryStore(), shop.make("a"), shop.make("x"), callbacks=[ear])
    shop.failing = {"x"}
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r")
    with pytest.raises(ValueError, match="x"):
        await pipeline.invoke({}, run_id="r", resume=True)
    shop.failing = set()
    await pipeline.replay("r", from_step="a")
    started = [(event.attempt, event.resumed) for event in ear.of(PipelineStarted)]
    assert started == [(1, False), (1, True), (2, True)]
    ended = [(event.status, type(event.error)) for event in ear.of(PipelineEnded)]
    assert ended == [
        (RunStatus.FAILED, ValueError),
        (RunStatus.FAILED, ValueError),
        (RunStatus.SUCCEEDED, type(None)),
    ]
    assert all(event.duration > 0 for event in ear.of(PipelineEnded))


async def test_branches_and_routes_are_told_when_they_open(shop: Workshop) -> None:
    ear = Ear()
    pipeline = pipeline_of(
        None,
        Parallel([shop.make("a"), shop.make("b")]),
        background(shop.make("c")),
        shop.make("pick", Send("left")),
        {"left": [Parallel([shop.make("d"), shop.make("e")])], "right": [shop.make("f")]},
        callbacks=[ear],
    )
    await pipeline.invoke({})
    opened = [(event.fork, event.branch, event.background) for event in ear.of(BranchOpened)]
    assert opened[:3] == [
        ("parallel", "a", False),
        ("parallel", "b", False),
        ("parallel#2", "c", True),
    ]
    assert [branch for _, branch, _ in opened[3:]] == ["d", "e"]
    assert [event.route for event in ear.of(RouteTaken)] == ["left"]


async def test_a_cancellation_is_told_and_recorded_with_the_step_that_was_due(
    shop: Workshop,
) -> None:
    ear, store = Ear(), InMemoryStore()
    pipeline = pipeline_of(store, shop.make("a"), shop.make("b", ticks=10**6), callbacks=[ear])
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    while "b" not in shop.executed:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    record = await record_of(store)
    assert (record.status, record.step, record.owner) == (RunStatus.CANCELLED, "b", None)
    assert record.error.startswith("CancelledError")
    assert (await pipeline.history("r"))[-1].kind is RowKind.END
    [ended] = ear.of(PipelineEnded)
    assert ended.status is RunStatus.CANCELLED
    assert isinstance(ended.error, asyncio.CancelledError)
    assert ear.of(CheckpointSaved)[-1].step is None


async def test_a_cancellation_that_comes_after_the_end_was_written_finds_a_finished_run(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    ear, store, reached, gate = Ear(), InMemoryStore(), asyncio.Event(), asyncio.Event()

    async def hook() -> None:
        reached.set()
        await gate.wait()

    slow = Fault(mode=FaultMode.SLOW, operation=Operation.COMMIT, call=2, hook=hook)
    pipeline = pipeline_of(
        FaultyStore(store, slow), shop.make("a"), shop.make("b"), callbacks=[ear]
    )
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait({task})
    assert task.cancelled()
    record = await record_of(store)
    assert (record.status, record.head) == (RunStatus.SUCCEEDED, 2)
    [ended] = ear.of(PipelineEnded)
    assert (ended.status, ended.error) == (RunStatus.SUCCEEDED, None)
    assert dict(ended.context) == {"a": True, "b": True}
    assert caplog.records == []


# --- what stages are lent


async def test_progress_reaches_whoever_watches(shop: Workshop) -> None:
    heard = list[tuple[str, int, int | None, str]]()

    @stage
    async def long(ctx: Context) -> Context:
        current_step().progress(1, 3, "one")
        return ctx

    def listen(step: Any, done: int, total: int | None, note: str) -> None:
        heard.append((step.key, done, total, note))

    pipeline = pipeline_of(None, long)
    await pipeline.invoke({})
    await pipeline.invoke({}, watch=Watchers(report=listen))
    assert heard == [("long", 1, 3, "one")]


async def test_a_snapshot_written_by_hand_may_start_anywhere(shop: Workshop) -> None:
    store = ToyStore()
    pipeline = pipeline_of(store, shop.make("a"), shop.make("b"), shop.make("c"))
    from_c = Checkpoint("r", pipeline.version, 2, {"given": 1}, (await moment(pipeline, store)))
    await store.save(from_c)
    final = await pipeline.invoke({}, run_id="r", resume=True)
    assert dict(final) == {"given": 1, "c": True}
    assert shop.executed[-1:] == ["c"]


async def moment(pipeline: Pipeline, store: ToyStore) -> Any:
    """The time of a checkpoint that the runtime made."""
    await pipeline.invoke({}, run_id="other")
    return store.checkpoints["other"].created_at
