"""What stands in a row: the bodies of the log, sealed on the way in and checked on the way out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

from fluxio.codec import DEFAULT_CODEC, Codec, Spelling, seal_bound, unseal
from fluxio.codec.envelope import start_of_body
from fluxio.errors import CorruptCheckpointError, DecodingError
from fluxio.store.base import Row, RowKind

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneBody:
    """One open lane of a full row.

    `at` is the key of the instruction the lane stands before (or its number, in a snapshot that was
    written by hand). `values` is the lane's whole context, or None where it follows from the parent
    lane; `writes` is what the lane has set since it was opened.
    """

    at: str | int
    values: Mapping[str, Any] | None
    writes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorBody:
    """A failure as it is kept: the error's type, its message and traceback, both capped."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedBody:
    """That an attempt goes on with what another version recorded.

    `kind` is a value of `PassageKind`; `by` and `reason` are set where somebody forced it.
    """

    version: str
    kind: str
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgottenBody:
    """That values of a row were masked after it was recorded: when (ISO 8601), by whom, and why."""

    at: str
    by: str
    reason: str

    def facts(self) -> list[str]:
        """What stands in the row."""
        return [self.at, self.by, self.reason]


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """The decoded payload of a row.

    `lanes` is set in full rows only; lane "" is the run itself. `saved` is what a snapshot that was
    saved by hand says beyond its state: its `meta` and its `error` flag. `carried` is set where an
    attempt begins with what another version recorded, `forgotten` where values were masked later.
    """

    writes: Mapping[str, Any] = field(default_factory=dict)
    route: str | None = None
    error: ErrorBody | None = None
    lanes: Mapping[str, LaneBody] | None = None
    saved: Mapping[str, Any] | None = None
    carried: CarriedBody | None = None
    forgotten: ForgottenBody | None = None


def encode_body(body: Body, codec: Codec = DEFAULT_CODEC) -> str:
    """A body as canonical ASCII text.

    Raises:
        EncodingError: a value cannot be stored; the path starts with `ctx`.
    """
    # Put together once: a text may be as large as ten megabytes.
    parts = [encode_step(body.writes, body.route, codec)[:-1]]
    if body.error is not None:
        facts = [body.error.type, body.error.message, body.error.traceback]
        parts.append(f',"error":{json.dumps(facts)}')
    if body.carried is not None:
        told = body.carried
        facts = [told.version, told.kind, told.by, told.reason]
        parts.append(f',"carried":{json.dumps(facts)}')
    if body.lanes is not None:
        parts += [",", encode_lanes(body.lanes, codec)]
    if body.saved is not None:
        parts += [',"saved":', codec.encode(body.saved, "checkpoint")]
    if body.forgotten is not None:
        parts.append(f',"forgotten":{json.dumps(body.forgotten.facts())}')
    return "".join([*parts, "}"])


def encode_step(writes: Mapping[str, Any], route: str | None, codec: Codec = DEFAULT_CODEC) -> str:
    """The body of a step that succeeded, which has writes and a route only, as `encode_body` does.

    Raises:
        EncodingError: a value cannot be stored; the path starts with `ctx`.
    """
    told = "null" if route is None else json.dumps(route)
    return f'{{"writes":{codec.encode(writes, "ctx")},"route":{told}}}'


def encode_lanes(lanes: Mapping[str, LaneBody], codec: Codec = DEFAULT_CODEC) -> str:
    """The part of a body's text that holds the whole state."""
    texts = (f"{json.dumps(path)}:{_encode_lane(lane, codec)}" for path, lane in lanes.items())
    return f'"lanes":{{{",".join(texts)}}}'


def _encode_lane(lane: LaneBody, codec: Codec) -> str:
    values = "null" if lane.values is None else codec.encode(lane.values, "ctx")
    writes = codec.encode(lane.writes, "ctx")
    return f'{{"at":{json.dumps(lane.at)},"values":{values},"writes":{writes}}}'


def decode_body(text: str, codec: Codec = DEFAULT_CODEC, *, start: int = 0) -> Body:
    """The body that `encode_body` made, and whose text stands in `text` from `start` on.

    Raises:
        DecodingError: the text does not hold a body.
    """
    facts = codec.decode(text, start=start)
    error, lanes, carried = facts.get("error"), facts.get("lanes"), facts.get("carried")
    forgotten = facts.get("forgotten")
    try:
        return Body(
            writes=_of_type(dict, facts["writes"]),
            route=None if facts["route"] is None else _of_type(str, facts["route"]),
            error=ErrorBody(type=error[0], message=error[1], traceback=error[2]) if error else None,
            lanes=None if lanes is None else {path: _lane(**lane) for path, lane in lanes.items()},
            saved=facts.get("saved"),
            carried=None
            if carried is None
            else CarriedBody(version=carried[0], kind=carried[1], by=carried[2], reason=carried[3]),
            forgotten=None
            if forgotten is None
            else ForgottenBody(at=forgotten[0], by=forgotten[1], reason=forgotten[2]),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as problem:
        raise DecodingError(f"This is no row of a run: {problem!r}", path="") from problem


def _lane(at: Any, values: Any, writes: Any) -> LaneBody:
    return LaneBody(
        at=at if type(at) is int else _of_type(str, at),
        values=None if values is None else _of_type(dict, values),
        writes=_of_type(dict, writes),
    )


def _of_type(kind: type[Result], value: Any) -> Result:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


@dataclass(kw_only=True, slots=True)
class RowFacts:
    """Everything about a row but its payload, as it is put together; see `Row`."""

    run_id: str
    sequence: int
    attempt: int
    kind: RowKind
    ip: int
    version: str
    full: bool
    created_at: datetime
    step: str = ""
    branch: str = ""
    background: bool = False
    tries: int = 0
    duration: float = 0.0

    def bound(self) -> bytes:
        """The facts that the digest covers, so that a row cannot be moved or altered unseen."""
        return _SPELLING.spell(
            (
                self.attempt,
                self.background,
                self.branch,
                self.full,
                self.ip,
                self.kind.value,
                self.run_id,
                self.sequence,
                self.step,
                self.tries,
                self.version,
            )
        )


_SPELLING = Spelling(
    "run_id",
    "sequence",
    "attempt",
    "kind",
    "step",
    "ip",
    "branch",
    "background",
    "version",
    "full",
    "tries",
)


def seal_row(facts: RowFacts, text: str) -> Row:
    """A row that holds `text` (see `encode_body`), bound to its run, place and facts."""
    sealed = seal_bound(text, facts.bound())
    return Row(
        sequence=facts.sequence,
        attempt=facts.attempt,
        kind=facts.kind,
        step=facts.step,
        ip=facts.ip,
        branch=facts.branch,
        background=facts.background,
        version=facts.version,
        full=facts.full,
        payload=sealed.payload,
        digest=sealed.digest,
        duration=facts.duration,
        tries=facts.tries,
        created_at=facts.created_at,
    )


def unsealed_text(run_id: str, row: Row) -> str:
    """The text of a row (see `encode_body`), after its digest was checked.

    Raises:
        CorruptCheckpointError: the row is damaged, moved, or newer than this release.
    """
    try:
        return unseal(row.payload, row.digest, binding_of(run_id, row))
    except CorruptCheckpointError as problem:
        raise _corrupt(run_id, row, problem.reason) from problem


def reseal_row(run_id: str, row: Row, text: str) -> Row:
    """The same row with another text: every other fact, and its place, stay as they are."""
    return seal_row(_facts(run_id, row), text)


def open_row(run_id: str, row: Row) -> Body:
    """The body of a row, after its digest was checked.

    Raises:
        CorruptCheckpointError: the row is damaged, moved, or newer than this release.
    """
    try:
        start = start_of_body(row.payload, row.digest, binding_of(run_id, row))
        body = decode_body(row.payload, start=start)
    except CorruptCheckpointError as problem:
        raise _corrupt(run_id, row, problem.reason) from problem
    except DecodingError as problem:
        raise _corrupt(run_id, row, str(problem)) from problem
    if row.full and body.lanes is None:
        raise _corrupt(run_id, row, "a full row holds no state")
    return body


def open_rows(run_id: str, rows: Sequence[Row]) -> list[Body]:
    """The bodies of consecutive rows.

    Raises:
        CorruptCheckpointError: a row is damaged, or one is missing between the first and the last.
    """
    for before, row in pairwise(rows):
        if row.sequence != before.sequence + 1:
            raise _corrupt(run_id, row, f"row {before.sequence + 1} is missing before it")
    return [open_row(run_id, row) for row in rows]


def binding_of(run_id: str, row: Row) -> dict[str, str | int | bool | None]:
    """The facts about a row that its digest covers, as `RowFacts.bound` spells them."""
    return {
        "run_id": run_id,
        "sequence": row.sequence,
        "attempt": row.attempt,
        "kind": RowKind(row.kind).value,
        "step": row.step,
        "ip": row.ip,
        "branch": row.branch,
        "background": row.background,
        "version": row.version,
        "full": row.full,
        "tries": row.tries,
    }


def _facts(run_id: str, row: Row) -> RowFacts:
    return RowFacts(
        run_id=run_id,
        sequence=row.sequence,
        attempt=row.attempt,
        kind=RowKind(row.kind),
        step=row.step,
        ip=row.ip,
        branch=row.branch,
        background=row.background,
        version=row.version,
        full=row.full,
        tries=row.tries,
        duration=row.duration,
        created_at=row.created_at,
    )


def _corrupt(run_id: str, row: Row, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"Row {row.sequence} of run {run_id!r} cannot be trusted: {reason}. Nothing was run. "
        "Restore the row from a backup, or start the run afresh.",
        run_id=run_id,
        sequence=row.sequence,
        reason=reason,
    )
