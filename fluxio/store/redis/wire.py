"""How rows and records look inside Redis, in both directions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fluxio.store import refusals
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.types import RunStatus

Answer = bytes | str | int | None

RECORD_FIELDS = (
    "pipeline",
    "version",
    "status",
    "attempt",
    "head",
    "ip",
    "step",
    "token",
    "owner",
    "lease",
    "takeovers",
    "parent",
    "parent_sequence",
    "error",
    "created",
    "updated",
    "finished",
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_bytes(text: str) -> bytes:
    """UTF-8 in which lone surrogates survive, since stage names and errors may hold any text."""
    return text.encode("utf-8", "surrogatepass")


def to_text(answer: Answer) -> str:
    """What `to_bytes` made; clients that decode answers themselves are fine too."""
    if isinstance(answer, bytes):
        return answer.decode("utf-8", "surrogatepass")
    return "" if answer is None else str(answer)


def to_time(answer: Answer) -> datetime | None:
    """A moment from whole microseconds since 1970, None from empty text."""
    text = to_text(answer)
    return _EPOCH + timedelta(microseconds=int(text)) if text else None


def dump_row(row: Row) -> bytes:
    """A row as one line of JSON facts and, after it, the payload as it is."""
    facts = [
        row.sequence,
        row.attempt,
        row.kind.value,
        row.step,
        row.ip,
        row.branch,
        row.background,
        row.version,
        row.full,
        row.digest,
        row.duration,
        row.tries,
        row.created_at.isoformat(),
    ]
    return to_bytes(f"{json.dumps(facts)}\n{row.payload}")


def load_row(run_id: str, sequence: int, answer: Answer) -> Row:
    """The row that is stored under this number.

    Raises:
        CorruptCheckpointError: it is missing, another one, or no row at all.
    """
    if answer is None:
        raise refusals.row_damaged(run_id, sequence, "is missing")
    try:
        line, _, payload = to_text(answer).partition("\n")
        row = _row(json.loads(line), payload)
    except (ValueError, TypeError) as problem:
        raise refusals.row_damaged(run_id, sequence, "is damaged") from problem
    if row.sequence != sequence:
        raise refusals.row_damaged(run_id, sequence, f"holds row {row.sequence}")
    return row


def _row(facts: Sequence[Any], payload: str) -> Row:
    sequence, attempt, kind, step, ip, branch, background, version, full, *rest = facts
    digest, duration, tries, created_at = rest
    return Row(
        sequence=sequence,
        attempt=attempt,
        kind=RowKind(kind),
        step=step,
        ip=ip,
        branch=branch,
        background=background,
        version=version,
        full=full,
        payload=payload,
        digest=digest,
        duration=duration,
        tries=tries,
        created_at=datetime.fromisoformat(created_at),
    )


def load_record(run_id: str, answers: Sequence[Answer]) -> RunRecord | None:
    """The record from the values of `RECORD_FIELDS`; None where the run is unknown.

    Raises:
        CorruptCheckpointError: a field is missing or makes no sense.
    """
    told = dict(zip(RECORD_FIELDS, answers, strict=True))
    if all(answer is None for answer in answers):
        return None
    try:
        return _record(run_id, told)
    except (ValueError, TypeError) as problem:
        reason = "cannot be reached, for the run's record is damaged"
        raise refusals.row_damaged(run_id, 0, reason) from problem


def _record(run_id: str, told: dict[str, Answer]) -> RunRecord:
    text = {name: to_text(answer) for name, answer in told.items()}
    created, updated = to_time(told["created"]), to_time(told["updated"])
    if created is None or updated is None:
        raise ValueError("a run has a beginning")
    return RunRecord(
        run_id=run_id,
        pipeline=text["pipeline"],
        version=text["version"],
        status=RunStatus(text["status"]),
        attempt=int(text["attempt"]),
        head=int(text["head"]),
        ip=int(text["ip"]),
        step=text["step"],
        token=int(text["token"]),
        owner=text["owner"] or None,
        lease_expires_at=to_time(told["lease"]),
        takeovers=int(text["takeovers"]),
        parent=text["parent"] or None,
        parent_sequence=int(text["parent_sequence"]) if text["parent_sequence"] else None,
        error=text["error"],
        created_at=created,
        updated_at=updated,
        finished_at=to_time(told["finished"]),
    )
