"""A step that a store will never take fails the run: it is still due, and the error says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fluxio import Context, ForkMode, Parallel, Pipeline, RunStatus, StoreError, stage
from fluxio.store.base import Claim, Commit, Journal, Row, RowKind
from fluxio.store.memory import InMemoryStore

ROOM = 200
"""Bytes of the largest row that is taken while the store is picky."""


class PickyJournal:
    """A journal that refuses large rows for good, as long as it is picky."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.picky = True
        self.names_rows = True
        self.room = dict.fromkeys(RowKind, ROOM) | {RowKind.ERROR: 10**6}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def commit(self, claim: Claim, commit: Commit) -> None:
        for row in commit.rows:
            if self.picky and row.size > self.room[row.kind]:
                named = {"sequence": row.sequence} if self.names_rows else {}
                raise StoreError(f"{row.step} is too large", **named)
        await self._journal.commit(claim, commit)


class PickyStore(InMemoryStore):
    """A store with such a journal."""

    def __init__(self) -> None:
        super().__init__()
        self.refusing = PickyJournal(self._journal)

    def journal(self) -> Any:
        return self.refusing


@pytest.fixture
def store() -> PickyStore:
    """An empty one."""
    return PickyStore()


def step(name: str, size: int = 1, executed: list[str] | None = None) -> Any:
    async def body(ctx: Context) -> Context:
        (executed if executed is not None else []).append(name)
        await asyncio.sleep(0)
        return ctx.set(name, "x" * size)

    return stage(name=name, version="1")(body)


async def refused(store: PickyStore, nodes: list[Any]) -> tuple[Pipeline, StoreError]:
    pipeline = Pipeline(nodes, durable=True, checkpoint_store=store)
    with pytest.raises(StoreError) as caught:
        await pipeline.invoke({}, run_id="r")
    return pipeline, caught.value


async def test_the_run_has_failed_at_the_step_that_is_still_due(store: PickyStore) -> None:
    executed: list[str] = []
    pipeline, error = await refused(
        store, [step("a", 1, executed), step("b", ROOM, executed), step("c", 1, executed)]
    )
    assert str(error) == "b is too large"
    record = await store.refusing.run("r")
    assert (record.status, record.step, record.owner) == (RunStatus.FAILED, "b", None)
    assert record.error == "StoreError: b is too large"
    history = await pipeline.history("r")
    assert [(it.kind, it.step) for it in history[1:]] == [
        (RowKind.STEP, "a"),
        (RowKind.ERROR, "b"),
    ]
    store.refusing.picky = False
    final = await pipeline.invoke({}, run_id="r", resume=True)
    assert set(final) == {"a", "b", "c"}
    assert executed == ["a", "b", "b", "c"]


async def test_of_branches_that_end_together_the_one_is_named_whose_row_is_refused(
    store: PickyStore,
) -> None:
    pipeline, error = await refused(
        store, [Parallel([step("small"), step("large", ROOM), step("little")]), step("last")]
    )
    assert "large is too large" in str(error)
    record = await store.refusing.run("r")
    assert record.status is RunStatus.FAILED
    assert record.step.endswith("large")
    store.refusing.picky = False
    final = await pipeline.invoke({}, run_id="r", resume=True)
    assert set(final) == {"small", "large", "little", "last"}


async def test_where_a_store_names_no_row_the_first_of_the_branches_is_blamed(
    store: PickyStore,
) -> None:
    store.refusing.names_rows = False
    await refused(store, [Parallel([step("small"), step("large", ROOM), step("little")])])
    record = await store.refusing.run("r")
    assert record.step.endswith("small")
    assert record.error.endswith("large is too large")


async def test_branches_that_are_still_at_work_are_stopped_before_the_error_leaves(
    store: PickyStore,
) -> None:
    stopped: list[str] = []

    @stage(version="1")
    async def patient(ctx: Context) -> Context:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("patient")
        return ctx

    await refused(store, [Parallel([patient, step("large", ROOM)])])
    assert stopped == ["patient"]


async def test_a_branch_in_the_background_fails_the_run_as_well(store: PickyStore) -> None:
    background = Parallel([step("large", ROOM)], mode=ForkMode.FIRE_FORGET)
    pipeline, _ = await refused(store, [background, step("main")])
    record = await store.refusing.run("r")
    assert record.status is RunStatus.FAILED
    store.refusing.picky = False
    await pipeline.invoke({}, run_id="r", resume=True)
    steps = [it.step for it in await pipeline.history("r") if it.kind is RowKind.STEP]
    assert sorted(name.rpartition("/")[2] for name in steps) == ["large", "main"]


async def test_the_error_of_another_stage_that_failed_at_the_same_moment_counts(
    store: PickyStore,
) -> None:
    @stage(version="1")
    async def broken(ctx: Context) -> Context:
        await asyncio.sleep(0)
        raise ValueError("mine")

    pipeline = Pipeline(
        [Parallel([step("large", ROOM), broken])], durable=True, checkpoint_store=store
    )
    with pytest.raises(ValueError, match="mine"):
        await pipeline.invoke({}, run_id="r")
    record = await store.refusing.run("r")
    assert (record.status, record.error) == (RunStatus.FAILED, "ValueError: mine")


async def test_where_not_even_the_failure_fits_the_record_alone_tells_of_it(
    store: PickyStore,
) -> None:
    store.refusing.room[RowKind.ERROR] = 10
    pipeline, _ = await refused(store, [step("a", ROOM)])
    record = await store.refusing.run("r")
    assert (record.status, record.step) == (RunStatus.FAILED, "a")
    assert record.error == "StoreError: a is too large"
    assert [it.kind for it in await pipeline.history("r")] == [RowKind.START]


async def test_a_new_attempt_that_cannot_begin_leaves_the_run_as_it_was(store: PickyStore) -> None:
    store.refusing.picky = False
    pipeline = Pipeline([step("a", ROOM), step("b")], durable=True, checkpoint_store=store)
    await pipeline.invoke({}, run_id="r")
    before: list[Row] = await store.refusing.rows("r")
    store.refusing.picky = True
    with pytest.raises(StoreError):
        await pipeline.replay("r", from_step="b")
    record = await store.refusing.run("r")
    assert (record.status, record.owner) == (RunStatus.SUCCEEDED, None)
    assert await store.refusing.rows("r") == before
