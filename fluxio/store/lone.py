"""The journal of a store that has the four methods only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, ref

from fluxio.errors import LeaseLostError, StoreError
from fluxio.program import Manifest
from fluxio.store.admission import check_admission, run_in_use
from fluxio.store.base import (
    Checkpoint,
    CheckpointStore,
    Claim,
    Commit,
    Journal,
    Opening,
    OpenMode,
    Row,
    RowKind,
    RunRecord,
)
from fluxio.store.snapshot import checkpoint_from_rows, record_of, row_from_checkpoint
from fluxio.types import RunStatus

_journals: WeakKeyDictionary[CheckpointStore, Journal] = WeakKeyDictionary()
_lock = Lock()


def open_journal(store: CheckpointStore) -> Journal:
    """The store's own journal, or the one that makes do with four methods; one per store."""
    with _lock:
        journal = _journals.get(store)
        if journal is None:
            journal = store.journal() or SnapshotJournal(store)
            _journals[store] = journal
        return journal


@dataclass(slots=True)
class _Held:
    """A run that is being executed: its claim, and what every snapshot of it repeats in `meta`."""

    claim: Claim
    repeated: dict[str, Any]


class SnapshotJournal:
    """Drives a four-method store: every commit saves a whole snapshot.

    There is no lease: the lock on a run id holds within this process, over all its threads and
    event loops. History is the start of the run and its newest state.
    """

    snapshots_only = True
    transactions = None
    leasing = None

    def __init__(self, store: CheckpointStore) -> None:
        # Weak, since journals are kept by store; the pipeline holds on to the store itself.
        self._store_reference = ref(store)
        self._lock = Lock()
        self._held: dict[str, _Held] = {}
        self._tokens = 0
        self._manifests: dict[tuple[str, str], Manifest] = {}

    @property
    def _store(self) -> CheckpointStore:
        store = self._store_reference()
        assert store is not None
        return store

    async def open(self, opening: Opening) -> Claim:
        """See `Journal.open`."""
        held = self._reserve(opening)
        try:
            await self._admit(opening, held)
        except BaseException:
            self._free(held.claim)
            raise
        return held.claim

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """See `Journal.commit`; the last row is full, and the snapshot is made of it."""
        held = self._held.get(claim.run_id)
        if held is None or held.claim.token != claim.token:
            raise LeaseLostError(
                f"Run {claim.run_id!r} is not owned by this execution any more.",
                run_id=claim.run_id,
                token=claim.token,
            )
        if commit.rows:
            await self._save(held, commit)
        elif commit.status is not RunStatus.RUNNING:
            await self._restamp(claim, commit.status)
        if commit.status is not RunStatus.RUNNING:
            self._free(claim)

    def release(self, claim: Claim) -> None:
        """See `Journal.release`."""
        self._free(claim)

    async def run(self, run_id: str) -> RunRecord | None:
        """See `Journal.run`."""
        checkpoint = await self._store.load(run_id)
        if checkpoint is None:
            return None
        record = record_of(checkpoint)
        if "manifest" in checkpoint.meta:
            manifest = Manifest.from_rows(checkpoint.meta["manifest"])
            self._manifests[record.pipeline, record.version] = manifest
        held = self._held.get(run_id)
        if held is None:
            return record
        return replace(record, owner=held.claim.owner, token=held.claim.token)

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """The start of the run and its newest state: all that a snapshot remembers."""
        checkpoint = await self._store.load(run_id)
        if checkpoint is None:
            return []
        record = record_of(checkpoint)
        found = [row_from_checkpoint(checkpoint, sequence=record.head, attempt=record.attempt)]
        if record.head > 0 and "start" in checkpoint.meta:
            found.insert(0, _row_from_meta(checkpoint.meta["start"]))
        return [
            row for row in found if row.sequence >= first and (last is None or row.sequence <= last)
        ]

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """See `Journal.last_full`."""
        found = await self.rows(run_id, last=upto)
        return found[-1].sequence if found else 0

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest that came with a run that was read before."""
        return self._manifests.get((pipeline, version))

    def _reserve(self, opening: Opening) -> _Held:
        with self._lock:
            holder = self._held.get(opening.run_id)
            if holder is not None:
                raise run_in_use(_busy_record(opening, holder.claim))
            self._tokens += 1
            claim = Claim(
                run_id=opening.run_id,
                token=self._tokens,
                owner=opening.owner,
                attempt=1,
                head=0,
                lease_seconds=opening.lease_seconds,
                previous=RunStatus.QUEUED,
            )
            held = _Held(claim, {})
            self._held[opening.run_id] = held
        return held

    async def _admit(self, opening: Opening, held: _Held) -> None:
        checkpoint = await self._store.load(opening.run_id)
        record = None if checkpoint is None else record_of(checkpoint)
        check_admission(opening, record, busy=False)
        if opening.mode is OpenMode.TAKE:
            assert checkpoint is not None
            assert record is not None
            repeated = ("pipeline", "manifest", "start", "parent", "parent_sequence")
            held.repeated = {
                key: checkpoint.meta[key] for key in repeated if key in checkpoint.meta
            }
            held.claim = replace(
                held.claim, attempt=record.attempt, head=record.head, previous=record.status
            )
            return
        assert opening.start is not None
        held.repeated = {
            "pipeline": opening.pipeline,
            "manifest": opening.manifest.to_rows(),
            "start": _row_to_meta(opening.start),
            "parent": opening.parent,
            "parent_sequence": opening.parent_sequence,
        }
        await self._store.delete(opening.run_id)
        await self._save(held, Commit(rows=(opening.start,), ip=0, step=opening.step, attempt=1))

    async def _save(self, held: _Held, commit: Commit) -> None:
        newest = commit.rows[-1]
        if not newest.full:
            raise StoreError("A four-method store keeps whole snapshots; this row is none.")
        blank = Checkpoint(
            run_id=held.claim.run_id,
            pipeline_version=newest.version,
            ip=newest.ip,
            ctx_snapshot={},
            created_at=newest.created_at,
        )
        record = replace(record_of(blank), status=commit.status, step=commit.step)
        checkpoint = checkpoint_from_rows(record, [newest])
        checkpoint.meta.update(held.repeated, summary=commit.error)
        await self._store.save(checkpoint)

    async def _restamp(self, claim: Claim, status: RunStatus) -> None:
        checkpoint = await self._store.load(claim.run_id)
        if checkpoint is not None:
            await self._store.save(
                replace(checkpoint, meta={**checkpoint.meta, "status": str(status)})
            )

    def _free(self, claim: Claim) -> None:
        with self._lock:
            held = self._held.get(claim.run_id)
            if held is not None and held.claim.token == claim.token:
                del self._held[claim.run_id]


def _busy_record(opening: Opening, claim: Claim) -> RunRecord:
    now = opening.start.created_at if opening.start else datetime.now(UTC)
    blank = Checkpoint(opening.run_id, opening.version, 0, {}, now)
    return replace(record_of(blank), owner=claim.owner, status=RunStatus.RUNNING)


def _row_to_meta(row: Row) -> dict[str, Any]:
    facts = asdict(row)
    return {**facts, "kind": row.kind.value, "created_at": row.created_at.isoformat()}


def _row_from_meta(facts: dict[str, Any]) -> Row:
    known = {**facts, "created_at": datetime.fromisoformat(facts["created_at"])}
    return Row(**{**known, "kind": RowKind(facts["kind"])})
