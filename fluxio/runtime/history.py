"""Reads a run's log: its states, its values at any moment, and who wrote what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fluxio.context import Context
from fluxio.errors import CorruptCheckpointError, FluxioError, NoCheckpointError, StoreError
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.machine import Position, State
from fluxio.store.admission import no_checkpoint
from fluxio.store.base import Journal, Row, RowKind, RunRecord
from fluxio.store.payload import (
    Body,
    CarriedBody,
    ErrorBody,
    ForgottenBody,
    LaneBody,
    open_rows,
)
from fluxio.store.snapshot import fold_values

CHANGES = 10
"""How often a run may change between its record being read and its rows, or a fork made of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryEntry:
    """One row of a run's log, decoded; `ip` is the run's instruction pointer after it.

    `duration` is in seconds, `tries` counts attempts of the step, `size` is bytes as stored.
    `version` is the code that recorded the row; `carried` says how a run came to it from another,
    `forgotten` that values of it were masked since.
    """

    sequence: int
    attempt: int
    kind: RowKind
    step: str
    branch: str
    background: bool
    ip: int
    writes: Mapping[str, Any]
    route: str | None
    error: ErrorBody | None
    tries: int
    duration: float
    size: int
    created_at: datetime
    version: str = ""
    carried: CarriedBody | None = None
    forgotten: ForgottenBody | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """Consecutive rows of a run, the first of them full, with their bodies."""

    run_id: str
    rows: Sequence[Row]
    bodies: Sequence[Body]

    @classmethod
    def open(cls, run_id: str, rows: Sequence[Row]) -> Log:
        """Check and decode rows.

        Raises:
            CorruptCheckpointError: a row is damaged or missing.
        """
        if not rows or not rows[0].full:
            raise CorruptCheckpointError(
                f"Run {run_id!r} has no full row to start from. Nothing was run.",
                run_id=run_id,
                sequence=rows[0].sequence if rows else 0,
                reason="no full row to start from",
            )
        return cls(run_id, rows, open_rows(run_id, rows))

    def entries(self) -> list[HistoryEntry]:
        """The rows as people read them."""
        return [
            HistoryEntry(
                sequence=row.sequence,
                attempt=row.attempt,
                kind=row.kind,
                step=row.step,
                branch=row.branch,
                background=row.background,
                ip=row.ip,
                writes=body.writes,
                route=body.route,
                error=body.error,
                tries=row.tries,
                duration=row.duration,
                size=row.size,
                created_at=row.created_at,
                version=row.version,
                carried=body.carried,
                forgotten=body.forgotten,
            )
            for row, body in zip(self.rows, self.bodies, strict=True)
        ]

    def values(self) -> dict[str, Any]:
        """The run's context after the last row; needs no program."""
        return fold_values(self.rows, self.bodies)

    def provenance(self) -> dict[str, int]:
        """For each key of the context, the sequence of the row that set it last."""
        origin: dict[str, int] = {}
        for row, body in zip(self.rows, self.bodies, strict=True):
            if row.kind is RowKind.START and body.lanes is not None:
                known = body.lanes[""].values or {}
                origin = {key: origin.get(key, row.sequence) for key in known}
            elif row.kind is RowKind.STEP and not row.background:
                origin.update(dict.fromkeys(body.writes, row.sequence))
        return origin

    def states(self, program: CompiledPipeline, foreign: str = "") -> Iterator[tuple[int, State]]:
        """The state after each row, with the row's sequence.

        Where the run was carried over to this program, that is from there on. Rows that version
        `foreign` recorded are followed by their step keys: their instruction pointers mean nothing
        in this program.

        Raises:
            CorruptCheckpointError: a row points to nowhere in the program.
        """
        state: State = {}
        first = self._first_of(program.version)
        for row, body in zip(self.rows[first:], self.bodies[first:], strict=True):
            try:
                state = _after(program, state, row, body)
                agrees = state[MAIN_LANE].ip == row.ip or row.version == foreign
            except (KeyError, IndexError, AssertionError) as problem:
                raise self._misplaced(row, f"it points to nowhere ({problem!r})") from problem
            if not agrees:
                raise self._misplaced(row, "its instruction pointer does not follow")
            yield row.sequence, state

    def _first_of(self, version: str) -> int:
        """Where the newest rows begin that a version recorded; 0 where they hold no state."""
        first = len(self.rows)
        while first and self.rows[first - 1].version == version:
            first -= 1
        return first if first < len(self.rows) and self.rows[first].full else 0

    def final_state(self, program: CompiledPipeline, foreign: str = "") -> State:
        """The state after the last row; see `states`.

        Raises:
            CorruptCheckpointError: a row points to nowhere in the program.
        """
        *_, (_, state) = self.states(program, foreign)
        return state

    def _misplaced(self, row: Row, reason: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"Row {row.sequence} of run {self.run_id!r} does not fit: {reason}. Nothing was run.",
            run_id=self.run_id,
            sequence=row.sequence,
            reason=reason,
        )


def state_before(
    log: Log, program: CompiledPipeline, step: str, foreign: str = ""
) -> tuple[int, State]:
    """The newest recorded state in which a step is due, and the sequence of its row.

    Raises:
        NoCheckpointError: the run never came to this step.
    """
    ip = program.index[step]
    found: tuple[int, State] | None = None
    try:
        for sequence, state in log.states(program, foreign):
            if any(at.ip == ip for at in state.values()):
                found = sequence, state
    except CorruptCheckpointError:
        # What other code recorded may have no place here from some row on; this is before that.
        if found is None or not foreign:
            raise
    if found is None:
        reached = list(dict.fromkeys(row.step for row in log.rows if row.step))
        raise NoCheckpointError(
            f"Run {log.run_id!r} never came to step {step!r}. "
            f"It recorded: {', '.join(reached) or 'no step'}.",
            run_id=log.run_id,
        )
    return found


async def read_all(journal: Journal, run_id: str, *, upto: int | None = None) -> list[Row]:
    """Every row of a run, up to a sequence."""
    return await journal.rows(run_id, last=upto)


async def read_newest(journal: Journal, run_id: str, *, upto: int | None = None) -> list[Row]:
    """The rows that make up the newest state (at or before a sequence), full row first."""
    first = await journal.last_full(run_id, upto=upto)
    return await journal.rows(run_id, first=first, last=upto)


async def read_recorded(
    journal: Journal, record: RunRecord, *, whole: bool = False, upto: int | None = None
) -> tuple[RunRecord, list[Row]]:
    """The rows of a run's newest state, or all, up to its head or a sequence; with its record.

    Somebody may begin the run anew between the reading of a record and of its rows. Where they do
    not go together, both are read again.

    Raises:
        NoCheckpointError: the run is gone.
        CorruptCheckpointError: a row is damaged or missing.
        StoreError: the run changed too often.
    """
    read = read_all if whole else read_newest
    for _ in range(CHANGES):
        last = record.head if upto is None else min(upto, record.head)
        problem: FluxioError | None = None
        rows: list[Row] = []
        try:
            rows = await read(journal, record.run_id, upto=last)
        except (CorruptCheckpointError, NoCheckpointError) as error:
            problem = error
        if _belong_to(record, rows, last):
            return record, rows
        now = await journal.run(record.run_id)
        if now is None:
            raise no_checkpoint(record.run_id)
        if now == record:
            if problem is not None:
                raise problem
            return record, rows
        record = now
    raise StoreError(
        f"Run {record.run_id!r} changed {CHANGES} times while it was being read. Try again.",
        run_id=record.run_id,
    )


def _belong_to(record: RunRecord, rows: Sequence[Row], last: int) -> bool:
    if not rows or not rows[0].full or rows[-1].sequence != last:
        return False
    return last < record.head or record.stands_at(rows[-1])


def _after(program: CompiledPipeline, state: State, row: Row, body: Body) -> State:
    if body.lanes is not None:
        return _restored(program, body.lanes)
    match row.kind:
        case RowKind.STEP:
            ip = program.index[row.step]
            return machine.succeed(program, state, ip, body.writes, body.route).state
        case RowKind.ERROR if row.background:
            return machine.give_up(program, state, program.index[row.step]).state
        case _:
            return state


def _restored(program: CompiledPipeline, bodies: Mapping[str, LaneBody]) -> State:
    """The state of a full row. Parents come before the lanes they opened, in program order."""
    main = bodies[""]
    if isinstance(main.at, int):
        # A snapshot written by hand: enter the program there, as a fresh run enters it at 0.
        return machine.begin(program, Context.create(main.values or {}), main.at).state
    state: dict[int, Position] = {}
    for number, lane in enumerate(program.lanes):
        body = bodies.get(lane.path)
        if body is None:
            continue
        name = lane.path.rpartition("/")[2] or "main"
        if body.values is not None:
            context = Context.from_snapshot(body.values, name, body.writes)
        else:
            assert lane.parent is not None
            forked = state[lane.parent].context.fork(name)
            context = forked.extended(body.writes, tracked=True)
        state[number] = Position(program.index[str(body.at)], context)
    if len(state) != len(bodies):
        raise KeyError("an unknown branch")
    return state
