"""What the code at hand would do with recorded runs: asked before it is deployed.

Nothing is changed. Migrations are called, which are pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from asgiref.sync import async_to_sync

from fluxio.errors import CheckpointVersionError, CorruptCheckpointError, FluxioError
from fluxio.passages import PassageKind
from fluxio.program import Call, CompiledPipeline, Fork, Manifest
from fluxio.runtime.carrying import carried_over, not_carried
from fluxio.runtime.history import Log, read_all
from fluxio.runtime.machine import State
from fluxio.store.base import RunRecord
from fluxio_django.journal import DjangoJournal
from fluxio_django.references import ReferenceGoneError, fetching
from fluxio_django.registry import pipelines
from fluxio_django.tables import Tables

_READ_AT_ONCE = 500


class Verdict(StrEnum):
    """What becomes of a run under the code at hand."""

    SAFE = "safe"
    """It goes on: its version is the same, or has a passage that works for this run."""
    RERUN = "re-run"
    """It is refused; nothing before the step that is named has changed, so it could go on there."""
    BLOCKED = "blocked"
    """It is refused, and nothing here can go on with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The verdict on one run.

    `step` is where it goes on, or could: steps behind that are recorded would run again. It is ""
    for a run that is blocked. `changes` are the differences of the versions, a line each.
    """

    record: RunRecord
    verdict: Verdict
    step: str = ""
    reason: str = ""
    current: str = ""
    changes: tuple[str, ...] = ()
    passage: PassageKind | None = None

    @property
    def repeats(self) -> bool:
        """Whether steps whose success is recorded would run again."""
        return self.verdict is Verdict.RERUN and self.step != self.record.step


def examine(tables: Tables, statuses: Iterable[str], pipeline: str | None) -> Iterator[Finding]:
    """The verdict on each run in one of these statuses, oldest first."""
    runs = tables.runs.filter(status__in=list(statuses)).order_by("pk")
    if pipeline is not None:
        runs = runs.filter(pipeline=pipeline)
    last = 0
    while seen := runs.filter(pk__gt=last)[:_READ_AT_ONCE].as_seen():
        last = seen[-1].pk
        for one in seen:
            yield judge(tables, one.record)


def judge(tables: Tables, record: RunRecord) -> Finding:
    """The verdict on one run."""
    try:
        program = pipelines[record.pipeline].compiled
    except FluxioError as problem:
        return Finding(record=record, verdict=Verdict.BLOCKED, reason=str(problem))
    except Exception as problem:  # noqa: BLE001 - factories are the project's own code
        reason = f"The factory of its pipeline raised {type(problem).__name__}: {problem}"
        return Finding(record=record, verdict=Verdict.BLOCKED, reason=reason)
    if program.version == record.version:
        return Finding(
            record=record, verdict=Verdict.SAFE, step=record.step, current=program.version
        )
    recorded = tables.versions.manifest(record.pipeline, record.version)
    changes = recorded.changes_to(program.manifest) if recorded is not None else ()
    try:
        rows = async_to_sync(read_all)(DjangoJournal(tables), record.run_id)
        passage = program.passages.find(record.version)
        with fetching() as fetch:
            log = Log.open(record.run_id, rows)
            if passage is not None:
                state = carried_over(program, record, log, passage)
                fetch(at.context for at in state.values())
                step = _due(program, state)
                return Finding(
                    record=record,
                    verdict=Verdict.SAFE,
                    step=step,
                    current=program.version,
                    changes=changes,
                    passage=passage.kind,
                )
            step = _unchanged_until(program, recorded, record, log)
    except CheckpointVersionError as problem:
        reason = "; ".join(problem.changes) or str(problem)
    except (CorruptCheckpointError, ReferenceGoneError) as problem:
        reason = str(problem)
    else:
        return Finding(
            record=record,
            verdict=Verdict.RERUN,
            step=step,
            reason="; ".join(changes),
            current=program.version,
            changes=changes,
        )
    return Finding(
        record=record,
        verdict=Verdict.BLOCKED,
        reason=reason,
        current=program.version,
        changes=changes,
    )


def _unchanged_until(
    program: CompiledPipeline, recorded: Manifest | None, record: RunRecord, log: Log
) -> str:
    """The step up to which a run has met only what is the same in both versions.

    Raises:
        CheckpointVersionError: its version is unknown, or there is no such step.
    """
    if recorded is None:
        raise CheckpointVersionError(
            "It is not known what the version that recorded it consisted of.", changes=()
        )
    same = _common(recorded, program.manifest)
    newest = [at for at, row in enumerate(log.rows) if row.full and not row.step]
    log = Log(log.run_id, log.rows[newest[-1] :], log.bodies[newest[-1] :])
    state: State = {}
    try:
        for _, state in log.states(program, record.version):
            for at in state.values():
                met = program.instructions[at.ip]
                if isinstance(met, Call | Fork) and met.key not in same:
                    return met.key
    except CorruptCheckpointError as problem:
        reason = f"row {problem.sequence} has no place in it: {problem.reason}"
        raise not_carried(program, record, reason) from problem
    return _due(program, state)


def _common(old: Manifest, new: Manifest) -> set[str]:
    """The keys of the entries with which both manifests begin."""
    same: set[str] = set()
    for ours, theirs in zip(old.entries, new.entries, strict=False):
        if ours != theirs:
            break
        same.add(ours.key)
    return same


def _due(program: CompiledPipeline, state: State) -> str:
    """The keys of the steps that a state is waiting for; "" at the end."""
    waiting = (program.instructions[at.ip] for at in state.values())
    return ", ".join(item.key for item in waiting if isinstance(item, Call))
