"""Holds what was recorded of a run, and what its stages did, against the promises; pure functions.

The first half needs nothing but a run's record and its rows. The second half also takes effects:
lines that stages and observers of the store left behind in the order in which things happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from fluxio.errors import CorruptCheckpointError
from fluxio.program import CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.history import Log
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.store.payload import Body, open_row
from fluxio.types import RunStatus


class Rule(StrEnum):
    """What a run can offend against."""

    ORDER = "order"
    """Rows follow each other without a gap, a START first, and attempts never go back."""
    SEAL = "seal"
    """Each row is as it was written."""
    RECORD = "record"
    """The run's record says what its newest row says."""
    ONCE = "once"
    """A step is recorded once in an attempt, and never without having run."""
    ROUTE = "route"
    """A recorded decision stands: no step of another route runs."""
    PROGRAM = "program"
    """The rows lead through the program, and a run that succeeded has come to its end."""
    RERUN = "rerun"
    """What is recorded, or was told to be done, never runs again."""
    COMMITTER = "committer"
    """Nothing is committed under a claim that somebody has taken over."""
    EXECUTIONS = "executions"
    """A step runs once more for each interruption at most, under one idempotency key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A promise that was broken. `sequence` names the row, where it is about one."""

    run_id: str
    rule: Rule
    message: str
    sequence: int | None = None


class EffectKind(StrEnum):
    """What an effect tells."""

    CLAIMED = "claimed"
    """An execution took the run; `sequence` is the newest row it found."""
    STARTED = "started"
    """A stage began a try."""
    ACTED = "acted"
    """A stage did what it is there for."""
    RECORDED = "recorded"
    """A commit was confirmed; `sequence` is its newest row."""
    TOLD = "told"
    """A callback heard that a step had ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """Something that happened in an execution, noted where it happened.

    `token` is that of the execution's claim, `attempt` counts the tries of the step from 1.
    """

    kind: EffectKind
    run_id: str
    token: int
    step: str = ""
    attempt: int = 0
    idempotency_key: str = ""
    sequence: int = -1


def verify_log(
    record: RunRecord, rows: Sequence[Row], program: CompiledPipeline | None = None
) -> list[Violation]:
    """Everything that is wrong with a run's record and all of its rows, ascending by sequence.

    With the program of the run's version the rows are followed through it as well.
    """
    found = [*_order(record.run_id, rows), *_record(record, rows), *_once(record.run_id, rows)]
    bodies: list[Body] = []
    for row in rows:
        try:
            bodies.append(open_row(record.run_id, row))
        except CorruptCheckpointError as problem:
            found.append(_violation(record.run_id, Rule.SEAL, problem.reason, row))
    if len(bodies) == len(rows):
        found += _routes_in_rows(record.run_id, rows, bodies)
        if program is not None and not found:
            found += _program(record, rows, bodies, program)
    return found


def verify_effects(
    rows: Sequence[Row], effects: Sequence[Effect], *, interruptions: int
) -> list[Violation]:
    """Everything that is wrong with what happened to one run, which was never restarted.

    `rows` are all rows of the run, `effects` what happened in that order, and `interruptions` says
    how often an execution was killed, or lost its lease, before it was done.
    """
    if not effects:
        return []
    run_id = effects[0].run_id
    return [
        *_reruns(run_id, rows, effects),
        *_committers(run_id, effects),
        *_executions(run_id, effects, interruptions),
        *_routes_taken(run_id, rows, effects),
        *_never_run(run_id, rows, effects),
    ]


# --- rows


def _order(run_id: str, rows: Sequence[Row]) -> Iterator[Violation]:
    if not rows:
        yield _violation(run_id, Rule.ORDER, "no row is recorded")
        return
    first = rows[0]
    if first.sequence != 0 or first.kind is not RowKind.START or not first.full:
        message = f"the log begins with row {first.sequence} ({first.kind}), not with a full START"
        yield _violation(run_id, Rule.ORDER, message, first)
    for before, row in pairwise(rows):
        if row.sequence != before.sequence + 1:
            message = f"row {before.sequence} is followed by row {row.sequence}"
            yield _violation(run_id, Rule.ORDER, message, row)
        if row.attempt < before.attempt:
            message = f"attempt {before.attempt} is followed by attempt {row.attempt}"
            yield _violation(run_id, Rule.ORDER, message, row)
        if row.attempt != before.attempt and row.kind is not RowKind.START:
            message = f"attempt {row.attempt} begins with a {row.kind}, not with a START"
            yield _violation(run_id, Rule.ORDER, message, row)


def _record(record: RunRecord, rows: Sequence[Row]) -> Iterator[Violation]:
    if not rows:
        return
    last = rows[-1]
    named = {"head": last.sequence, "ip": last.ip, "attempt": last.attempt}
    said = {"head": record.head, "ip": record.ip, "attempt": record.attempt}
    for name, expected in named.items():
        if said[name] != expected:
            message = f"the record's {name} is {said[name]}, that of the newest row {expected}"
            yield _violation(record.run_id, Rule.RECORD, message, last)
    for message in _status_problems(record, last):
        yield _violation(record.run_id, Rule.RECORD, message, last)


def _status_problems(record: RunRecord, last: Row) -> Iterator[str]:
    status = record.status
    if record.owner is not None and status is not RunStatus.RUNNING:
        yield f"the run is {status}, yet {record.owner} owns it"
    if (record.finished_at is None) != status.is_open:
        ended = "has not ended" if record.finished_at is None else "has ended"
        yield f"the run is {status}, yet by its times it {ended}"
    failed = last.kind is RowKind.ERROR and not last.background
    if status is RunStatus.SUCCEEDED and (failed or last.kind is RowKind.END):
        yield f"the run succeeded, yet its newest row is a {last.kind}"
    if status in (RunStatus.FAILED, RunStatus.DEAD) and not failed and not record.error:
        yield f"the run is {status}, yet neither its newest row nor its record says why"


def _once(run_id: str, rows: Sequence[Row]) -> Iterator[Violation]:
    seen: dict[str, int] = {}
    for row in rows:
        if row.kind is RowKind.START:
            seen = {}
        elif row.kind is RowKind.STEP:
            if row.step in seen:
                message = f"step {row.step} is recorded in row {seen[row.step]} already"
                yield _violation(run_id, Rule.ONCE, message, row)
            seen[row.step] = row.sequence


def _routes_in_rows(
    run_id: str, rows: Sequence[Row], bodies: Sequence[Body]
) -> Iterator[Violation]:
    taken: dict[str, str] = {}
    for row, body in zip(rows, bodies, strict=True):
        if row.kind is RowKind.START:
            taken = {}
        elif row.kind is RowKind.STEP:
            for router in _flipped(taken, row.step):
                message = f"{row.step} ran, though {router} had chosen {taken[router]!r}"
                yield _violation(run_id, Rule.ROUTE, message, row)
            if body.route is not None:
                taken[row.step] = body.route


def _flipped(taken: dict[str, str], step: str) -> Iterator[str]:
    """The routers whose recorded choice excludes this step."""
    for router, route in taken.items():
        if step.startswith(f"{router}/") and not step.startswith(f"{router}/{route}/"):
            yield router


def _program(
    record: RunRecord, rows: Sequence[Row], bodies: Sequence[Body], program: CompiledPipeline
) -> Iterator[Violation]:
    try:
        state = Log(record.run_id, rows, bodies).final_state(program)
    except CorruptCheckpointError as problem:
        yield Violation(
            run_id=record.run_id,
            rule=Rule.PROGRAM,
            message=problem.reason,
            sequence=problem.sequence,
        )
        return
    if (record.status is RunStatus.SUCCEEDED) and not machine.is_finished(program, state):
        due = ", ".join(program.instructions[at.ip].key for at in state.values())
        message = f"the run succeeded, yet it stands before {due}"
        yield _violation(record.run_id, Rule.PROGRAM, message, rows[-1])


# --- effects


def _reruns(run_id: str, rows: Sequence[Row], effects: Iterable[Effect]) -> Iterator[Violation]:
    """Of the newest execution; one that was taken over cannot know what its heir has recorded."""
    newest, recorded = -1, -1
    told: set[str] = set()
    places = {row.step: row.sequence for row in _newest_attempt(rows) if row.kind is RowKind.STEP}
    for effect in effects:
        match effect.kind:
            case EffectKind.CLAIMED:
                newest, recorded = effect.token, max(recorded, effect.sequence)
            case EffectKind.RECORDED:
                recorded = max(recorded, effect.sequence)
            case EffectKind.TOLD:
                told.add(effect.step)
            case EffectKind.STARTED if effect.token == newest:
                row = places.get(effect.step)
                if row is not None and row <= recorded:
                    message = f"step {effect.step} ran again, though row {row} was recorded"
                    yield _violation(run_id, Rule.RERUN, message)
                elif effect.step in told:
                    message = f"step {effect.step} ran again, though it was told to be done"
                    yield _violation(run_id, Rule.RERUN, message)


def _newest_attempt(rows: Sequence[Row]) -> Sequence[Row]:
    starts = [place for place, row in enumerate(rows) if row.kind is RowKind.START]
    return rows[starts[-1] :] if starts else rows


def _committers(run_id: str, effects: Iterable[Effect]) -> Iterator[Violation]:
    found: dict[int, int] = {}
    committers: dict[int, int] = {}
    for effect in effects:
        if effect.kind is EffectKind.CLAIMED:
            if found and effect.token <= max(found):
                message = f"token {effect.token} was given after token {max(found)}"
                yield _violation(run_id, Rule.COMMITTER, message)
            if effect.sequence < max(committers, default=-1):
                message = f"token {effect.token} overlooked row {max(committers)}"
                yield _violation(run_id, Rule.COMMITTER, message)
            found[effect.token] = effect.sequence
        elif effect.kind is EffectKind.RECORDED and effect.sequence >= 0:
            first = committers.setdefault(effect.sequence, effect.token)
            # The note may come late, but a row the heir has not found was committed after it.
            heirs = [token for token, head in found.items() if head < effect.sequence]
            if first != effect.token or any(token > effect.token for token in heirs):
                message = (
                    f"row {effect.sequence} was committed under token {effect.token}, which was "
                    f"taken over by {max(found)}"
                )
                yield _violation(run_id, Rule.COMMITTER, message)


def _executions(run_id: str, effects: Iterable[Effect], interruptions: int) -> Iterator[Violation]:
    executed: dict[str, int] = defaultdict(int)
    keys: dict[str, set[str]] = defaultdict(set)
    for effect in effects:
        if effect.kind is EffectKind.STARTED:
            executed[effect.step] += effect.attempt == 1
            keys[effect.step].add(effect.idempotency_key)
    for step, times in executed.items():
        if times > 1 + interruptions:
            message = f"step {step} ran {times} times in a run interrupted {interruptions} times"
            yield _violation(run_id, Rule.EXECUTIONS, message)
        if len(keys[step]) > 1:
            message = f"step {step} ran under {len(keys[step])} idempotency keys"
            yield _violation(run_id, Rule.EXECUTIONS, message)
    if len(set.union(set(), *keys.values())) < len(keys):
        yield _violation(run_id, Rule.EXECUTIONS, "two steps ran under one idempotency key")


def _routes_taken(
    run_id: str, rows: Sequence[Row], effects: Iterable[Effect]
) -> Iterator[Violation]:
    rows = _newest_attempt(rows)
    try:
        bodies = [open_row(run_id, row) for row in rows]
    except CorruptCheckpointError:
        return  # told by `verify_log`
    taken = {
        row.step: body.route
        for row, body in zip(rows, bodies, strict=True)
        if row.kind is RowKind.STEP and body.route is not None
    }
    ran = dict.fromkeys(effect.step for effect in effects if effect.kind is EffectKind.STARTED)
    for step in ran:
        for router in _flipped(taken, step):
            message = f"step {step} ran, though {router} had chosen {taken[router]!r}"
            yield _violation(run_id, Rule.ROUTE, message)


def _never_run(run_id: str, rows: Sequence[Row], effects: Iterable[Effect]) -> Iterator[Violation]:
    acted = {effect.step for effect in effects if effect.kind is EffectKind.ACTED}
    for row in rows:
        if row.kind is RowKind.STEP and row.step not in acted:
            message = f"step {row.step} is recorded, yet it never did anything"
            yield _violation(run_id, Rule.ONCE, message, row)


def _violation(run_id: str, rule: Rule, message: str, row: Row | None = None) -> Violation:
    sequence = None if row is None else row.sequence
    return Violation(run_id=run_id, rule=rule, message=message, sequence=sequence)
