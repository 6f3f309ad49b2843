"""Translation between the log and whole snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluxio.store.base import Checkpoint, Row, RowKind, RunRecord
from fluxio.store.payload import (
    Body,
    LaneBody,
    RowFacts,
    decode_body,
    encode_body,
    open_rows,
    seal_row,
)
from fluxio.types import RunStatus


def checkpoint_from_rows(record: RunRecord, rows: Sequence[Row]) -> Checkpoint:
    """The newest state of a run as one snapshot.

    `rows` starts with the newest full row. Writes of branches that have not been joined are folded
    into `meta`, not into the context.

    Raises:
        CorruptCheckpointError: a row is damaged.
    """
    bodies = open_rows(record.run_id, rows)
    newest, body = rows[-1], bodies[-1]
    values = fold_values(rows, bodies)
    lanes = body.lanes or {}
    others = {path: lane for path, lane in lanes.items() if path}
    error = body.error
    meta: dict[str, Any] = {
        "pipeline": record.pipeline,
        "status": record.status.value,
        "attempt": newest.attempt,
        "head": newest.sequence,
        "step": record.step,
        "kind": newest.kind.value,
        "at": lanes[""].at if "" in lanes else None,
        "lanes": encode_body(Body(lanes=others)),
    }
    if error is not None:
        meta["error"] = {
            "type": error.type,
            "message": error.message,
            "traceback": error.traceback,
        }
    saved = body.saved or {"meta": meta, "error": newest.error}
    return Checkpoint(
        run_id=record.run_id,
        pipeline_version=record.version,
        ip=newest.ip,
        ctx_snapshot=values,
        created_at=newest.created_at,
        **saved,
    )


def row_from_checkpoint(checkpoint: Checkpoint, *, sequence: int, attempt: int) -> Row:
    """A full START row that holds a snapshot, wherever it came from.

    Raises:
        EncodingError: a value of the snapshot cannot be stored.
        DecodingError: `meta` was altered and does not hold open branches any more.
    """
    lanes = {"": LaneBody(at=_at(checkpoint), values=checkpoint.ctx_snapshot)}
    if "lanes" in checkpoint.meta:
        lanes |= decode_body(checkpoint.meta["lanes"]).lanes or {}
    facts = RowFacts(
        run_id=checkpoint.run_id,
        sequence=sequence,
        attempt=attempt,
        kind=RowKind.START,
        ip=checkpoint.ip,
        version=checkpoint.pipeline_version,
        full=True,
        created_at=checkpoint.created_at,
    )
    saved = {"meta": checkpoint.meta, "error": checkpoint.error}
    return seal_row(facts, encode_body(Body(lanes=lanes, saved=saved)))


def _at(checkpoint: Checkpoint) -> str | int:
    at = checkpoint.meta.get("at")
    return checkpoint.ip if at is None else at


def fold_values(rows: Sequence[Row], bodies: Sequence[Body]) -> dict[str, Any]:
    """The run's context after the last of consecutive rows; needs no program.

    Starts at the newest full row. Writes of a branch wait until the run's own instruction pointer
    moves, for then the branches were merged; FIRE_FORGET branches are never merged.
    """
    first = max(at for at, row in enumerate(rows) if row.full)
    values: dict[str, Any] = {}
    pending: dict[str, Any] = {}
    pointer = rows[first].ip
    for row, body in zip(rows[first:], bodies[first:], strict=True):
        if body.lanes is not None:
            values = dict(body.lanes[""].values or {})
            pending = {}
            for path, lane in body.lanes.items():
                if path and lane.values is None:
                    pending.update(lane.writes)
        elif row.kind is RowKind.STEP and not row.background:
            pending.update(body.writes)
        if row.ip != pointer or (row.kind is RowKind.STEP and not row.branch):
            values |= pending
            pending = {}
        pointer = row.ip
    return values


def record_of(checkpoint: Checkpoint) -> RunRecord:
    """The run's record as far as a snapshot tells it."""
    meta = checkpoint.meta
    return RunRecord(
        run_id=checkpoint.run_id,
        pipeline=str(meta.get("pipeline", "")),
        version=checkpoint.pipeline_version,
        status=RunStatus(meta.get("status", RunStatus.WAITING)),
        attempt=int(meta.get("attempt", 1)),
        head=int(meta.get("head", 0)),
        ip=checkpoint.ip,
        step=str(meta.get("step", "")),
        token=int(meta.get("token", 0)),
        owner=None,
        lease_expires_at=None,
        takeovers=0,
        parent=meta.get("parent"),
        parent_sequence=meta.get("parent_sequence"),
        error=str(meta.get("summary", "")),
        created_at=checkpoint.created_at,
        updated_at=checkpoint.created_at,
        finished_at=None,
    )
