"""Takes runs, holds them while they are executed, and gives back what was not run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fluxio.errors import StoreUnavailableError
from fluxio.passages import Passage
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime.environment import Environment
from fluxio.runtime.heartbeat import heartbeat
from fluxio.runtime.machine import State
from fluxio.runtime.owner import own_identity
from fluxio.runtime.recorder import Recorder, start_row
from fluxio.runtime.settling import settled
from fluxio.runtime.stopping import StopSign, lookout
from fluxio.store.base import (
    Claim,
    Commit,
    Journal,
    Opening,
    OpenMode,
    Row,
    RowKind,
    RunRecord,
)
from fluxio.store.payload import RowFacts
from fluxio.types import RunStatus

logger = logging.getLogger("fluxio.run")

_SUMMARY_LENGTH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a fork comes from, and how it came to this version where the source has another.

    `token` is that of the source before its state was read.
    """

    run_id: str
    sequence: int
    token: int
    passage: Passage | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """The claims of one pipeline on its runs; `note` goes with those that are made (`Opening`)."""

    program: CompiledPipeline
    journal: Journal
    environment: Environment
    note: Any = None

    async def create(
        self, run_id: str, state: State, *, restart: bool = False, origin: Origin | None = None
    ) -> Claim:
        """Take a run that begins with a state; `restart` may delete the history of an idle one.

        Raises:
            RunIDInUseError: it is being executed, or it exists and may not be deleted.
            SourceChangedError: its origin is not what it was any more.
        """
        mode = OpenMode.RESTART if restart else OpenMode.CREATE
        return await self._open(self._opening(run_id, mode, state, origin))

    def opening(self, run_id: str, state: State, origin: Origin | None = None) -> Opening:
        """What creates a run, for whoever records it now and leaves its execution to others.

        Raises:
            EncodingError: a value of the context cannot be stored.
        """
        return self._opening(run_id, OpenMode.CREATE, state, origin)

    async def take_as_known(self, known: RunRecord, carries: str = "") -> Claim:
        """Take a run as its record was read; one that has changed since is refused.

        Only rows that its former owner recorded at the last moment may have been added. `carries`
        is a version other than ours that it may have.

        Raises:
            NoCheckpointError, RunIDInUseError, CheckpointVersionError: see `Journal.open`.
        """
        opening = self._opening(known.run_id, OpenMode.TAKE)
        return await self._open(replace(opening, carries=carries, known=known, as_known=True))

    async def take_to_go_on(self, known: RunRecord) -> Claim:
        """Take a run of our version whose record was just read, whatever became of it since.

        The claim may have the rows of its newest state.

        Raises:
            NoCheckpointError, RunIDInUseError, CheckpointVersionError: see `Journal.open`.
        """
        opening = self._opening(known.run_id, OpenMode.TAKE)
        return await self._open(replace(opening, known=known, wants_rows=True))

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[StopSign]:
        """Keep a claim alive while the block runs, and let go of it afterwards.

        The sign goes up when somebody elsewhere wants the run to be cancelled.
        """
        leasing = self.journal.leasing
        try:
            with heartbeat.keeping(leasing, claim), lookout.watching(leasing, claim) as stop:
                yield stop
        finally:
            self.journal.release(claim)

    def recorder(self, claim: Claim) -> Recorder:
        """Who writes the log under a claim."""
        clock, scrub = self.environment.clock, self.environment.scrub
        return Recorder(self.journal, claim, self.program, clock, scrub)

    async def give_back(self, claim: Claim, problem: BaseException) -> None:
        """Free a claim under which nothing was run; the run gets the status it had before.

        A run that was found running had lost its worker: it is left as failed, with the reason. An
        open run that the store did not tell enough of keeps its lease, and is taken over after it.
        """
        untold = isinstance(problem, StoreUnavailableError) and claim.previous.is_open
        try:
            record = await self.journal.run(claim.run_id) if not untold else None
            if record is not None:
                await self.journal.commit(claim, _given_back(claim, record, problem))
        except Exception:
            # Somebody has it already, or the store is down: then the lease ends by itself.
            logger.warning("Run %s could not be given back.", claim.run_id, exc_info=True)
        finally:
            self.journal.release(claim)

    async def _open(self, opening: Opening) -> Claim:
        """Claim a run; a cancellation that comes meanwhile leaves nobody owning it."""
        done = await settled(self.journal.open(opening))
        if done.cancellation is not None:
            await self.give_back(done.result, done.cancellation)
        return done.deliver()

    def _opening(
        self,
        run_id: str,
        mode: OpenMode,
        state: State | None = None,
        origin: Origin | None = None,
    ) -> Opening:
        due = self.program.instructions[state[MAIN_LANE].ip].key if state else ""
        return Opening(
            run_id=run_id,
            pipeline=self.program.name,
            version=self.program.version,
            manifest=self.program.manifest,
            owner=own_identity(),
            lease_seconds=self.environment.lease_seconds(),
            mode=mode,
            start=self._start_row(run_id, state, origin) if state else None,
            parent=origin.run_id if origin else None,
            parent_sequence=origin.sequence if origin else None,
            parent_token=origin.token if origin else None,
            step=due,
            note=self.note,
        )

    def _start_row(self, run_id: str, state: State, origin: Origin | None) -> Row:
        facts = RowFacts(
            run_id=run_id,
            sequence=0,
            attempt=1,
            kind=RowKind.START,
            ip=state[MAIN_LANE].ip,
            version=self.program.version,
            full=True,
            created_at=self.environment.clock.now(),
        )
        passage = origin.passage if origin is not None else None
        return start_row(self.program, state, facts, passage)


def _given_back(claim: Claim, record: RunRecord, problem: BaseException) -> Commit:
    status, error = claim.previous, record.error
    if status.is_open:
        cancelled = isinstance(problem, asyncio.CancelledError)
        status = RunStatus.CANCELLED if cancelled else RunStatus.FAILED
        error = str(problem)[:_SUMMARY_LENGTH]
    return Commit(
        rows=(),
        ip=record.ip,
        step=record.step,
        attempt=record.attempt,
        status=status,
        error=error,
    )
