"""Who may take a run: the rules that every journal applies once it holds the run's record."""

from __future__ import annotations

from fluxio.errors import (
    CheckpointVersionError,
    ForeignRunError,
    NoCheckpointError,
    RunIDInUseError,
    SourceChangedError,
)
from fluxio.store.base import Opening, OpenMode, RunRecord
from fluxio.types import RunStatus

_UNFINISHED = frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.DEAD})


def check_admission(opening: Opening, record: RunRecord | None, *, busy: bool) -> None:
    """Refuse an opening that the record forbids; `busy` says that somebody executes the run.

    A record without a pipeline name (a snapshot written by hand) belongs to whoever asks.

    Raises:
        NoCheckpointError: TAKE of an unknown run.
        ForeignRunError: the run belongs to another pipeline.
        RunIDInUseError: somebody executes it, CREATE found it there, or it has failed, been
            cancelled or given up since the caller saw it open: that is not his to undo. So is a
            run that somebody else took since, and lost: another takeover may be one too many. And
            one that has to be as it was known, and is not.
        CheckpointVersionError: TAKE of a run that other code recorded.
    """
    if record is None:
        if opening.mode is OpenMode.TAKE:
            raise no_checkpoint(opening.run_id)
        return
    if record.pipeline not in ("", opening.pipeline):
        raise foreign_run(opening.pipeline, record)
    if busy:
        raise run_in_use(record)
    if opening.mode is OpenMode.CREATE:
        raise run_exists(record)
    known = opening.known
    if known is not None and known.status.is_open and record.status in _UNFINISHED:
        raise run_has_ended(record)
    if known is not None and record.status is RunStatus.RUNNING and record.token != known.token:
        raise run_was_taken(record)
    if known is not None and opening.as_known and _marks(record) != _marks(known):
        raise run_has_changed(record)
    if opening.mode is OpenMode.TAKE and record.version not in (opening.version, opening.carries):
        raise version_changed(record, opening.version, ())


def _marks(record: RunRecord) -> tuple[object, ...]:
    """What changes when a run is taken, begun anew or ended; a store may have no tokens."""
    return record.token, record.status, record.created_at


def no_checkpoint(run_id: str) -> NoCheckpointError:
    """The error for a run nobody has recorded."""
    return NoCheckpointError(
        f"No run {run_id!r} is recorded. Start it without resume=True, or check the id.",
        run_id=run_id,
    )


def foreign_run(pipeline: str, record: RunRecord) -> ForeignRunError:
    """The error for an id that another pipeline uses."""
    return ForeignRunError(
        f"Run {record.run_id!r} belongs to pipeline {record.pipeline!r}, not to "
        f"{pipeline!r}. Nothing was changed; use another run id.",
        run_id=record.run_id,
        owner=record.owner,
        lease_expires_at=record.lease_expires_at,
        pipeline=record.pipeline,
    )


def run_in_use(record: RunRecord) -> RunIDInUseError:
    """The error for a run that somebody executes."""
    until = record.lease_expires_at
    lease = "" if until is None else f"; its lease ends at {until.isoformat(timespec='seconds')}"
    doing = f"is being executed by {record.owner}{lease}"
    return _refused(record, f"{doing}. Wait for it to end, or use another run id.")


def run_exists(record: RunRecord) -> RunIDInUseError:
    """The error for an id that is taken, though nobody executes the run."""
    return _refused(record, f"exists already ({record.status}). Resume it, or use another id.")


def run_has_ended(record: RunRecord) -> RunIDInUseError:
    """The error for a run that somebody brought to its end before it could be taken."""
    ended = f"has ended ({record.status}) since it was looked at"
    return _refused(record, f"{ended}. Look at it again, and resume it if it is to go on.")


def run_was_taken(record: RunRecord) -> RunIDInUseError:
    """The error for a run that had another owner since the caller looked at it."""
    return _refused(
        record, f"was taken by {record.owner} since it was looked at. Look at it again."
    )


def run_has_changed(record: RunRecord) -> RunIDInUseError:
    """The error for a run that somebody took, began anew or changed since it was looked at."""
    return _refused(record, f"has changed since it was looked at ({record.status}). Try again.")


def source_changed(run_id: str, parent: str) -> SourceChangedError:
    """The error for a fork whose source is no longer as it was when its state was read."""
    return SourceChangedError(
        f"Run {parent!r} has changed since its state was read, so that {run_id!r} was not made of "
        "it. Try again, and outside of the surrounding transaction if that reads what was there "
        "when it began (REPEATABLE READ)."
    )


def _refused(record: RunRecord, why: str) -> RunIDInUseError:
    return RunIDInUseError(
        f"Run {record.run_id!r} {why}",
        run_id=record.run_id,
        owner=record.owner,
        lease_expires_at=record.lease_expires_at,
    )


def version_changed(
    record: RunRecord, current: str, changes: tuple[str, ...]
) -> CheckpointVersionError:
    """The error for a run that other code recorded; `changes` says what differs."""
    listed = "".join(f"\n  {line}" for line in changes)
    return CheckpointVersionError(
        f"Run {record.run_id!r} was recorded by version {record.version} of pipeline "
        f"{record.pipeline!r}; the code at hand is version {current}. Nothing was run. Deploy the "
        f"code it was recorded with, or start it afresh.{listed}",
        run_id=record.run_id,
        stored=record.version,
        current=current,
        changes=changes,
    )
