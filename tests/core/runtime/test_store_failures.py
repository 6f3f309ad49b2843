"""A store that fails at any of its calls never skips or repeats a recorded step (G19)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from fluxio import (
    CheckpointStore,
    Context,
    FinalContext,
    ForkMode,
    InMemoryStore,
    NoCheckpointError,
    Parallel,
    Pipeline,
    RunStatus,
    Send,
    stage,
)
from fluxio.errors import CorruptCheckpointError, LeaseLostError, StoreError
from fluxio.store.base import RowKind
from fluxio.store.lone import open_journal
from fluxio.store.payload import decode_body
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from tests.core.stores.toy import ToyStore
from tests.proofs.tally import Tally


class Workshop:
    """Makes stages that count their executions."""

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()

    def make(self, name: str, answer: Any = None) -> Any:
        async def body(ctx: Context) -> Any:
            self.executed[name] += 1
            await asyncio.sleep(0)
            return ctx.set(name, True) if answer is None else answer

        return stage(name=name, version="1")(body)


Topology = Callable[[Workshop], list[Any]]

TOPOLOGIES: dict[str, Topology] = {
    "linear": lambda shop: [shop.make("a"), shop.make("b"), shop.make("c")],
    "parallel": lambda shop: [
        shop.make("a"),
        Parallel([shop.make("b"), [shop.make("c"), shop.make("d")]]),
        shop.make("e"),
    ],
    "routes": lambda shop: [
        shop.make("pick", Send("left", {"pick": True})),
        {
            "left": [shop.make("a"), Parallel([shop.make("b"), shop.make("c")])],
            "right": [shop.make("never")],
        },
        shop.make("d"),
    ],
    "background": lambda shop: [
        Parallel([[shop.make("later"), shop.make("last")]], mode=ForkMode.FIRE_FORGET),
        shop.make("a"),
    ],
}
STEPS = {
    "linear": {"a", "b", "c"},
    "parallel": {"a", "b", "c", "d", "e"},
    "routes": {"pick", "a", "b", "c", "d"},
    "background": {"later", "last", "a"},
}
FAILING = (FaultMode.UNAVAILABLE, FaultMode.TIMED_OUT, FaultMode.UNANSWERED)
STORES: dict[str, Callable[[], CheckpointStore]] = {"memory": InMemoryStore, "toy": ToyStore}


class Case(NamedTuple):
    """A run over a store that fails."""

    shop: Workshop
    inner: CheckpointStore
    store: FaultyStore
    pipeline: Pipeline

    async def recorded(self) -> set[str]:
        """The steps that the store remembers as done, asked behind the runtime's back."""
        journal = self.inner.journal()
        if journal is not None:
            if await journal.run("r") is None:
                return set()
            rows = await journal.rows("r")
            return {row.step.rpartition("/")[2] for row in rows if row.kind is RowKind.STEP}
        checkpoint = await self.inner.load("r")
        if checkpoint is None:
            return set()
        lanes = decode_body(checkpoint.meta["lanes"]).lanes or {}
        return {*checkpoint.ctx_snapshot, *(key for lane in lanes.values() for key in lane.writes)}

    async def is_finished(self) -> bool:
        """Whether the store remembers that the run has succeeded."""
        record = await open_journal(self.inner).run("r")
        return record is not None and record.status is RunStatus.SUCCEEDED

    async def begin(self) -> FinalContext:
        """Start the run."""
        return await self.pipeline.invoke({}, run_id="r")

    async def go_on(self) -> FinalContext:
        """Resume the run; start it where the failure came before it was admitted."""
        try:
            return await self.pipeline.invoke({}, run_id="r", resume=True)
        except NoCheckpointError:
            assert not self.shop.executed, "stages ran before the run was admitted"
            return await self.begin()


def case_of(topology: str, store: str, *faults: Fault) -> Case:
    """A pipeline over a faulty store; call 1 is the first call of its run."""
    shop, inner = Workshop(), STORES[store]()
    faulty = FaultyStore(inner, *faults)
    pipeline = Pipeline(TOPOLOGIES[topology](shop), durable=True, checkpoint_store=faulty, name="p")
    return Case(shop, inner, faulty, pipeline)


async def calls_of(topology: str, store: str) -> tuple[FinalContext, tuple[Operation, ...]]:
    """What a run gives without faults, and the calls it makes."""
    case = case_of(topology, store)
    return await case.pipeline.invoke({}, run_id="r"), case.store.calls


def excused(store: str, mode: FaultMode, operation: Operation) -> bool:
    """A claim that nobody was told of stays with the process: in memory nothing can be lost."""
    return (store, mode, operation) == ("memory", FaultMode.UNANSWERED, Operation.OPEN)


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("mode", FAILING)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("topology", TOPOLOGIES)
async def test_g19_no_failing_call_skips_or_repeats_a_recorded_step(
    topology: str, store: str, mode: FaultMode, forever: bool, tally: Tally
) -> None:
    expected, calls = await calls_of(topology, store)
    assert len(calls) >= 3
    for number, operation in enumerate(calls, start=1):
        if excused(store, mode, operation):
            continue
        case = case_of(topology, store, Fault(mode=mode, call=number, forever=forever))
        try:
            final = await case.begin()
        except StoreError:
            case.store.heal()
            before, recorded = Counter(case.shop.executed), await case.recorded()
            assert recorded <= set(before), "a step is recorded that never ran"
            final = await case.go_on()
            again = case.shop.executed - before
            assert not recorded & set(again), f"call {number}: {recorded & set(again)} repeated"
        assert final == expected
        assert await case.is_finished(), f"call {number}: the end of the run is not recorded"
        assert case.store.fired
        assert set(case.shop.executed) == STEPS[topology], f"call {number}: skipped"
        assert max(case.shop.executed.values()) <= 2
        tally.add("G19", store)


@pytest.mark.parametrize("mode", [FaultMode.UNAVAILABLE, FaultMode.UNANSWERED])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("topology", ["linear", "parallel"])
async def test_g19_a_store_that_fails_again_during_the_recovery_changes_nothing(
    topology: str, store: str, mode: FaultMode, tally: Tally
) -> None:
    expected, calls = await calls_of(topology, store)
    for first in range(1, len(calls) + 1):
        if excused(store, mode, calls[first - 1]):
            continue
        for later in range(1, 12):
            case = case_of(
                topology,
                store,
                Fault(mode=mode, call=first),
                Fault(mode=FaultMode.UNAVAILABLE, call=first + later),
            )
            final: FinalContext | None = None
            recorded: set[str] = set()
            for attempt in range(4):
                before = Counter(case.shop.executed)
                try:
                    final = await (case.go_on() if attempt else case.begin())
                    break
                except StoreError:
                    pass
                finally:
                    assert not recorded & set(case.shop.executed - before)
                    recorded = await case.recorded()
            assert final == expected, f"calls {first} and {first + later}"
            tally.add("G19", store)


@pytest.mark.parametrize("store", STORES)
async def test_g19_a_slow_store_is_waited_for(store: str, tally: Tally) -> None:
    expected, calls = await calls_of("parallel", store)
    for number in range(1, len(calls) + 1):
        waited: list[int] = []

        async def hook(waited: list[int] = waited) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            waited.append(1)

        case = case_of("parallel", store, Fault(mode=FaultMode.SLOW, call=number, hook=hook))
        assert await case.begin() == expected
        assert waited
        assert max(case.shop.executed.values()) == 1
        tally.add("G19", store)


async def test_who_loses_the_lease_writes_nothing_more_and_says_so() -> None:
    _, calls = await calls_of("parallel", "memory")
    for commit in range(1, calls.count(Operation.COMMIT) + 1):
        lost = Fault(mode=FaultMode.LEASE_LOST, operation=Operation.COMMIT, call=commit)
        case = case_of("parallel", "memory", lost)
        with pytest.raises(LeaseLostError):
            await case.begin()
        assert case.store.calls.count(Operation.COMMIT) == commit, "it went on writing"
        journal = case.inner.journal()
        assert journal is not None
        rows = len(await journal.rows("r"))
        case.store.heal()
        assert await case.go_on()
        assert len(await journal.rows("r")) > rows


async def test_the_error_of_a_stage_outranks_that_of_the_store_and_carries_it_as_a_note() -> None:
    @stage
    async def broken(ctx: Context) -> Context:
        raise ValueError("mine")

    down = Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, forever=True)
    store = FaultyStore(InMemoryStore(), down)
    pipeline = Pipeline([broken], durable=True, checkpoint_store=store)
    with pytest.raises(ValueError, match="mine") as caught:
        await pipeline.invoke({}, run_id="r")
    assert any("error checkpoint could not be written" in note for note in caught.value.__notes__)
    assert caught.value.__cause__ is None


async def test_a_lease_that_was_lost_outranks_the_error_of_the_stage() -> None:
    @stage
    async def broken(ctx: Context) -> Context:
        raise ValueError("mine")

    lost = Fault(mode=FaultMode.LEASE_LOST, operation=Operation.COMMIT)
    pipeline = Pipeline([broken], durable=True, checkpoint_store=FaultyStore(InMemoryStore(), lost))
    with pytest.raises(LeaseLostError) as caught:
        await pipeline.invoke({}, run_id="r")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("store", STORES)
async def test_a_cancellation_that_cannot_be_recorded_is_still_a_cancellation(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()

    @stage
    async def hold(ctx: Context) -> Context:
        started.set()
        await asyncio.Event().wait()
        return ctx

    faulty = FaultyStore(STORES[store]())
    pipeline = Pipeline([hold], durable=True, checkpoint_store=faulty)
    task = asyncio.ensure_future(pipeline.invoke({}, run_id="r"))
    await started.wait()
    faulty._ledger.faults = (Fault(mode=FaultMode.UNAVAILABLE, forever=True),)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "its cancellation could not be recorded" in caplog.text
    faulty.heal()
    started.clear()
    again = asyncio.ensure_future(pipeline.invoke({}, run_id="r", resume=True))
    await started.wait()
    again.cancel()
    await asyncio.wait({again})


@pytest.mark.parametrize("down", [Operation.ROWS, Operation.LAST_FULL])
async def test_a_store_that_fails_while_the_state_is_read_leaves_the_run_free(
    down: Operation,
) -> None:
    case = case_of("linear", "memory", Fault(mode=FaultMode.UNAVAILABLE, call=3))
    with pytest.raises(StoreError):
        await case.begin()
    case.store._ledger.faults = (
        Fault(mode=FaultMode.UNAVAILABLE, operation=down, forever=True),
        # And so it cannot be asked for the record either, to give the run back.
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.RUN, call=2, forever=True),
    )
    with pytest.raises(StoreError, match=str(down)):
        await case.pipeline.invoke({}, run_id="r", resume=True)
    case.store.heal()
    assert set(await case.pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b", "c"}
    assert case.shop.executed["a"] == 1


async def test_a_damaged_row_is_refused_before_anything_runs_and_leaves_the_run_as_it_was() -> None:
    case = case_of("linear", "memory", Fault(mode=FaultMode.UNAVAILABLE, call=4))
    with pytest.raises(StoreError):
        await case.begin()
    executed = Counter(case.shop.executed)
    spoiled = Fault(mode=FaultMode.CORRUPT, operation=Operation.ROWS, forever=True)
    case.store._ledger.faults = (spoiled,)
    with pytest.raises(CorruptCheckpointError):
        await case.pipeline.invoke({}, run_id="r", resume=True)
    assert case.shop.executed == executed
    case.store.heal()
    await case.pipeline.invoke({}, run_id="r", resume=True)
