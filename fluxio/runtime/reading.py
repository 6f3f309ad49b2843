"""Asks a journal about the runs of one pipeline: records, states, values, differences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fluxio.context import Context
from fluxio.diff import Diff, compare
from fluxio.errors import InvalidRunIDError
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime.environment import SyncCaller
from fluxio.runtime.history import HistoryEntry, Log, read_all, read_newest, state_before
from fluxio.runtime.machine import State
from fluxio.store.admission import foreign_run, no_checkpoint, version_changed
from fluxio.store.base import Journal, RunRecord
from fluxio.types import RunStatus

_RUN_ID = re.compile(r"[\x21-\x7e]{1,128}")

Moment = int | str | None
"""A recorded moment: after the row of a sequence, before a step, or the newest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads runs; rows are decoded where plain functions are called (`caller`)."""

    program: CompiledPipeline
    journal: Journal
    caller: SyncCaller

    async def state(self, run_id: str, at: Moment) -> Context:
        """The run's context at a recorded moment.

        Raises:
            NoCheckpointError: no such run or moment.
            CorruptCheckpointError: a row is damaged.
        """
        return Context.create(await self.values(run_id, at))

    async def diff(self, a: tuple[str, Moment], b: tuple[str, Moment]) -> Diff:
        """Compare two recorded moments key by key."""
        return compare(await self.values(*a), await self.values(*b))

    async def history(self, run_id: str) -> list[HistoryEntry]:
        """Every row of a run, decoded, oldest first."""
        log = await self.log(await self.record(run_id), whole=True)
        return log.entries()

    async def record(self, run_id: str) -> RunRecord:
        """The record of a run, of whatever pipeline.

        Raises:
            NoCheckpointError: no such run.
        """
        record = await self.journal.run(checked_run_id(run_id))
        if record is None:
            raise no_checkpoint(run_id)
        return record

    async def known(self, run_id: str) -> RunRecord:
        """The record of a run that this program may go on with.

        Raises:
            NoCheckpointError: no such run.
            ForeignRunError: it belongs to another pipeline.
            CheckpointVersionError: other code recorded it.
        """
        record = await self.record(run_id)
        self.check_ours(record)
        if record.version != self.program.version:
            stored = await self.journal.manifest(record.pipeline, record.version)
            changes = stored.changes_to(self.program.manifest) if stored else ()
            raise version_changed(record, self.program.version, changes)
        return record

    def check_ours(self, record: RunRecord) -> None:
        """Let a record pass that belongs to this pipeline, or to nobody in particular.

        Raises:
            ForeignRunError: it belongs to another one.
        """
        if record.pipeline not in ("", self.program.name):
            raise foreign_run(self.program.name, record)

    async def log(self, record: RunRecord, *, whole: bool, upto: int | None = None) -> Log:
        """All rows of a run, or those of its newest state, decoded; up to a sequence."""
        read = read_all if whole else read_newest
        rows = await read(self.journal, record.run_id, upto=upto)
        return await self.caller.call(Log.open, record.run_id, rows)

    async def values(self, run_id: str, at: Moment) -> dict[str, Any]:
        """The values of a run's context at a moment."""
        record = await self.record(run_id)
        if isinstance(at, str):
            step = self.program.call(at).key
            log = await self.log(await self.known(run_id), whole=True)
            _, state = state_before(log, self.program, step)
            return dict(state[MAIN_LANE].context)
        if at is not None and not 0 <= at <= record.head:
            problem = no_checkpoint(run_id)
            problem.args = (f"Run {run_id!r} has rows 0 to {record.head}; there is no row {at}.",)
            raise problem
        log = await self.log(record, whole=False, upto=at)
        return await self.caller.call(log.values)

    async def moment_to_rerun(self, record: RunRecord, from_step: str | None) -> tuple[int, State]:
        """The state from which a replay or a fork starts, and the sequence of its row."""
        if from_step is not None:
            step = self.program.call(from_step).key
            log = await self.log(record, whole=True)
            return state_before(log, self.program, step)
        upto = 0 if record.status is RunStatus.SUCCEEDED else None
        log = await self.log(record, whole=False, upto=upto)
        return log.rows[-1].sequence, log.final_state(self.program)


def checked_run_id(run_id: str) -> str:
    """The id itself, when it is one.

    Raises:
        InvalidRunIDError: it is not 1 to 128 printable ASCII characters without spaces.
    """
    if not isinstance(run_id, str) or _RUN_ID.fullmatch(run_id) is None:
        raise InvalidRunIDError(
            f"{run_id!r} is no run id: use 1 to 128 printable ASCII characters without spaces.",
            run_id=run_id,
        )
    return run_id
