"""The store in memory forgets old results, and never a run that somebody still needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fluxio.errors import DecodingError, LeaseLostError, RunIDInUseError
from fluxio.store.base import OpenMode
from fluxio.store.memory import InMemoryStore
from fluxio.store.payload import decode_body
from fluxio.testing.conformance.samples import (
    MOMENT,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
)
from fluxio.types import RunStatus


async def kept(store: InMemoryStore, count: int) -> list[int]:
    """The numbers of the runs that are still there."""
    return [number for number in range(count) if await store.exists(f"run-{number}")]


async def test_the_runs_that_ended_first_are_forgotten_first() -> None:
    store = InMemoryStore(max_finished=3)
    for number in range(6):
        await leave(store.journal(), f"run-{number}", RunStatus.SUCCEEDED)
    assert await kept(store, 6) == [3, 4, 5]


@pytest.mark.parametrize("status", [RunStatus.WAITING, RunStatus.QUEUED])
async def test_a_run_that_is_due_is_never_forgotten(status: RunStatus) -> None:
    store = InMemoryStore(max_finished=1)
    for number in range(5):
        await leave(store.journal(), f"run-{number}", status)
    await leave(store.journal(), "last", RunStatus.SUCCEEDED)
    assert await kept(store, 5) == [0, 1, 2, 3, 4]


async def test_a_run_that_is_being_executed_is_never_forgotten() -> None:
    store = InMemoryStore(max_finished=1)
    claim = await begin(store.journal(), "run-0")
    for number in range(1, 5):
        await leave(store.journal(), f"run-{number}", RunStatus.FAILED)
    await store.journal().commit(claim, commit(row(1)))
    assert await kept(store, 5) == [0, 4]


@pytest.mark.parametrize("mode", [OpenMode.TAKE, OpenMode.RESTART])
async def test_a_finished_run_that_runs_again_is_not_forgotten_meanwhile(mode: OpenMode) -> None:
    store = InMemoryStore(max_finished=1)
    await leave(store.journal(), "run-0", RunStatus.FAILED)
    claim = await store.journal().open(opening("run-0", mode))
    await leave(store.journal(), "run-1", RunStatus.SUCCEEDED)
    await leave(store.journal(), "run-2", RunStatus.SUCCEEDED)
    assert await kept(store, 3) == [0, 2]
    await store.journal().commit(claim, commit(status=RunStatus.SUCCEEDED))
    assert await kept(store, 3) == [0]


async def test_a_run_counts_from_the_time_it_ended_last() -> None:
    store = InMemoryStore(max_finished=2)
    await leave(store.journal(), "run-0", RunStatus.FAILED)
    await leave(store.journal(), "run-1", RunStatus.FAILED)
    claim = await store.journal().open(opening("run-0", OpenMode.TAKE))
    await store.journal().commit(claim, commit(status=RunStatus.SUCCEEDED))
    await leave(store.journal(), "run-2", RunStatus.SUCCEEDED)
    assert await kept(store, 3) == [0, 2]


async def test_a_deleted_run_makes_room() -> None:
    store = InMemoryStore(max_finished=2)
    await leave(store.journal(), "run-0", RunStatus.SUCCEEDED)
    await leave(store.journal(), "run-1", RunStatus.SUCCEEDED)
    await store.delete("run-1")
    await leave(store.journal(), "run-2", RunStatus.SUCCEEDED)
    assert await kept(store, 3) == [0, 2]


async def test_snapshots_of_finished_runs_count_too() -> None:
    store = InMemoryStore(max_finished=1)
    for number in range(3):
        await store.save(checkpoint(f"run-{number}", meta={"status": "succeeded"}))
    assert await kept(store, 3) == [2]


SAVED = {
    "pipeline": "another",
    "status": "succeeded",
    "attempt": 7,
    "head": 7,
    "token": 7,
    "parent": "another",
    "parent_sequence": 7,
    "summary": "told",
}


async def test_a_snapshot_moves_a_run_on_and_leaves_what_it_is_as_it_was() -> None:
    store = InMemoryStore()
    origin = {"parent": "source", "parent_sequence": 3}
    store.journal().release(await store.journal().open(opening("run", **origin)))
    claim = await store.journal().open(opening("run", OpenMode.TAKE))
    await store.journal().commit(claim, commit(row(1), attempt=2, status=RunStatus.FAILED))
    before = await store.journal().run("run")
    await store.save(checkpoint("run", ip=5, meta=SAVED))
    after = await store.journal().run("run")
    assert before is not None
    assert after is not None
    assert after == replace(
        before,
        version=checkpoint("run").pipeline_version,
        status=RunStatus.SUCCEEDED,
        head=2,
        ip=5,
        step=after.step,
        error="told",
        updated_at=after.updated_at,
        finished_at=after.updated_at,
    )
    assert (after.attempt, after.takeovers, after.parent_sequence) == (2, 0, 3)
    assert after.updated_at >= before.updated_at


async def test_a_run_that_begins_with_a_snapshot_is_what_the_snapshot_says() -> None:
    store = InMemoryStore()
    await store.save(checkpoint("run", meta={**SAVED, "status": "waiting"}))
    begun = await store.journal().run("run")
    assert begun is not None
    assert (begun.pipeline, begun.status) == ("another", RunStatus.WAITING)
    assert (begun.parent, begun.parent_sequence) == ("another", 7)
    # The log is this store's own: what it counts begins here.
    assert (begun.attempt, begun.head, begun.token, begun.takeovers) == (1, 0, 0, 0)
    assert begun.created_at == begun.updated_at > MOMENT
    assert begun.finished_at is None


async def test_a_forgotten_run_takes_no_late_commit() -> None:
    store = InMemoryStore(max_finished=1)
    claim = await leave(store.journal(), "run-0", RunStatus.SUCCEEDED)
    await leave(store.journal(), "run-1", RunStatus.SUCCEEDED)
    with pytest.raises(LeaseLostError):
        await store.journal().commit(claim, commit(row(2)))
    assert not await store.exists("run-0")


@pytest.mark.parametrize("max_finished", [0, -1])
def test_keeping_nothing_is_refused(max_finished: int) -> None:
    with pytest.raises(ValueError, match="keep at least 1"):
        InMemoryStore(max_finished=max_finished)


async def test_a_run_to_be_created_needs_its_first_row() -> None:
    store = InMemoryStore()
    with pytest.raises(ValueError, match="start row"):
        await begin(store.journal(), "run", start=None)
    assert not await store.exists("run")


async def test_claims_in_memory_do_not_expire() -> None:
    assert InMemoryStore().journal().leasing is None


@pytest.mark.parametrize("ended", [RunStatus.FAILED, RunStatus.CANCELLED])
async def test_a_run_that_ended_since_it_was_looked_at_is_not_taken(ended: RunStatus) -> None:
    journal = InMemoryStore().journal()
    claim = await begin(journal, "run")
    known = await journal.run("run")
    await journal.commit(claim, commit(row(1), status=ended))
    with pytest.raises(
        RunIDInUseError, match=rf"has ended \({ended}\) since it was looked at"
    ) as it:
        await journal.open(opening("run", OpenMode.TAKE, known=known))
    assert it.value.run_id == "run"
    assert (await journal.open(opening("run", OpenMode.TAKE))).previous is ended


@pytest.mark.parametrize(
    "text",
    [
        '{"writes":[],"route":null}',
        '{"writes":{},"route":5}',
        '{"writes":{},"route":null,"lanes":{"":{"at":0,"values":[],"writes":{}}}}',
        '{"writes":{},"route":null,"lanes":{"":{"at":null,"values":{},"writes":{}}}}',
    ],
)
def test_a_text_that_is_no_body_of_a_row_is_refused(text: str) -> None:
    assert decode_body('{"writes":{},"route":null}').writes == {}
    with pytest.raises(DecodingError, match="This is no row of a run"):
        decode_body(text)
