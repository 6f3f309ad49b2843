"""The use cases of a pipeline's runs: start, resume, replay, fork."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fluxio.context import Context, FinalContext
from fluxio.errors import (
    ConfigurationError,
    SourceChangedError,
    StoreError,
    StoreUnavailableError,
)
from fluxio.observability.base import BaseCallback
from fluxio.passages import Force, Passage
from fluxio.program import CompiledPipeline
from fluxio.runtime import machine
from fluxio.runtime.announcer import Announcer
from fluxio.runtime.claims import Claims, Origin
from fluxio.runtime.driver import Driver
from fluxio.runtime.environment import Environment, SyncCaller
from fluxio.runtime.executor import Executor
from fluxio.runtime.history import CHANGES
from fluxio.runtime.machine import State, Transition
from fluxio.runtime.publisher import Publisher
from fluxio.runtime.reading import Reader, checked_run_id
from fluxio.runtime.recorder import Recorder
from fluxio.runtime.scene import ChunkSink, Scene
from fluxio.runtime.step import ProgressSink
from fluxio.runtime.stopping import StopSign
from fluxio.store.admission import run_exists
from fluxio.store.base import Claim, Journal, Opening, RunRecord
from fluxio.types import OnConflict, RunStatus

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchers:
    """Who looks on: callbacks, the reader of a stream, the listener to progress."""

    callbacks: Sequence[BaseCallback] = ()
    chunks: ChunkSink | None = None
    report: ProgressSink | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ForkOrder:
    """A wish for a new run made of another one: from which step, under which id, with what set.

    `force` is a decision to do so though other code recorded the source.
    """

    run_id: str
    from_step: str | None = None
    as_run_id: str | None = None
    patch: Mapping[str, Any] | None = None
    force: Force | None = None


@dataclass(frozen=True, slots=True)
class _Holding:
    """What comes with a claim: who writes the log, and the sign that may end the execution."""

    recorder: Recorder | None = None
    stop: StopSign = field(default_factory=StopSign)


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """The runs of one pipeline. `journal` is None when the pipeline is not durable.

    `note` is kept beside the runs that are made; see `Opening`.
    """

    executor: Executor
    journal: Journal | None
    environment: Environment
    caller: SyncCaller
    note: Any = None

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
            return await self._drive(
                chosen, machine.begin(self.program, context), _Holding(), watch
            )
        if policy is not OnConflict.RESTART and run_id is not None:
            record = await self.journal.run(chosen)
            if record is not None:
                return await self._meet(record, policy, watch)
        begun = machine.begin(self.program, context)
        restart = policy is OnConflict.RESTART
        claim = await self._claims.create(chosen, begun.state, restart=restart)
        return await self._claimed(claim, begun, watch)

    def opening(self, initial: Mapping[str, Any], run_id: str | None) -> Opening:
        """What creates a run that others are to execute.

        Raises:
            InvalidRunIDError: the id is none.
            EncodingError: a value cannot be stored; it says which one.
        """
        chosen = self.environment.new_run_id() if run_id is None else checked_run_id(run_id)
        begun = machine.begin(self.program, Context.create(initial))
        return self._claims.opening(chosen, begun.state)

    async def resume(
        self,
        run_id: str,
        watch: Watchers,
        force: Force | None = None,
        known: RunRecord | None = None,
    ) -> FinalContext:
        """Go on from the last checkpoint; a finished run gives its stored result.

        One that another version recorded is carried over where it has a passage, as a new attempt.
        `known` is its record, from a caller who has just read it.

        Raises:
            NoCheckpointError: no such run.
            CheckpointVersionError: other code recorded it; nothing has run.
            RunIDInUseError: somebody executes it.
            CorruptCheckpointError: a row is damaged; nothing has run.
        """
        record, passage = await self.reader.admitted(run_id, force, known=known)
        if record.status is RunStatus.SUCCEEDED:
            return await self._result(record)
        if passage is not None:
            return await self._carry(record, passage, watch)
        claim = await self._claims.take_to_go_on(record)
        return await self._go_on(claim, record, watch)

    async def replay(
        self, run_id: str, from_step: str | None, watch: Watchers, force: Force | None = None
    ) -> FinalContext:
        """Run again under the same id, as a new attempt; earlier rows stay as they are.

        Raises:
            KeyError: `from_step` is no step of the pipeline.
            NoCheckpointError: no such run, or it never came to that step.
            CheckpointVersionError, RunIDInUseError, CorruptCheckpointError: as for `resume`; a run
                that somebody changed meanwhile is refused as well.
        """
        record, passage = await self.reader.admitted(run_id, force, state_as_it_is=True)
        _, state = await self.reader.moment_to_rerun(record, from_step)
        carries = passage.version if passage is not None else ""
        claim = await self._claims.take_as_known(record, carries)
        if claim.head != record.head:
            found = _as_claimed(record, claim)
            moment = self.reader.moment_to_rerun(found, from_step)
            _, state = await self._read_under(claim, moment)
        return await self._new_attempt(claim, state, passage, watch)

    async def fork(self, order: ForkOrder, watch: Watchers) -> FinalContext:
        """Do as `replay`, but into a new run that is linked to its source.

        Raises:
            RunIDInUseError: `as_run_id` is taken.
            KeyError, NoCheckpointError, CheckpointVersionError, CorruptCheckpointError: as above.
            SourceChangedError: the source changed each time that its state had been read.
        """
        wanted = order.as_run_id
        chosen = self.environment.new_run_id() if wanted is None else checked_run_id(wanted)
        claim, state = await self._create_fork(order, chosen)
        return await self._claimed(claim, machine.resume(self.program, state), watch)

    async def _create_fork(self, order: ForkOrder, run_id: str) -> tuple[Claim, State]:
        """A new run and its state, which is read again where the source has changed meanwhile."""
        problem: SourceChangedError | None = None
        for _ in range(CHANGES):
            record, passage = await self.reader.admitted(
                order.run_id, order.force, state_as_it_is=True
            )
            sequence, state = await self.reader.moment_to_rerun(
                record, order.from_step, order.patch
            )
            origin = Origin(
                run_id=order.run_id, sequence=sequence, token=record.token, passage=passage
            )
            try:
                return await self._claims.create(run_id, state, origin=origin), state
            except SourceChangedError as changed:
                problem = changed
        assert problem is not None
        raise problem

    # --- executing

    async def _go_on(self, claim: Claim, record: RunRecord, watch: Watchers) -> FinalContext:
        """Go on under a claim with a run of this version; one that has succeeded is given back."""
        if claim.previous is RunStatus.SUCCEEDED:
            return await self._result_under(claim, record)
        state = await self._read_under(
            claim, self.reader.newest_state(record, head=claim.head, rows=claim.rows)
        )
        claim = replace(claim, rows=())  # they are decoded, and may be large
        move = machine.resume(self.program, state)
        fresh = claim.previous is RunStatus.QUEUED and claim.head == 0
        return await self._claimed(claim, move, watch, resumed=not fresh)

    async def _carry(self, record: RunRecord, passage: Passage, watch: Watchers) -> FinalContext:
        """Go on with a run of another version.

        Its state is found before the claim, so that one which cannot be carried over stays as it
        is, and again after it where its former owner wrote until then.
        """
        state = await self.reader.carried(record, passage)
        claim = await self._claims.take_as_known(record, passage.version)
        if claim.head != record.head:
            found = _as_claimed(record, claim)
            state = await self._read_under(claim, self.reader.carried(found, passage))
        return await self._new_attempt(claim, state, passage, watch)

    async def _new_attempt(
        self, claim: Claim, state: State, passage: Passage | None, watch: Watchers
    ) -> FinalContext:
        recorder = self._claims.recorder(claim)
        with self._claims.holding(claim) as stop:
            try:
                await recorder.begin_attempt(state, passage)
            except (asyncio.CancelledError, StoreUnavailableError) as problem:
                # The attempt may have begun: nothing that was before it is to be taken for its end.
                begun = replace(claim, previous=RunStatus.RUNNING)
                await self._claims.give_back(begun, problem)
                raise
            except StoreError as problem:
                await self._claims.give_back(claim, problem)
                raise
            move = machine.resume(self.program, state)
            holding = _Holding(recorder, stop)
            return await self._drive(claim.run_id, move, holding, watch, resumed=True)

    async def _claimed(
        self, claim: Claim, move: Transition, watch: Watchers, *, resumed: bool = False
    ) -> FinalContext:
        with self._claims.holding(claim) as stop:
            holding = _Holding(self._claims.recorder(claim), stop)
            return await self._drive(claim.run_id, move, holding, watch, resumed=resumed)

    async def _drive(
        self,
        run_id: str,
        move: Transition,
        holding: _Holding,
        watch: Watchers,
        *,
        resumed: bool = False,
    ) -> FinalContext:
        publisher = Publisher(watch.callbacks, self.environment.leave_thread)
        scene = Scene(
            run_id=run_id,
            executor=self.executor,
            announcer=Announcer(run_id, self.program, publisher),
            clock=self.environment.clock,
            recorder=holding.recorder,
            stop=holding.stop,
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
                known, _ = await self.reader.admitted(record.run_id)
                return await self._result(known)
            case _:
                self.reader.check_ours(record)
                raise run_exists(record)

    async def _result(self, record: RunRecord) -> FinalContext:
        return FinalContext.of(await self.reader.result(record), record.run_id)

    async def _read_under(self, claim: Claim, reading: Awaitable[Found]) -> Found:
        """What is read of a run under its claim; where that fails, it is handed back untouched."""
        try:
            return await reading
        except BaseException as problem:
            await self._claims.give_back(claim, problem)
            raise

    async def _result_under(self, claim: Claim, record: RunRecord) -> FinalContext:
        """The result of a run that had succeeded before its claim, which is handed back."""
        try:
            context = await self.reader.newest_context(record, claim.rows)
        finally:
            await self._claims.give_back(claim, asyncio.CancelledError())
        return FinalContext.of(context, record.run_id)

    # --- what a durable pipeline has

    @property
    def reader(self) -> Reader:
        """Who reads the runs.

        Raises:
            ConfigurationError: the pipeline keeps no checkpoints.
        """
        return Reader(
            program=self.program,
            journal=self._durable,
            caller=self.caller,
            fetching=self.environment.fetching,
        )

    @property
    def _claims(self) -> Claims:
        return Claims(
            program=self.program,
            journal=self._durable,
            environment=self.environment,
            note=self.note,
        )

    @property
    def _durable(self) -> Journal:
        if self.journal is None:
            raise ConfigurationError(
                f"Pipeline {self.program.name!r} keeps no checkpoints. Build it with durable=True."
            )
        return self.journal


def _as_claimed(record: RunRecord, claim: Claim) -> RunRecord:
    return replace(record, head=claim.head, attempt=claim.attempt)
