"""Checkpoints in this process's memory: for tests, and for services of one process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from threading import Lock

from fluxio.codec import Keyring
from fluxio.errors import CheckpointVersionError
from fluxio.program import Manifest
from fluxio.store import refusals
from fluxio.store.admission import check_admission, no_checkpoint, run_in_use, version_changed
from fluxio.store.base import (
    Checkpoint,
    CheckpointStore,
    Claim,
    Commit,
    Journal,
    Opening,
    OpenMode,
    Row,
    RunRecord,
)
from fluxio.store.snapshot import checkpoint_from_rows, record_of, row_from_checkpoint
from fluxio.store.vault import lock_row, lock_rows, unlock_rows
from fluxio.types import RunStatus


class InMemoryStore(CheckpointStore):
    """Keeps runs in a dict of this process; usable from many threads and event loops at once.

    Unfinished runs always stay. Of the finished ones, the `max_finished` that ended last stay. With
    a `keyring` rows are kept signed or encrypted.

    Raises:
        ValueError: `max_finished` is less than 1.
    """

    def __init__(self, max_finished: int = 1000, *, keyring: Keyring | None = None) -> None:
        if max_finished < 1:
            raise ValueError(f"max_finished is {max_finished}; keep at least 1 finished run.")
        self._journal = MemoryJournal(max_finished, keyring)

    def journal(self) -> Journal:
        """The journal, which works on the same runs as the four methods."""
        return self._journal

    async def save(self, checkpoint: Checkpoint) -> None:
        """Append the whole state to the run's log, beginning it where the run is unknown.

        Raises:
            RunIDInUseError: the run is being executed.
        """
        self._journal.append_snapshot(checkpoint)

    async def load(self, run_id: str) -> Checkpoint | None:
        """The newest checkpoint of a run, None where there is none.

        Raises:
            CorruptCheckpointError: what is kept is not what was written.
        """
        found = self._journal.newest_state(run_id)
        return None if found is None else checkpoint_from_rows(*found)

    async def delete(self, run_id: str) -> None:
        """Forget a run; whoever executes it loses it. Unknown ids are fine."""
        self._journal.forget(run_id)

    async def exists(self, run_id: str) -> bool:
        """Whether the run is kept."""
        return await self._journal.run(run_id) is not None


@dataclass(slots=True)
class _Log:
    """One run: its record and its rows, whose list index is their sequence."""

    record: RunRecord
    rows: list[Row]


class MemoryJournal:
    """The journal of an `InMemoryStore`.

    Every method does plain work on dicts under a lock that is never held across an await. Claims
    live as long as the process, so nobody takes over from a dead owner. Tokens come from one
    counter for all runs: they grow even over a run that was deleted and made again.
    """

    snapshots_only = False
    transactions = None
    leasing = None

    def __init__(self, max_finished: int, keyring: Keyring | None = None) -> None:
        self._max_finished = max_finished
        self._keyring = keyring
        self._lock = Lock()
        self._tokens = count(1)
        self._logs: dict[str, _Log] = {}
        self._finished: dict[str, None] = {}
        self._manifests: dict[tuple[str, str], Manifest] = {}

    async def open(self, opening: Opening) -> Claim:
        """Take a run; see `Journal.open` for what is refused."""
        with self._lock:
            log = self._logs.get(opening.run_id)
            self._admit(opening, None if log is None else log.record)
            self._manifests.setdefault((opening.pipeline, opening.version), opening.manifest)
            if log is None or opening.mode is not OpenMode.TAKE:
                return self._begin(opening)
            return self._take(opening, log)

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """Append rows and move the record; see `Journal.commit` for what is refused."""
        with self._lock:
            log = self._logs.get(claim.run_id)
            if log is None:
                raise refusals.run_vanished(claim)
            if (log.record.token, log.record.owner) != (claim.token, claim.owner):
                raise refusals.lease_lost(claim)
            expected = log.record.head + 1
            for sequence, row in enumerate(commit.rows, start=expected):
                if row.sequence != sequence:
                    raise refusals.out_of_order(claim.run_id, log.record.head, row.sequence)
            log.rows.extend(lock_rows(claim.run_id, commit.rows, self._keyring))
            self._record(_after_commit(log.record, commit))

    def release(self, claim: Claim) -> None:
        """Free a run whose execution is over without having said so in a commit."""
        with self._lock:
            log = self._logs.get(claim.run_id)
            if log is not None and (log.record.token, log.record.owner) == (
                claim.token,
                claim.owner,
            ):
                log.record = replace(log.record, owner=None)

    async def run(self, run_id: str) -> RunRecord | None:
        """The record of a run, None where it is unknown."""
        with self._lock:
            log = self._logs.get(run_id)
            return None if log is None else log.record

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """Rows with `first <= sequence <= last`, ascending."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                return []
            rows = log.rows[max(first, 0) : None if last is None else max(last + 1, 0)]
        return unlock_rows(run_id, rows, self._keyring)

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """The sequence of the newest full row at or before `upto`.

        Raises:
            NoCheckpointError: the run is unknown, or has no such row.
        """
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                raise no_checkpoint(run_id)
            return _last_full(log, upto)

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest recorded for a version, if it is known."""
        with self._lock:
            return self._manifests.get((pipeline, version))

    def append_snapshot(self, checkpoint: Checkpoint) -> None:
        """Keep a whole state as the newest row of its run, without a claim.

        Raises:
            RunIDInUseError: the run is being executed.
        """
        with self._lock:
            log = self._logs.get(checkpoint.run_id)
            old = None if log is None else log.record
            if old is not None and old.owner is not None:
                raise run_in_use(old)
            row = row_from_checkpoint(
                checkpoint,
                sequence=0 if old is None else old.head + 1,
                attempt=1 if old is None else old.attempt,
            )
            record = _after_snapshot(old, checkpoint, row)
            if log is None:
                log = self._logs[record.run_id] = _Log(record, [])
            log.rows.append(lock_row(checkpoint.run_id, row, self._keyring))
            self._record(record)

    def newest_state(self, run_id: str) -> tuple[RunRecord, list[Row]] | None:
        """The record of a run and the rows its newest state is made of."""
        with self._lock:
            log = self._logs.get(run_id)
            if log is None:
                return None
            rows = log.rows[_last_full(log, None) :]
            if not rows or rows[-1].sequence != log.record.head:
                raise refusals.row_damaged(run_id, log.record.head, "is missing")
            record = log.record
        return record, unlock_rows(run_id, rows, self._keyring)

    def forget(self, run_id: str) -> None:
        """Drop a run and its rows; unknown ids are fine."""
        with self._lock:
            self._logs.pop(run_id, None)
            self._finished.pop(run_id, None)

    def _admit(self, opening: Opening, found: RunRecord | None) -> None:
        try:
            check_admission(opening, found, busy=found is not None and found.owner is not None)
        except CheckpointVersionError:
            assert found is not None
            recorded = self._manifests.get((opening.pipeline, found.version))
            changes = recorded.changes_to(opening.manifest) if recorded is not None else ()
            raise version_changed(found, opening.version, changes) from None

    def _begin(self, opening: Opening) -> Claim:
        if opening.start is None:
            raise ValueError(f"Opening {opening.run_id!r} needs a start row to create the run.")
        record = _begun(opening, opening.start, token=next(self._tokens))
        start = lock_row(opening.run_id, opening.start, self._keyring)
        self._logs[opening.run_id] = _Log(record, [start])
        self._finished.pop(opening.run_id, None)
        return _claim(record, opening, RunStatus.QUEUED)

    def _take(self, opening: Opening, log: _Log) -> Claim:
        previous = log.record.status
        self._record(
            replace(
                log.record,
                pipeline=opening.pipeline,
                status=RunStatus.RUNNING,
                owner=opening.owner,
                token=next(self._tokens),
                takeovers=log.record.takeovers + (previous is RunStatus.RUNNING),
                updated_at=datetime.now(UTC),
                finished_at=None,
            )
        )
        return _claim(log.record, opening, previous)

    def _record(self, record: RunRecord) -> None:
        """Keep the new record of a known run, and forget the runs that ended too long ago."""
        self._logs[record.run_id].record = record
        self._finished.pop(record.run_id, None)
        if record.finished_at is None:
            return
        self._finished[record.run_id] = None
        while len(self._finished) > self._max_finished:
            oldest = next(iter(self._finished))
            del self._finished[oldest], self._logs[oldest]


def _last_full(log: _Log, upto: int | None) -> int:
    for row in reversed(log.rows):
        if row.full and (upto is None or row.sequence <= upto):
            return row.sequence
    raise no_checkpoint(log.record.run_id)


def _begun(opening: Opening, start: Row, token: int) -> RunRecord:
    now = datetime.now(UTC)
    return RunRecord(
        run_id=opening.run_id,
        pipeline=opening.pipeline,
        version=opening.version,
        status=RunStatus.RUNNING,
        attempt=start.attempt,
        head=start.sequence,
        ip=start.ip,
        step=opening.step,
        token=token,
        owner=opening.owner,
        lease_expires_at=None,
        takeovers=0,
        parent=opening.parent,
        parent_sequence=opening.parent_sequence,
        error="",
        created_at=now,
        updated_at=now,
        finished_at=None,
    )


def _claim(record: RunRecord, opening: Opening, previous: RunStatus) -> Claim:
    return Claim(
        run_id=record.run_id,
        token=record.token,
        owner=opening.owner,
        attempt=record.attempt,
        head=record.head,
        lease_seconds=opening.lease_seconds,
        previous=previous,
    )


def _after_commit(record: RunRecord, commit: Commit) -> RunRecord:
    now = datetime.now(UTC)
    return replace(
        record,
        version=commit.rows[-1].version if commit.rows else record.version,
        status=commit.status,
        attempt=commit.attempt,
        head=record.head + len(commit.rows),
        ip=commit.ip,
        step=commit.step,
        owner=record.owner if commit.status is RunStatus.RUNNING else None,
        takeovers=0 if commit.rows else record.takeovers,
        error=commit.error,
        updated_at=now,
        finished_at=None if commit.status.is_open else now,
    )


def _after_snapshot(record: RunRecord | None, checkpoint: Checkpoint, row: Row) -> RunRecord:
    now = datetime.now(UTC)
    told = record_of(checkpoint)
    old = told if record is None else record
    return replace(
        told,
        pipeline=old.pipeline,
        attempt=row.attempt,
        head=row.sequence,
        token=0 if record is None else record.token,
        takeovers=old.takeovers,
        parent=old.parent,
        parent_sequence=old.parent_sequence,
        created_at=now if record is None else record.created_at,
        updated_at=now,
        finished_at=None if told.status.is_open else now,
    )
