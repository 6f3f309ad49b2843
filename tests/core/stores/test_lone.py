"""A store of four methods gets one journal, one owner per run, and whole snapshots."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fluxio import Context, Pipeline, stage
from fluxio.errors import LeaseLostError, RunIDInUseError, StoreError
from fluxio.store.base import Claim, Journal, OpenMode, Row, RowKind
from fluxio.store.lone import SnapshotJournal, open_journal
from fluxio.store.memory import InMemoryStore
from fluxio.store.payload import Body, LaneBody, RowFacts, encode_body, seal_row
from fluxio.testing.conformance.samples import (
    MANIFEST,
    MOMENT,
    OWNER,
    PIPELINE,
    VERSION,
    begin,
    checkpoint,
    commit,
    opening,
    row,
)
from fluxio.types import RunStatus
from tests.core.stores.toy import ToyStore


def full_row(order: int, sequence: int = 0) -> Row:
    """A whole state, as the runtime writes it."""
    facts = RowFacts(
        run_id="r",
        sequence=sequence,
        attempt=1,
        kind=RowKind.STEP if sequence else RowKind.START,
        step="reserve" if sequence else "",
        ip=sequence,
        version=VERSION,
        full=True,
        created_at=MOMENT,
    )
    lanes = {"": LaneBody(at="reserve", values={"order": order})}
    return seal_row(facts, encode_body(Body(lanes=lanes)))


async def begun(journal: Journal, **facts: Any) -> Claim:
    """Create run "r" and own it."""
    return await begin(journal, "r", start=full_row(7), **facts)


@pytest.fixture
def store() -> ToyStore:
    return ToyStore()


@pytest.fixture
def journal(store: ToyStore) -> Journal:
    return open_journal(store)


def test_a_store_has_one_journal_for_as_long_as_it_lives() -> None:
    store = ToyStore()
    journal = open_journal(store)
    assert isinstance(journal, SnapshotJournal)
    assert open_journal(store) is journal
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(open_journal, store).result() is journal
    assert open_journal(ToyStore()) is not journal
    del store
    gc.collect()
    with pytest.raises(AssertionError):
        _ = journal._store


def test_a_store_with_a_journal_of_its_own_keeps_it() -> None:
    store = InMemoryStore()
    assert open_journal(store) is store.journal()


async def test_the_journal_says_what_it_cannot_do(journal: Journal) -> None:
    assert (journal.snapshots_only, journal.transactions, journal.leasing) == (True, None, None)


async def test_a_new_run_is_saved_before_anything_runs(store: ToyStore, journal: Journal) -> None:
    claim = await begun(journal)
    assert (claim.attempt, claim.head, claim.previous) == (1, 0, RunStatus.QUEUED)
    saved = store.checkpoints["r"]
    assert (saved.ctx_snapshot, saved.ip, saved.pipeline_version) == ({"order": 7}, 0, VERSION)
    assert saved.meta["status"] == "running"
    assert saved.meta["step"] == "reserve"
    record = await journal.run("r")
    assert record is not None
    assert (record.owner, record.token, record.pipeline) == (OWNER, claim.token, PIPELINE)
    assert record.status is RunStatus.RUNNING


async def test_only_one_owner_at_a_time(journal: Journal) -> None:
    claim = await begun(journal)
    for mode in OpenMode:
        with pytest.raises(RunIDInUseError) as caught:
            await journal.open(opening("r", mode))
        assert caught.value.owner == OWNER
    await begin(journal, "other")
    journal.release(claim)
    taken = await journal.open(opening("r", OpenMode.TAKE))
    assert taken.token != claim.token
    assert taken.previous is RunStatus.RUNNING


async def test_a_spent_claim_frees_nobody_and_writes_nothing(journal: Journal) -> None:
    old = await begun(journal)
    journal.release(old)
    heir = await journal.open(opening("r", OpenMode.TAKE))
    journal.release(old)
    with pytest.raises(LeaseLostError) as caught:
        await journal.commit(old, commit(full_row(8, 1)))
    assert (caught.value.run_id, caught.value.token) == ("r", old.token)
    with pytest.raises(RunIDInUseError):
        await journal.open(opening("r", OpenMode.TAKE))
    journal.release(heir)
    with pytest.raises(LeaseLostError):
        await journal.commit(heir, commit(status=RunStatus.FAILED))


async def test_a_refused_opening_leaves_the_run_free(journal: Journal) -> None:
    claim = await begun(journal)
    await journal.commit(claim, commit(status=RunStatus.FAILED))
    with pytest.raises(RunIDInUseError, match="exists already"):
        await begun(journal)
    await journal.open(opening("r", OpenMode.TAKE))


async def test_a_row_that_is_no_snapshot_is_refused(journal: Journal, store: ToyStore) -> None:
    claim = await begun(journal)
    before = store.checkpoints["r"]
    with pytest.raises(StoreError, match="whole snapshots"):
        await journal.commit(claim, commit(row(1)))
    assert store.checkpoints["r"] is before


async def test_a_commit_without_rows_changes_the_status_only(
    journal: Journal, store: ToyStore
) -> None:
    claim = await begun(journal)
    before = store.checkpoints["r"]
    await journal.commit(claim, commit())
    assert store.checkpoints["r"] is before
    with pytest.raises(RunIDInUseError):
        await journal.open(opening("r", OpenMode.TAKE))
    await journal.commit(claim, commit(status=RunStatus.CANCELLED))
    after = store.checkpoints["r"]
    assert after == replace(before, meta={**before.meta, "status": "cancelled"})
    assert (await journal.open(opening("r", OpenMode.TAKE))).previous is RunStatus.CANCELLED


async def test_a_run_that_was_deleted_meanwhile_is_not_brought_back(
    journal: Journal, store: ToyStore
) -> None:
    claim = await begun(journal)
    await store.delete("r")
    await journal.commit(claim, commit(status=RunStatus.CANCELLED))
    assert store.checkpoints == {}
    await begun(journal)


async def test_a_commit_that_ends_the_run_frees_it(journal: Journal, store: ToyStore) -> None:
    claim = await begun(journal)
    newest = full_row(8, 1)
    await journal.commit(claim, commit(newest, status=RunStatus.FAILED, error="ValueError: x"))
    record = await journal.run("r")
    assert record is not None
    assert (record.status, record.error, record.owner) == (RunStatus.FAILED, "ValueError: x", None)
    assert (record.head, record.step) == (1, "pick/premium/charge")
    assert (await journal.open(opening("r", OpenMode.TAKE))).head == 1


async def test_the_start_and_the_newest_state_are_all_the_history_there_is(
    journal: Journal,
) -> None:
    claim = await begun(journal)
    assert [found.sequence for found in await journal.rows("r")] == [0]
    assert await journal.last_full("r") == 0
    for sequence in (1, 2):
        newest = full_row(sequence, sequence)
        await journal.commit(claim, commit(newest))
    assert [found.sequence for found in await journal.rows("r")] == [0, 2]
    assert (await journal.rows("r"))[0] == full_row(7)
    assert [found.sequence for found in await journal.rows("r", first=1)] == [2]
    assert [found.sequence for found in await journal.rows("r", last=1)] == [0]
    assert await journal.last_full("r") == 2
    assert await journal.last_full("r", upto=1) == 0


async def test_a_run_that_nobody_recorded_has_no_rows(journal: Journal) -> None:
    assert await journal.rows("nobody") == []
    assert await journal.last_full("nobody") == 0
    assert await journal.run("nobody") is None
    assert await journal.manifest(PIPELINE, VERSION) is None


async def test_a_manifest_is_known_once_a_run_of_it_was_read(journal: Journal) -> None:
    await begun(journal)
    await journal.run("r")
    assert await journal.manifest(PIPELINE, VERSION) == MANIFEST
    assert await journal.manifest(PIPELINE, "other") is None


async def test_what_a_taken_run_repeats_in_its_snapshots_stays(
    journal: Journal, store: ToyStore
) -> None:
    claim = await begun(journal, parent="source", parent_sequence=3)
    first = store.checkpoints["r"].meta
    await journal.commit(claim, commit(status=RunStatus.FAILED))
    heir = await journal.open(opening("r", OpenMode.TAKE))
    await journal.commit(heir, commit(full_row(8, 1)))
    later = store.checkpoints["r"].meta
    for key in ("pipeline", "manifest", "start", "parent", "parent_sequence"):
        assert later[key] == first[key], key
    record = await journal.run("r")
    assert record is not None
    assert (record.parent, record.parent_sequence) == ("source", 3)


async def test_a_restart_forgets_the_run_before_it_begins(
    journal: Journal, store: ToyStore
) -> None:
    await store.save(checkpoint("r", {"old": True}, meta={"pipeline": PIPELINE, "head": 9}))
    claim = await journal.open(opening("r", OpenMode.RESTART))
    assert claim.head == 0
    assert store.checkpoints["r"].ctx_snapshot == {"order": 7}


async def test_a_snapshot_without_a_start_is_its_only_row(
    journal: Journal, store: ToyStore
) -> None:
    await store.save(checkpoint("r", {"old": True}, meta={"head": 9}))
    assert [found.sequence for found in await journal.rows("r")] == [9]
    facts: dict[str, Any] = {"mode": OpenMode.TAKE}
    assert (await journal.open(opening("r", **facts))).head == 9


async def test_the_history_of_a_run_is_told_though_rows_are_missing_between() -> None:
    @stage
    async def first(ctx: Context) -> Context:
        return ctx.set("first", 1)

    @stage
    async def second(ctx: Context) -> Context:
        return ctx.set("second", 2)

    pipeline = Pipeline([first, second], durable=True, checkpoint_store=ToyStore())
    await pipeline.invoke({}, run_id="r")
    history = await pipeline.history("r")
    assert [entry.sequence for entry in history] == [0, 2]
