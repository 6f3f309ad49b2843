"""What is read of a run belongs together, whoever takes it or begins it anew meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, InMemoryStore, Pipeline, RunIDInUseError, stage
from fluxio.errors import CorruptCheckpointError, NoCheckpointError
from fluxio.runtime.reading import Moment
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from tests.core.stores.toy import ToyStore

STORES: dict[str, Callable[[], CheckpointStore]] = {"memory": InMemoryStore, "toy": ToyStore}


class House:
    """A pipeline of two stages, of which the second waits for a gate, over a store with hooks."""

    def __init__(self, inner: CheckpointStore | None = None) -> None:
        self.store = FaultyStore(inner or InMemoryStore())
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.pipeline = Pipeline(
            [self._make("a", False), self._make("b", True)],
            durable=True,
            checkpoint_store=self.store,
            name="p",
        )

    def _make(self, name: str, waits: bool) -> Any:
        async def body(ctx: Context) -> Context:
            if waits:
                self.reached.set()
                await self.gate.wait()
            return ctx.set(name, ctx["n"])

        return stage(name=name, version="1")(body)

    def before(
        self, operation: Operation, work: Callable[[], Awaitable[Any]], later: int = 0
    ) -> None:
        """Do something before the next call of an operation, or one that comes later."""
        self.store._ledger.faults = (
            Fault(
                mode=FaultMode.SLOW,
                operation=operation,
                call=self.store.calls.count(operation) + 1 + later,
                hook=lambda: _alone(self, work),
            ),
        )

    def under_way(
        self, start: Callable[[], Awaitable[Any]]
    ) -> tuple[Callable[[], Awaitable[None]], list[asyncio.Task[Any]]]:
        """What starts an execution and returns while its second stage waits for the gate."""
        tasks: list[asyncio.Task[Any]] = []

        async def begin() -> None:
            self.reached.clear()
            self.gate.clear()
            tasks.append(asyncio.ensure_future(start()))
            await self.reached.wait()

        return begin, tasks


async def _alone(house: House, work: Callable[[], Awaitable[Any]]) -> None:
    house.store.heal()
    await work()


@pytest.fixture
def house() -> House:
    """A house over memory."""
    return House()


async def finished(house: House, n: int = 1) -> None:
    await house.pipeline.invoke({"n": n}, run_id="r")


READS: dict[str, Callable[[Pipeline], Awaitable[Any]]] = {
    "resume": lambda pipeline: pipeline.invoke({}, run_id="r", resume=True),
    "return": lambda pipeline: pipeline.invoke({}, run_id="r", on_conflict="return"),
    "state": lambda pipeline: pipeline.state("r"),
}


@pytest.mark.parametrize("read", READS)
async def test_a_replay_that_begins_meanwhile_does_not_change_a_result_that_is_read(
    house: House, read: str
) -> None:
    await finished(house)
    replaying, tasks = house.under_way(lambda: house.pipeline.replay("r"))
    house.before(Operation.LAST_FULL, replaying)
    assert dict(await READS[read](house.pipeline)) == {"n": 1, "a": 1, "b": 1}
    house.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("read", ["resume", "return"])
@pytest.mark.parametrize("place", STORES)
async def test_a_result_is_no_state_in_the_middle_of_a_restart(place: str, read: str) -> None:
    house = House(STORES[place]())
    await finished(house)
    restarting, tasks = house.under_way(lambda: house.pipeline.invoke({"n": 2}, run_id="r"))
    if place == "memory":
        house.before(Operation.LAST_FULL, restarting)
    else:
        _before_the_rows_of_a_snapshot(house, restarting, read)
    with pytest.raises(RunIDInUseError, match="Try again"):
        await READS[read](house.pipeline)
    house.gate.set()
    await asyncio.gather(*tasks)
    assert dict(await READS[read](house.pipeline)) == {"n": 2, "a": 2, "b": 2}


def _before_the_rows_of_a_snapshot(
    house: House, work: Callable[[], Awaitable[Any]], read: str
) -> None:
    """A store with four methods is asked for all of it by `load`: first for the record."""
    house.before(Operation.LOAD, work, later=2 if read == "return" else 1)


@pytest.mark.parametrize("operation", [Operation.LAST_FULL, Operation.ROWS])
@pytest.mark.parametrize("read", READS)
async def test_a_run_that_was_begun_anew_meanwhile_is_read_as_it_stands_then(
    house: House, read: str, operation: Operation
) -> None:
    await finished(house)
    await house.pipeline.replay("r")  # its newest full row is not the first one
    house.before(operation, lambda: finished(house, 2))
    assert dict(await READS[read](house.pipeline)) == {"n": 2, "a": 2, "b": 2}


@pytest.mark.parametrize("moment", [None, 0, "b"])
async def test_a_moment_is_read_of_a_run_that_was_begun_anew_meanwhile(
    house: House, moment: Moment
) -> None:
    await finished(house)
    await house.pipeline.replay("r")
    house.before(Operation.ROWS, lambda: finished(house, 2))
    state = await house.pipeline.state("r", moment)
    assert state["n"] == 2


async def test_the_history_is_of_one_run(house: House) -> None:
    await finished(house)
    await house.pipeline.replay("r")
    house.before(Operation.ROWS, lambda: finished(house, 2))
    history = await house.pipeline.history("r")
    assert [entry.sequence for entry in history] == [0, 1, 2]


async def test_a_run_that_goes_meanwhile_is_unknown(house: House) -> None:
    await finished(house)
    house.before(Operation.ROWS, lambda: house.store.delete("r"))
    with pytest.raises(NoCheckpointError):
        await house.pipeline.state("r")


async def test_a_row_that_is_damaged_is_not_taken_for_a_run_that_changed(house: House) -> None:
    await finished(house)
    house.store._ledger.faults = (
        Fault(mode=FaultMode.CORRUPT, operation=Operation.ROWS, forever=True),
    )
    with pytest.raises(CorruptCheckpointError):
        await house.pipeline.state("r")


async def test_what_did_not_change_is_read_once(house: House) -> None:
    await finished(house)
    before = len(house.store.calls)
    await house.pipeline.invoke({}, run_id="r", resume=True)
    assert house.store.calls[before:] == (Operation.RUN, Operation.LAST_FULL, Operation.ROWS)
