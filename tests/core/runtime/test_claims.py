"""A run that was claimed and not executed is handed back as it was found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, InMemoryStore, Pipeline, RunStatus, stage
from fluxio.errors import CorruptCheckpointError, InvalidRunIDError, RunIDInUseError, StoreError
from fluxio.runtime import machine
from fluxio.runtime.claims import Claims
from fluxio.runtime.environment import Environment
from fluxio.runtime.outcomes import Succeeded
from fluxio.runtime.recorder import Entry
from fluxio.store.base import Commit, OpenMode, RunRecord
from fluxio.store.lone import open_journal
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from tests.core.stores.toy import ToyStore


class House:
    """A pipeline of two stages over a store that can be told to fail."""

    def __init__(self, inner: CheckpointStore | None = None) -> None:
        self.executed: list[str] = []
        self.failing = False
        self.store = FaultyStore(inner or InMemoryStore())
        self.pipeline = Pipeline(
            [self._make("a"), self._make("b")], durable=True, checkpoint_store=self.store, name="p"
        )

    def _make(self, name: str) -> Any:
        async def body(ctx: Context) -> Context:
            self.executed.append(name)
            if self.failing and name == "b":
                raise ValueError(name)
            return ctx.set(name, True)

        return stage(name=name, version="1")(body)

    def break_with(self, *faults: Fault) -> None:
        """From now on these faults are due, counting the calls so far."""
        self.store._ledger.faults = faults

    def next(self, operation: Operation) -> int:
        """The number of the next call of an operation."""
        return self.store.calls.count(operation) + 1

    def fault(self, mode: FaultMode, operation: Operation, **facts: Any) -> Fault:
        return Fault(mode=mode, operation=operation, call=self.next(operation), **facts)

    async def record(self) -> RunRecord:
        journal = self.store.journal()
        assert journal is not None
        record = await journal.run("r")
        assert record is not None
        return record

    async def fail_at_b(self) -> None:
        self.failing = True
        with pytest.raises(ValueError, match="b"):
            await self.pipeline.invoke({}, run_id="r")
        self.failing = False
        self.executed.clear()


@pytest.fixture
def house() -> House:
    return House()


async def test_a_damaged_run_that_had_failed_is_still_failed_with_its_own_error(
    house: House,
) -> None:
    await house.fail_at_b()
    before = await house.record()
    house.break_with(house.fault(FaultMode.CORRUPT, Operation.ROWS))
    with pytest.raises(CorruptCheckpointError):
        await house.pipeline.invoke({}, run_id="r", resume=True)
    after = await house.record()
    assert (after.status, after.error, after.step) == (before.status, before.error, before.step)
    assert (after.owner, after.attempt, after.head) == (None, before.attempt, before.head)
    assert house.executed == []


async def test_a_damaged_run_whose_worker_died_is_left_as_failed_with_the_reason(
    house: House,
) -> None:
    down = house.fault(FaultMode.UNAVAILABLE, Operation.COMMIT)
    house.break_with(down)
    with pytest.raises(StoreError):
        await house.pipeline.invoke({}, run_id="r")
    assert (await house.record()).status is RunStatus.RUNNING
    house.break_with(house.fault(FaultMode.CORRUPT, Operation.ROWS))
    with pytest.raises(CorruptCheckpointError) as caught:
        await house.pipeline.invoke({}, run_id="r", resume=True)
    record = await house.record()
    assert (record.status, record.error) == (RunStatus.FAILED, str(caught.value)[:500])


async def test_a_run_whose_state_the_store_does_not_tell_is_not_failed_by_that(
    house: House,
) -> None:
    house.break_with(house.fault(FaultMode.UNAVAILABLE, Operation.COMMIT))
    with pytest.raises(StoreError):
        await house.pipeline.invoke({}, run_id="r")
    house.break_with(house.fault(FaultMode.UNAVAILABLE, Operation.ROWS))
    with pytest.raises(StoreError):
        await house.pipeline.invoke({}, run_id="r", resume=True)
    record = await house.record()
    assert (record.status, record.error) == (RunStatus.RUNNING, "")
    house.store.heal()
    assert set(await house.pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b"}


async def cancelled_at(house: House, operation: Operation, call: Any) -> asyncio.Task[Any]:
    """Run a call, cancel it while the store is busy with an operation, and let the store go on."""
    reached, gate = asyncio.Event(), asyncio.Event()

    async def hook() -> None:
        reached.set()
        await gate.wait()

    house.break_with(house.fault(FaultMode.SLOW, operation, hook=hook))
    task = asyncio.ensure_future(call)
    await reached.wait()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.wait({task})
    house.store.heal()
    assert task.cancelled()
    return task


async def test_a_cancellation_while_a_run_is_begun_leaves_a_run_that_nobody_owns(
    house: House,
) -> None:
    await cancelled_at(house, Operation.OPEN, house.pipeline.invoke({}, run_id="r"))
    record = await house.record()
    assert (record.status, record.owner, record.step) == (RunStatus.CANCELLED, None, "a")
    assert house.executed == []
    assert set(await house.pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b"}


async def test_a_cancellation_while_a_run_is_taken_leaves_it_as_it_was(house: House) -> None:
    await house.fail_at_b()
    resuming = house.pipeline.invoke({}, run_id="r", resume=True)
    await cancelled_at(house, Operation.OPEN, resuming)
    record = await house.record()
    assert (record.status, record.owner, record.error) == (
        RunStatus.FAILED,
        None,
        "ValueError: b",
    )
    assert house.executed == []


async def test_a_cancellation_while_the_state_is_read_leaves_the_run_as_it_was(
    house: House,
) -> None:
    await house.fail_at_b()
    resuming = house.pipeline.invoke({}, run_id="r", resume=True)
    await cancelled_at(house, Operation.ROWS, resuming)
    record = await house.record()
    assert (record.status, record.owner) == (RunStatus.FAILED, None)


async def test_a_cancellation_while_a_replay_begins_leaves_a_run_that_can_be_replayed(
    house: House,
) -> None:
    await house.pipeline.invoke({}, run_id="r")
    house.executed.clear()
    replay = house.pipeline.replay("r", from_step="b")
    await cancelled_at(house, Operation.COMMIT, replay)
    record = await house.record()
    assert (record.status, record.owner, record.attempt) == (RunStatus.CANCELLED, None, 2)
    assert house.executed == []
    await house.pipeline.replay("r", from_step="b")
    assert house.executed == ["b"]


@pytest.mark.parametrize("inner", [InMemoryStore, ToyStore])
async def test_a_cancelled_restart_leaves_no_result_of_a_run_that_was_never_executed(
    inner: type[CheckpointStore],
) -> None:
    house = House(inner())
    await house.pipeline.invoke({"n": 1}, run_id="r")
    house.executed.clear()
    begun = Operation.OPEN if inner is InMemoryStore else Operation.SAVE
    await cancelled_at(house, begun, house.pipeline.invoke({"n": 2}, run_id="r"))
    assert house.executed == []
    with pytest.raises(RunIDInUseError, match="cancelled"):
        await house.pipeline.invoke({}, run_id="r", on_conflict="return")
    resumed = await house.pipeline.invoke({}, run_id="r", resume=True)
    assert dict(resumed) == {"n": 2, "a": True, "b": True}
    assert house.executed == ["a", "b"]


@pytest.mark.parametrize("inner", [InMemoryStore, ToyStore])
async def test_a_cancelled_replay_leaves_no_result_of_an_attempt_that_was_never_executed(
    inner: type[CheckpointStore],
) -> None:
    house = House(inner())
    await house.pipeline.invoke({"n": 1}, run_id="r")
    house.executed.clear()
    begun = Operation.COMMIT if inner is InMemoryStore else Operation.SAVE
    await cancelled_at(house, begun, house.pipeline.replay("r"))
    with pytest.raises(RunIDInUseError, match="cancelled"):
        await house.pipeline.invoke({}, run_id="r", on_conflict="return")
    resumed = await house.pipeline.invoke({}, run_id="r", resume=True)
    assert dict(resumed) == {"n": 1, "a": True, "b": True}
    assert house.executed == ["a", "b"]


async def test_a_replay_whose_beginning_may_be_recorded_leaves_no_result(house: House) -> None:
    await house.pipeline.invoke({}, run_id="r")
    asked = house.next(Operation.ROWS) + 1  # whether the beginning is there
    house.break_with(
        house.fault(FaultMode.UNANSWERED, Operation.COMMIT),
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.ROWS, call=asked),
    )
    with pytest.raises(StoreError):
        await house.pipeline.replay("r")
    house.store.heal()
    record = await house.record()
    assert (record.status, record.owner, record.attempt) == (RunStatus.RUNNING, None, 2)
    house.executed.clear()
    assert set(await house.pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b"}
    assert house.executed == ["a", "b"]


async def test_a_store_that_fails_while_a_replay_begins_leaves_the_run_free(house: House) -> None:
    await house.pipeline.invoke({}, run_id="r")
    house.break_with(house.fault(FaultMode.UNAVAILABLE, Operation.COMMIT))
    with pytest.raises(StoreError):
        await house.pipeline.replay("r")
    house.executed.clear()
    await house.pipeline.replay("r", from_step="a")
    assert house.executed == ["a", "b"]


@pytest.mark.parametrize("inner", [InMemoryStore, ToyStore])
async def test_a_run_that_was_finished_between_reading_and_claiming_gives_its_result(
    inner: type[CheckpointStore],
) -> None:
    house, read = House(inner()), Operation.RUN if inner is InMemoryStore else Operation.LOAD
    # A four-method store is read once when the run begins, too.
    call = 1 if read is Operation.RUN else 2
    house.break_with(Fault(mode=FaultMode.STALE, operation=read, call=call))
    await house.pipeline.invoke({}, run_id="r")
    house.executed.clear()
    assert set(await house.pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b"}
    assert house.executed == []
    assert house.store.fired
    assert set(await house.pipeline.invoke({}, run_id="r", on_conflict="return")) == {"a", "b"}


async def test_giving_back_a_run_that_vanished_does_nothing(house: House) -> None:
    journal = house.store.journal()
    assert journal is not None
    claims = Claims(program=house.pipeline.compiled, journal=journal, environment=Environment())
    await house.fail_at_b()
    claim = await claims.take_as_known(await house.record())
    await house.store.delete("r")
    commits = house.store.calls.count(Operation.COMMIT)
    await claims.give_back(claim, ValueError("x"))
    assert house.store.calls.count(Operation.COMMIT) == commits


async def test_giving_back_a_run_that_somebody_else_has_leaves_it_to_them(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.fail_at_b()
    journal = house.store.journal()
    assert journal is not None
    claims = Claims(program=house.pipeline.compiled, journal=journal, environment=Environment())
    old = await claims.take_as_known(await house.record())
    journal.release(old)
    heir = await claims.take_as_known(await house.record())
    await claims.give_back(old, ValueError("x"))
    assert "could not be given back" in caplog.text
    assert (await house.record()).token == heir.token
    await journal.commit(heir, Commit(rows=(), ip=1, step="b", attempt=1))


async def test_a_store_that_is_down_while_the_claim_is_given_back_hides_no_error(
    house: House,
) -> None:
    await house.fail_at_b()
    house.break_with(
        house.fault(FaultMode.CORRUPT, Operation.ROWS),
        house.fault(FaultMode.UNAVAILABLE, Operation.COMMIT),
    )
    with pytest.raises(CorruptCheckpointError):
        await house.pipeline.invoke({}, run_id="r", resume=True)
    house.store.heal()
    await house.pipeline.invoke({}, run_id="r", resume=True)
    assert house.executed == ["b"]


async def test_a_run_that_is_recorded_for_others_begins_as_an_invoked_one(house: House) -> None:
    opening = house.pipeline._runs().opening({"n": 1}, "r")
    assert (opening.mode, opening.step, opening.run_id) == (OpenMode.CREATE, "a", "r")
    journal = house.store.journal()
    assert journal is not None
    assert opening.start is not None
    claim = await journal.open(opening)
    await journal.commit(
        claim, Commit(rows=(), ip=0, step="a", attempt=1, status=RunStatus.CANCELLED)
    )
    assert dict(await house.pipeline.invoke({}, run_id="r", resume=True)) == {
        "n": 1,
        "a": True,
        "b": True,
    }
    assert len(house.pipeline._runs().opening({}, None).run_id) == 32


@pytest.mark.parametrize("run_id", ["", "a b", "x" * 129, "é"])
async def test_a_run_that_is_recorded_for_others_has_a_proper_id(house: House, run_id: str) -> None:
    with pytest.raises(InvalidRunIDError):
        house.pipeline._runs().opening({}, run_id)


MEANWHILE: dict[str, Callable[[House], Awaitable[Any]]] = {
    "resumed": lambda house: house.pipeline.invoke({}, run_id="r", resume=True),
    "restarted": lambda house: house.pipeline.invoke({"n": 2}, run_id="r"),
    "replayed": lambda house: house.pipeline.replay("r"),
}


def alone(house: House, work: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
    """A hook that does something, whose calls of the store meet no fault."""

    async def hook() -> None:
        house.store.heal()
        await work()

    return hook


@pytest.mark.parametrize("change", MEANWHILE)
@pytest.mark.parametrize("inner", [InMemoryStore, ToyStore])
async def test_a_replay_is_refused_where_the_run_has_changed_since_it_was_read(
    inner: type[CheckpointStore], change: str
) -> None:
    house = House(inner())
    await house.fail_at_b()
    # A four-method store is read for the record, for where the rows begin, and for the rows.
    due, earlier = (Operation.OPEN, 0) if inner is InMemoryStore else (Operation.LOAD, 2)
    call, hook = house.next(due) + earlier, alone(house, lambda: MEANWHILE[change](house))
    house.break_with(Fault(mode=FaultMode.SLOW, operation=due, call=call, hook=hook))
    with pytest.raises(RunIDInUseError, match="has changed since it was looked at"):
        await house.pipeline.replay("r")
    assert house.executed == (["a", "b"] if change == "restarted" else ["b"])
    assert set(await house.pipeline.invoke({}, run_id="r", on_conflict="return")) >= {"a", "b"}


async def test_a_replay_begins_behind_what_a_lost_worker_recorded_at_the_last_moment(
    house: House,
) -> None:
    journal, program = open_journal(house.store), house.pipeline.compiled
    claims = Claims(program=program, journal=journal, environment=Environment())
    state = machine.begin(program, Context.create({})).state
    lost = await claims.create("r", state)

    async def record_a_and_die() -> None:
        outcome = Succeeded(ip=0, writes={"a": "lost"}, route=None, tries=1, duration=0.0)
        after = machine.succeed(program, state, 0, outcome.writes, None).state
        recorder = claims.recorder(lost)
        entry = Entry(outcome, recorder.step_text(outcome), after)
        await recorder.commit(recorder.prepare([entry], after))
        journal.release(lost)

    house.break_with(
        house.fault(FaultMode.SLOW, Operation.OPEN, hook=alone(house, record_a_and_die))
    )
    assert dict(await house.pipeline.replay("r")) == {"a": "lost", "b": True}
    assert house.executed == ["b"]


async def test_a_replay_asks_the_store_for_nothing_twice(house: House) -> None:
    await house.pipeline.invoke({}, run_id="r")
    before = len(house.store.calls)
    await house.pipeline.replay("r", from_step="b")
    asked = [call for call in house.store.calls[before:] if call is not Operation.RENEW]
    assert asked == [Operation.RUN, Operation.ROWS, Operation.OPEN, *[Operation.COMMIT] * 2]
