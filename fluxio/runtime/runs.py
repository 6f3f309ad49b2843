"""The use cases of a pipeline's runs: start, resume, replay, fork, compare, read."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fluxio.context import Context, FinalContext
from fluxio.diff import Diff, compare
from fluxio.errors import (
    ConfigurationError,
    FluxioError,
    InvalidRunIDError,
)
from fluxio.observability.base import BaseCallback
from fluxio.program import MAIN_LANE, CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.announcer import Announcer
from fluxio.runtime.driver import ChunkSink, Driver, Scene
from fluxio.runtime.environment import Environment, SyncCaller
from fluxio.runtime.executor import Executor
from fluxio.runtime.heartbeat import heartbeat
from fluxio.runtime.history import HistoryEntry, Log, read_all, read_newest, state_before
from fluxio.runtime.machine import Position, State, Transition
from fluxio.runtime.owner import own_identity
from fluxio.runtime.publisher import Publisher
from fluxio.runtime.recorder import Recorder, start_row
from fluxio.runtime.settling import settled
from fluxio.runtime.step import ProgressSink
from fluxio.store.admission import (
    check_admission,
    no_checkpoint,
    run_exists,
    version_changed,
)
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
from fluxio.types import OnConflict, RunStatus

logger = logging.getLogger("fluxio.run")

_SUMMARY_LENGTH = 500
_RUN_ID = re.compile(r"[\x21-\x7e]{1,128}")

Moment = int | str | None
"""A recorded moment: after the row of a sequence, before a step, or the newest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchers:
    """Who looks on: callbacks, the reader of a stream, the listener to progress."""

    callbacks: Sequence[BaseCallback] = ()
    chunks: ChunkSink | None = None
    report: ProgressSink | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ForkOrder:
    """A wish for a new run made of another one: from which step, under which id, with what set."""

    run_id: str
    from_step: str | None = None
    as_run_id: str | None = None
    patch: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a fork comes from."""

    run_id: str
    sequence: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """The runs of one pipeline. `journal` is None when the pipeline is not durable."""

    executor: Executor
    journal: Journal | None
    environment: Environment
    caller: SyncCaller

    @property
    def program(self) -> CompiledPipeline:
        """The compiled pipeline."""
        return self.executor.program

    # --- starting and going on

    async def start(
        self, initial: Mapping[str, Any], run_id: str | None, policy: OnConflict, watch: Watchers
    ) -> FinalContext:
        """Execute a run from its beginning, or do what the policy says about an existing one.

        Raises:
            RunIDInUseError: the run is being executed, or the policy refuses it.
        """
        chosen = self.environment.new_run_id() if run_id is None else checked_run_id(run_id)
        context = Context.create(initial)
        if self.journal is None:
            return await self._drive(chosen, machine.begin(self.program, context), None, watch)
        if policy is not OnConflict.RESTART and run_id is not None:
            record = await self.journal.run(chosen)
            if record is not None:
                return await self._meet(record, policy, watch)
        mode = OpenMode.RESTART if policy is OnConflict.RESTART else OpenMode.CREATE
        begun = machine.begin(self.program, context)
        opening = self._opening(chosen, mode, begun.state)
        return await self._claimed(await self._open(opening), begun, watch)

    async def resume(self, run_id: str, watch: Watchers) -> FinalContext:
        """Go on from the last checkpoint; a finished run gives its stored result.

        Raises:
            NoCheckpointError: no such run.
            CheckpointVersionError: other code recorded it; nothing has run.
            RunIDInUseError: somebody executes it.
            CorruptCheckpointError: a row is damaged; nothing has run.
        """
        record = await self._known(run_id)
        if record.status is RunStatus.SUCCEEDED:
            return await self._result(record)
        claim = await self._open(self._opening(run_id, OpenMode.TAKE))
        if claim.previous is RunStatus.SUCCEEDED:
            await self._give_back(claim, asyncio.CancelledError())
            return await self._result(record)
        state = await self._state_under(claim, record)
        return await self._claimed(claim, machine.resume(self.program, state), watch, resumed=True)

    async def replay(self, run_id: str, from_step: str | None, watch: Watchers) -> FinalContext:
        """Run again under the same id, as a new attempt; earlier rows stay as they are.

        Raises:
            KeyError: `from_step` is no step of the pipeline.
            NoCheckpointError: no such run, or it never came to that step.
            CheckpointVersionError, RunIDInUseError, CorruptCheckpointError: as for `resume`.
        """
        record = await self._known(run_id)
        _, state = await self._moment_to_rerun(record, from_step)
        claim = await self._open(self._opening(run_id, OpenMode.TAKE))
        recorder = self._recorder(claim)
        with self._holding(claim):
            try:
                await recorder.begin_attempt(state)
            except asyncio.CancelledError as cancellation:
                await self._give_back(claim, cancellation)
                raise
            move = machine.resume(self.program, state)
            return await self._drive(run_id, move, recorder, watch, resumed=True)

    async def fork(self, order: ForkOrder, watch: Watchers) -> FinalContext:
        """Do as `replay`, but into a new run that is linked to its source.

        Raises:
            RunIDInUseError: `as_run_id` is taken.
            KeyError, NoCheckpointError, CheckpointVersionError, CorruptCheckpointError: as above.
        """
        record = await self._known(order.run_id)
        wanted = order.as_run_id
        chosen = self.environment.new_run_id() if wanted is None else checked_run_id(wanted)
        sequence, state = await self._moment_to_rerun(record, order.from_step)
        if order.patch:
            state = {
                lane: Position(at.ip, at.context.overlaid(order.patch))
                for lane, at in state.items()
            }
        origin = Origin(run_id=order.run_id, sequence=sequence)
        opening = self._opening(chosen, OpenMode.CREATE, state, origin)
        claim = await self._open(opening)
        return await self._claimed(claim, machine.resume(self.program, state), watch)

    # --- reading

    async def state(self, run_id: str, at: Moment) -> Context:
        """The run's context at a recorded moment.

        Raises:
            NoCheckpointError: no such run or moment.
            CorruptCheckpointError: a row is damaged.
        """
        return Context.create(await self._values(run_id, at))

    async def diff(self, a: tuple[str, Moment], b: tuple[str, Moment]) -> Diff:
        """Compare two recorded moments key by key."""
        return compare(await self._values(*a), await self._values(*b))

    async def history(self, run_id: str) -> list[HistoryEntry]:
        """Every row of a run, decoded, oldest first."""
        log = await self._log(await self._record(run_id), whole=True)
        return log.entries()

    # --- executing

    async def _claimed(
        self, claim: Claim, move: Transition, watch: Watchers, *, resumed: bool = False
    ) -> FinalContext:
        with self._holding(claim):
            recorder = self._recorder(claim)
            return await self._drive(claim.run_id, move, recorder, watch, resumed=resumed)

    @contextmanager
    def _holding(self, claim: Claim) -> Iterator[None]:
        """Keep a claim alive while the block runs, and let go of it afterwards."""
        try:
            with heartbeat.keeping(self._durable.leasing, claim):
                yield
        finally:
            self._durable.release(claim)

    async def _drive(
        self,
        run_id: str,
        move: Transition,
        recorder: Recorder | None,
        watch: Watchers,
        *,
        resumed: bool = False,
    ) -> FinalContext:
        scene = Scene(
            run_id=run_id,
            executor=self.executor,
            announcer=Announcer(run_id, self.program, Publisher(watch.callbacks)),
            clock=self.environment.clock,
            recorder=recorder,
            chunks=watch.chunks,
            report=watch.report,
            debugging=self.environment.debugging(),
        )
        final = await Driver(scene).run(move, resumed=resumed)
        return FinalContext.of(final, run_id)

    async def _meet(self, record: RunRecord, policy: OnConflict, watch: Watchers) -> FinalContext:
        """What a policy other than RESTART does about a run that is there."""
        match policy:
            case OnConflict.RESUME:
                return await self.resume(record.run_id, watch)
            case OnConflict.RETURN if record.status is RunStatus.SUCCEEDED:
                return await self._result(await self._known(record.run_id))
            case _:
                self._admissible(record)
                raise run_exists(record)

    async def _result(self, record: RunRecord) -> FinalContext:
        log = await self._log(record, whole=False)
        return FinalContext.of(Context.create(log.values()), record.run_id)

    async def _state_under(self, claim: Claim, record: RunRecord) -> State:
        """The newest state, read after the claim; a damaged run is handed back untouched."""
        try:
            log = await self._log(record, whole=False)
            return await self.caller.call(log.final_state, self.program)
        except BaseException as problem:
            await self._give_back(claim, problem)
            raise

    async def _open(self, opening: Opening) -> Claim:
        """Claim a run; a cancellation that comes meanwhile leaves nobody owning it."""
        done = await settled(self._durable.open(opening))
        if done.cancellation is not None:
            await self._give_back(done.result, done.cancellation)
        return done.deliver()

    async def _give_back(self, claim: Claim, problem: BaseException) -> None:
        """Free a claim under which nothing was run; the run gets the status it had before.

        A run that was found running had lost its worker: it is left as failed, with the reason.
        """
        record = await self._durable.run(claim.run_id)
        if record is None:
            return
        status, error = claim.previous, record.error
        if status.is_open:
            cancelled = isinstance(problem, asyncio.CancelledError)
            status = RunStatus.CANCELLED if cancelled else RunStatus.FAILED
            error = str(problem)[:_SUMMARY_LENGTH]
        commit = Commit(
            rows=(),
            ip=record.ip,
            step=record.step,
            attempt=record.attempt,
            status=status,
            error=error,
        )
        try:
            await self._durable.commit(claim, commit)
        except FluxioError:
            # Somebody has it already, or the store is down: then the lease ends by itself.
            logger.warning("Run %s could not be given back.", claim.run_id, exc_info=True)
        finally:
            self._durable.release(claim)

    # --- asking the journal

    @property
    def _durable(self) -> Journal:
        if self.journal is None:
            raise ConfigurationError(
                f"Pipeline {self.program.name!r} keeps no checkpoints. Build it with durable=True."
            )
        return self.journal

    async def _record(self, run_id: str) -> RunRecord:
        record = await self._durable.run(checked_run_id(run_id))
        if record is None:
            raise no_checkpoint(run_id)
        return record

    async def _known(self, run_id: str) -> RunRecord:
        """The record of a run that this program may touch."""
        record = await self._record(run_id)
        self._admissible(record)
        if record.version != self.program.version:
            stored = await self._durable.manifest(record.pipeline, record.version)
            changes = stored.changes_to(self.program.manifest) if stored else ()
            raise version_changed(record, self.program.version, changes)
        return record

    def _admissible(self, record: RunRecord) -> None:
        opening = self._opening(record.run_id, OpenMode.RESTART)
        check_admission(opening, record, busy=False)

    async def _log(self, record: RunRecord, *, whole: bool, upto: int | None = None) -> Log:
        read = read_all if whole else read_newest
        rows = await read(self._durable, record.run_id, upto=upto)
        return await self.caller.call(Log.open, record.run_id, rows)

    async def _values(self, run_id: str, at: Moment) -> dict[str, Any]:
        record = await self._record(run_id)
        if isinstance(at, str):
            step = self.program.call(at).key
            log = await self._log(await self._known(run_id), whole=True)
            _, state = state_before(log, self.program, step)
            return dict(state[MAIN_LANE].context)
        if at is not None and not 0 <= at <= record.head:
            problem = no_checkpoint(run_id)
            problem.args = (f"Run {run_id!r} has rows 0 to {record.head}; there is no row {at}.",)
            raise problem
        log = await self._log(record, whole=False, upto=at)
        return await self.caller.call(log.values)

    async def _moment_to_rerun(self, record: RunRecord, from_step: str | None) -> tuple[int, State]:
        if from_step is not None:
            step = self.program.call(from_step).key
            log = await self._log(record, whole=True)
            return state_before(log, self.program, step)
        upto = 0 if record.status is RunStatus.SUCCEEDED else None
        log = await self._log(record, whole=False, upto=upto)
        return log.rows[-1].sequence, log.final_state(self.program)

    def _recorder(self, claim: Claim) -> Recorder:
        return Recorder(self._durable, claim, self.program, self.environment.clock)

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
            start=self._start_row(run_id, state) if state else None,
            parent=origin.run_id if origin else None,
            parent_sequence=origin.sequence if origin else None,
            step=due,
        )

    def _start_row(self, run_id: str, state: State) -> Row:
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
        return start_row(self.program, state, facts)


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
