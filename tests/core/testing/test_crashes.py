"""A simulated crash leaves what a killed process leaves, at whichever checkpoint it comes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, InMemoryStore, Parallel, Pipeline, RunStatus, stage
from fluxio.errors import ConfigurationError, NoCheckpointError
from fluxio.store.lone import open_journal
from fluxio.testing.crashes import SimulatedCrash, crash_at
from tests.core.stores.subjects import RedisKeys, redis_store
from tests.core.stores.toy import ToyStore, TransactionalStore

executed: Counter[str] = Counter()


def step(name: str) -> Any:
    async def body(ctx: Context) -> Context:
        executed[name] += 1
        return ctx.set(name, True)

    return stage(name=name, version="1")(body)


@pytest.fixture(params=["memory", "toy", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest) -> Iterator[CheckpointStore]:
    """An empty store of each kind."""
    keys = RedisKeys()
    kinds: dict[str, Callable[[], CheckpointStore]] = {
        "memory": InMemoryStore,
        "toy": ToyStore,
        "redis": lambda: redis_store(keys),
    }
    executed.clear()
    yield kinds[request.param]()
    keys.close()


def pipeline_over(store: CheckpointStore) -> Pipeline:
    nodes = [step("a"), Parallel([step("b"), step("c")]), step("d")]
    return Pipeline(nodes, durable=True, checkpoint_store=store, name="p")


@pytest.mark.parametrize("stored", [True, False])
async def test_a_run_goes_on_after_a_crash_at_any_checkpoint(
    store: CheckpointStore, stored: bool
) -> None:
    pipeline = pipeline_over(store)
    deaths = 0
    for number in range(20):
        executed.clear()
        run_id = f"r{number}"
        with crash_at(pipeline, number, stored=stored) as crash:
            await pipeline.invoke({"n": 1}, run_id=run_id)
        if not crash.happened:
            break
        deaths += 1
        record = await open_journal(store).run(run_id)
        if record is None:
            assert (number, stored) == (0, False)
            assert not executed
            continue
        assert record.owner is None
        final = await pipeline.invoke({}, run_id=run_id, resume=True)
        assert dict(final) == {"n": 1, "a": True, "b": True, "c": True, "d": True}
        repeated = {name for name, times in executed.items() if times > 1}
        assert len(repeated) <= (0 if stored else 2)
        assert pipeline.checkpoint_store is store
    assert deaths >= 4


async def test_the_store_hears_nothing_of_an_execution_that_died(store: CheckpointStore) -> None:
    pipeline = pipeline_over(store)
    with crash_at(pipeline, 1):
        await pipeline.invoke({}, run_id="r")
    history = await pipeline.history("r")
    assert all(entry.error is None for entry in history)
    assert executed == {"a": 1}


async def test_a_crash_passes_whatever_handles_errors() -> None:
    @stage
    async def careful(ctx: Context) -> Context:
        return ctx.set("a", 1)

    async def catching(stage: Any, ctx: Context, next: Any) -> Any:
        try:
            return await next(ctx)
        except Exception:
            return ctx

    pipeline = Pipeline([careful, careful], durable=True, middleware=[catching])
    with crash_at(pipeline, 1) as crash:
        await pipeline.invoke({}, run_id="r")
        pytest.fail("The block ends where the process dies.")
    assert crash.happened


async def test_a_crash_inside_a_transaction_takes_its_writes_along() -> None:
    store = TransactionalStore()

    @stage(transactional=True)
    def book(ctx: Context) -> Context:
        store.ledger.write("booked")
        return ctx.set("booked", True)

    pipeline = Pipeline([book, step("after")], durable=True, checkpoint_store=store)
    for stored, kept in ((False, []), (True, ["booked"])):
        with crash_at(pipeline, 1, stored=stored) as crash:
            await pipeline.invoke({}, run_id="r")
        assert crash.happened
        assert await store.ledger.notes() == kept
    await pipeline.invoke({}, run_id="r", resume=True)
    assert await store.ledger.notes() == ["booked"]


async def test_a_resumed_run_may_die_again() -> None:
    store = InMemoryStore()
    executed.clear()
    pipeline = pipeline_over(store)
    with crash_at(pipeline, 1):
        await pipeline.invoke({}, run_id="r")
    with crash_at(pipeline, 0) as crash:
        await pipeline.invoke({}, run_id="r", resume=True)
    assert crash.happened
    assert set(await pipeline.invoke({}, run_id="r", resume=True)) == {"a", "b", "c", "d"}
    assert executed["a"] == 1


async def test_who_asks_after_the_death_dies_too() -> None:
    pipeline = pipeline_over(InMemoryStore())
    with crash_at(pipeline, 0, stored=False):
        with pytest.raises(SimulatedCrash):
            await pipeline.invoke({}, run_id="r")
        journal = open_journal(pipeline.checkpoint_store)  # type: ignore[arg-type]
        for question in (
            journal.run("r"),
            journal.rows("r"),
            journal.last_full("r"),
            journal.manifest("p", "1"),
        ):
            with pytest.raises(SimulatedCrash):
                await question
    with pytest.raises(NoCheckpointError):
        await pipeline.invoke({}, run_id="r", resume=True)


async def test_the_four_methods_are_those_of_the_store() -> None:
    store = InMemoryStore()
    pipeline = pipeline_over(store)
    with crash_at(pipeline, 99) as crash:
        await pipeline.invoke({}, run_id="r")
        mortal = pipeline.checkpoint_store
        assert mortal is not None
        kept = await mortal.load("r")
        assert kept is not None
        assert await mortal.exists("r")
        await mortal.delete("r")
        assert not await store.exists("r")
        await mortal.save(kept)
        assert await store.exists("r")
    assert not crash.happened


def test_a_pipeline_without_checkpoints_cannot_die_at_one() -> None:
    for pipeline in (Pipeline([step("a")]), Pipeline([step("a")], checkpoint_store=ToyStore())):
        with pytest.raises(ConfigurationError, match="durable=True"), crash_at(pipeline, 1):
            pass
    with pytest.raises(ValueError, match="count from 0"), crash_at(pipeline_over(ToyStore()), -1):
        pass


@pytest.mark.redis
async def test_the_heartbeat_of_the_dead_stops() -> None:
    keys = RedisKeys()
    store = redis_store(keys)
    pipeline = pipeline_over(store)
    with crash_at(pipeline, 1) as crash:
        leasing = pipeline.checkpoint_store.journal().leasing  # type: ignore[union-attr]
        await pipeline.invoke({}, run_id="r")
    assert crash.happened
    record = await store.journal().run("r")
    assert record is not None
    assert record.status is RunStatus.FAILED
    before = keys.client.hgetall(keys.run("r"))
    await asyncio.to_thread(leasing.renew, [])
    assert keys.client.hgetall(keys.run("r")) == before
    await store.aclose()
    keys.close()
