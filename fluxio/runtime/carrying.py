"""Carries the state of a run over to a program that did not record it."""

from __future__ import annotations

from typing import Any

from fluxio.context import Context
from fluxio.errors import CheckpointVersionError, CorruptCheckpointError
from fluxio.passages import Passage, Where
from fluxio.program import MAIN_LANE, Call, CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.history import Log
from fluxio.runtime.machine import State
from fluxio.store.base import RowKind, RunRecord


def carried_over(program: CompiledPipeline, record: RunRecord, log: Log, passage: Passage) -> State:
    """The state from which a run goes on with a program; pure, and asked once for each run.

    Without a migration, the program is followed through the recorded steps: the run stands behind
    the last one of them, so a step that was put in before that never runs. A migration gives the
    context, and may name the step.

    Raises:
        CheckpointVersionError: there is no such state; `changes` says why.
    """
    if passage.migration is None:
        try:
            return log.final_state(program, passage.version)
        except CorruptCheckpointError as problem:
            reason = f"row {problem.sequence} has no place in it: {problem.reason}"
            raise not_carried(program, record, reason) from problem
    where = Where(version=passage.version, due=record.step, done=steps_done(log))
    try:
        given: Any = passage.migration(Context.create(log.values()), where)
    except Exception as problem:
        reason = f"its migration raised {type(problem).__name__}: {problem}"
        raise not_carried(program, record, reason) from problem
    context, step = given if isinstance(given, tuple) else (given, record.step)
    if not isinstance(context, Context) or not isinstance(step, str):
        reason = f"its migration gave {type(given).__name__}, not a context or (context, step)"
        raise not_carried(program, record, reason)
    return machine.begin(program, context.settled(), _entry(program, record, step)).state


def steps_done(log: Log) -> tuple[str, ...]:
    """The steps that the newest attempt has recorded, oldest first."""
    newest = log.rows[-1].attempt
    return tuple(row.step for row in log.rows if row.attempt == newest and row.kind is RowKind.STEP)


def not_carried(
    program: CompiledPipeline, record: RunRecord, reason: str
) -> CheckpointVersionError:
    """The error for a run that cannot be carried over; nothing was changed."""
    return CheckpointVersionError(
        f"Run {record.run_id!r} was recorded by version {record.version} of pipeline "
        f"{record.pipeline!r} and cannot be carried over to version {program.version}: {reason}. "
        "Nothing was run.",
        run_id=record.run_id,
        stored=record.version,
        current=program.version,
        changes=(reason,),
    )


def _entry(program: CompiledPipeline, record: RunRecord, step: str) -> int:
    """The number of the instruction at which a carried run enters: a step outside of branches."""
    number = program.index.get(step)
    if number is None:
        reason = f"the program has no step {step!r}; have its migration return (context, step)"
        raise not_carried(program, record, reason)
    instruction = program.instructions[number]
    if not isinstance(instruction, Call) or instruction.lane != MAIN_LANE:
        reason = f"{step!r} is inside of branches; have its migration name a step outside of them"
        raise not_carried(program, record, reason)
    return number
