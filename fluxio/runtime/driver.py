"""Drives one execution of a run: execute, commit, publish; what comes next the machine decides."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fluxio.context import Context
from fluxio.errors import EncodingError, StoreError, StoreUnavailableError, TransactionRefusedError
from fluxio.nodes import Send
from fluxio.program import MAIN_LANE, Call
from fluxio.runtime import ends, machine
from fluxio.runtime.attempt import Attempt
from fluxio.runtime.batch import Batch, Unstorable, conflicted, refused
from fluxio.runtime.loopless import in_loop
from fluxio.runtime.machine import State, Transition
from fluxio.runtime.outcomes import Failed, Outcome, Succeeded
from fluxio.runtime.recorder import Ending, Entry, Recorder
from fluxio.runtime.scene import Scene
from fluxio.runtime.settling import settled
from fluxio.store.base import Commit
from fluxio.types import RunStatus

logger = logging.getLogger("fluxio.run")


class Driver:
    """One execution of a run, from a state to its end; use once."""

    def __init__(self, scene: Scene) -> None:
        # What an execution lends to its stages, besides the methods below.
        self.run_id = scene.run_id
        self.debugging = scene.debugging
        self.report = scene.report
        self._scene = scene
        self._program = scene.executor.program
        self._state: State = {}
        self._tasks: dict[asyncio.Task[Outcome], int] = {}
        self._waiting: list[int] = []
        self._failure: Failed | None = None
        # One commit at a time; a transactional stage keeps its place in the log while it runs.
        self._log = asyncio.Lock()
        self._transacted: dict[int, Transition] = {}
        self._given: dict[int, Context] = {}
        self._unwatched = not (scene.recorder or scene.announcer.active or scene.debugging)

    async def run(self, start: Transition, *, resumed: bool) -> Context:
        """Execute until the run is finished, and return its final context.

        Raises:
            Exception: what the failing stage raised, after its error checkpoint is durable.
            StoreError: the store failed; where it may be asked again later, no failure is recorded.
            LeaseLostError: somebody else took the run over; nothing was written since.
            RunCancelledError: somebody elsewhere wanted it to end.
        """
        with self._scene.stop.in_sight():
            return await self._run(start, resumed=resumed)

    async def _run(self, start: Transition, *, resumed: bool) -> Context:
        scene, began = self._scene, self._scene.clock.monotonic()
        self._state = start.state
        attempt = scene.recorder.attempt if scene.recorder else 1
        scene.announcer.started(self._state[MAIN_LANE].context, attempt, resumed)
        status = RunStatus.FAILED
        error: BaseException | None = None
        try:
            await self._loop(start)
            status = RunStatus.SUCCEEDED
        except Exception as problem:
            error = problem
            raise
        except BaseException as interruption:
            wanted = scene.stop.is_heeded_by(interruption)
            if self._ending(self._state) is not None:
                status = RunStatus.SUCCEEDED  # it came too late: the run was done and recorded
                if not wanted:
                    raise
                return self._state[MAIN_LANE].context
            status, error = RunStatus.CANCELLED, interruption
            if wanted:
                error = scene.stop.error(scene.run_id)
            await ends.record_cancellation(scene, self._state, error)
            if wanted:
                raise error from None
            raise
        finally:
            spent = scene.clock.monotonic() - began
            await scene.announcer.ended(self._state[MAIN_LANE].context, status, spent, error)
        return self._state[MAIN_LANE].context

    async def _loop(self, start: Transition) -> None:
        self._scene.announcer.opened(start.opened)
        ready = list(start.ready)
        if start.conflict is not None:
            self._failure = conflicted(start.conflict)
            ready = self._in_background(ready)
        try:
            while ready or self._tasks or self._waiting:
                self._scene.stop.check()
                if self._unwatched and len(ready) == 1 and not self._tasks:
                    ready = await self._hurry(ready[0])
                    continue
                ready = await self._digest(await self._execute(ready))
        except Unstorable as refused:
            self._failure = self._failure or refused.failure
            await self._stop(list(self._tasks))
        except BaseException:
            await self._stop(list(self._tasks))
            raise
        if self._failure is not None:
            await ends.fail(self._scene, self._state, self._failure)

    # --- execute

    async def _hurry(self, ip: int) -> list[int]:
        """Run on through plain calls between which there is nothing to record or to tell."""
        executor = self._scene.executor
        calls = executor.stretch_at(ip)
        if not calls:
            return await self._digest([await self._call(ip)])
        context = self._state[MAIN_LANE].context
        context, failure = await executor.run_stretch(calls, context, self)
        if failure is not None:
            self._state = {MAIN_LANE: machine.Position(failure.ip, context)}
            return await self._digest([failure])
        moved = machine.begin(self._program, context, calls[-1].next)
        self._state = moved.state
        return list(moved.ready)

    async def _execute(self, ready: Sequence[int]) -> list[Outcome]:
        """Start what is ready, and give the outcomes that are there first."""
        if len(ready) == 1 and not (self._tasks or self._waiting):
            return [await self._call(ready[0])]
        if not in_loop():
            return [await self._call(self._next_in_line(ready))]
        for ip in ready:
            self._tasks[asyncio.ensure_future(self._call(ip))] = ip
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        outcomes = [task.result() for task in self._tasks if task in done]
        for task in done:
            del self._tasks[task]
        return outcomes

    def _next_in_line(self, ready: Sequence[int]) -> int:
        """Without a loop calls run one by one; what nobody waits for comes last."""
        self._waiting = sorted([*self._waiting, *ready], key=self._background)
        return self._waiting.pop(0)

    async def _call(self, ip: int) -> Outcome:
        call = self._program.instructions[ip]
        assert isinstance(call, Call)
        context = self._given[ip] = self._state[call.lane].context.settled()
        if self._scene.announcer.active:
            self._scene.announcer.step_started(call, context)
        return await self._scene.executor.execute(call, context, self)

    async def _stop(self, tasks: Sequence[asyncio.Task[Outcome]]) -> list[Succeeded]:
        """Cancel tasks and wait for them; gives what succeeded all the same."""
        if not tasks:
            return []
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            self._tasks.pop(task, None)
        return [result for result in results if isinstance(result, Succeeded)]

    # --- apply, commit, publish

    async def _digest(self, outcomes: Sequence[Outcome]) -> list[int]:
        """Apply outcomes, make them durable in one commit, tell about them; gives what is ready."""
        if self._tasks:
            async with self._log:
                batch, commit = await self._record(outcomes)
        else:  # there is nobody else who writes
            batch, commit = await self._record(outcomes)
        if self._scene.announcer.active:
            batch.tell(self._scene.announcer, commit)
        return batch.ready if self._failure is None else self._in_background(batch.ready)

    async def _record(self, outcomes: Sequence[Outcome]) -> tuple[Batch, Commit | None]:
        batch = Batch(self._state)
        for outcome in outcomes:
            await self._apply(outcome, batch)
        return batch, await self._commit(batch)

    async def _apply(self, outcome: Outcome, batch: Batch) -> None:
        if outcome.ip not in self._transacted and self._lane(outcome.ip) not in batch.state:
            return  # its background branch failed in the same moment and was closed as a whole
        if isinstance(outcome, Failed):
            await self._apply_failure(outcome, batch)
            return
        transition = self._transacted.pop(outcome.ip, None)
        given = self._given.pop(outcome.ip)
        if transition is None:
            try:
                text = self._scene.recorder.step_text(outcome) if self._scene.recorder else ""
            except EncodingError as error:
                refused = Failed(
                    ip=outcome.ip, error=error, tries=outcome.tries, duration=outcome.duration
                )
                await self._apply_failure(refused, batch)
                return
            transition = machine.succeed(
                self._program, batch.state, outcome.ip, outcome.writes, outcome.route
            )
            batch.entries.append(Entry(outcome, text, transition.state))
            batch.moved(transition)
        else:
            batch.moved(transition._replace(state=batch.state))
        if self._scene.announcer.active:
            batch.told.append((outcome, given.extended(outcome.writes, tracked=True)))
        if transition.conflict is not None:
            await self._apply_failure(conflicted(transition.conflict), batch)

    async def _apply_failure(self, failure: Failed, batch: Batch) -> None:
        at = self._program.instructions[failure.ip]
        if self._program.lanes[at.lane].background and not isinstance(failure.error, StoreError):
            await self._close_branch(failure, batch)
        elif self._failure is None:
            self._failure = failure
            self._waiting = self._in_background(self._waiting)
            # What was done by the time of the failure is kept; the rest is pointless now.
            doomed = [task for task, ip in self._tasks.items() if not self._background(ip)]
            for outcome in await self._stop(doomed):
                await self._apply(outcome, batch)

    async def _close_branch(self, failure: Failed, batch: Batch) -> None:
        before = batch.state
        context = before[self._program.instructions[failure.ip].lane].context
        lanes = machine.background_lanes(self._program, batch.state, failure.ip)
        await self._stop([task for task, ip in self._tasks.items() if self._lane(ip) in lanes])
        batch.state = machine.give_up(self._program, batch.state, failure.ip).state
        batch.ready = [ip for ip in batch.ready if self._lane(ip) not in lanes]
        self._waiting = [ip for ip in self._waiting if self._lane(ip) not in lanes]
        batch.told.append((failure, context))
        if self._scene.recorder is not None:
            text = self._scene.recorder.failure_text(failure, before)
            batch.entries.append(Entry(failure, text, batch.state))
        logger.error(
            "%s of run %s failed in the background; the run goes on.",
            self._program.instructions[failure.ip].key,
            self._scene.run_id,
            exc_info=failure.error,
        )

    async def _commit(self, batch: Batch) -> Commit | None:
        recorder, commit = self._scene.recorder, None
        if recorder is not None and batch.entries:
            commit = recorder.prepare(batch.entries, batch.state, self._ending(batch.state))
            outcomes = [entry.outcome for entry in batch.entries]
            batch.entries.clear()  # the rows hold their texts, which may be large, once more
            try:
                done = await recorder.commit(commit)
            except StoreUnavailableError:
                raise
            except StoreError as refusal:
                raise Unstorable(refused(outcomes, commit, refusal)) from refusal
            self._state = batch.state
            done.deliver()
        self._state = batch.state
        return commit

    def _ending(self, state: State) -> Ending | None:
        if self._failure is None and machine.is_finished(self._program, state):
            return Ending(status=RunStatus.SUCCEEDED)
        return None

    # --- what an execution lends to its stages

    async def chunk(self, call: Call, chunk: Any, index: int) -> None:
        """Hand on a chunk of a STREAM stage; waits while the reader is slow."""
        self._scene.announcer.chunk(call, chunk, index)
        if self._scene.chunks is not None:
            await self._scene.chunks(chunk)

    async def transact(self, call: Call, attempt: Attempt) -> Context | Send:
        """Run an attempt in a transaction that also commits its row."""
        recorder = self._scene.recorder
        if recorder is None or recorder.transactions is None:
            raise TransactionRefusedError(
                f"Stage {call.stage.name!r} is transactional, but the pipeline has no store that "
                "shares its database. Use durable=True with DjangoStore.",
                stage=call.stage.name,
            )
        async with self._log:
            made: list[tuple[Transition, Commit]] = []

            def work() -> tuple[Context | Send, Commit]:
                outcome = attempt.perform()
                moved = machine.succeed(
                    self._program, self._state, outcome.ip, outcome.writes, outcome.route
                )
                entry = Entry(outcome, recorder.step_text(outcome), moved.state)
                commit = recorder.prepare([entry], moved.state, self._ending(moved.state))
                made.append((moved, commit))
                attempt.enter_commit()
                return attempt.result, commit

            if not in_loop():
                await recorder.transact(work)
                self._transaction_done(recorder, attempt, *made[-1])
                return attempt.result
            task = asyncio.ensure_future(recorder.transact(work))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled() or attempt.abandon():
                    task.add_done_callback(_ignore)
                    raise
                await settled(task)
                self._transaction_done(recorder, attempt, *made[-1])
                raise
            self._transaction_done(recorder, attempt, *made[-1])
        return attempt.result

    def _transaction_done(
        self, recorder: Recorder, attempt: Attempt, moved: Transition, commit: Commit
    ) -> None:
        recorder.advance(commit)
        attempt.committed = True
        self._transacted[attempt.outcome.ip] = moved
        self._state = moved.state
        self._scene.announcer.committed(commit)

    # --- small questions

    def _lane(self, ip: int) -> int:
        return self._program.instructions[ip].lane

    def _background(self, ip: int) -> bool:
        return self._program.lanes[self._lane(ip)].background

    def _in_background(self, ready: Sequence[int]) -> list[int]:
        return [ip for ip in ready if self._background(ip)]


def _ignore(task: asyncio.Task[Any]) -> None:
    """An abandoned attempt ends by itself; whatever it raises was answered already."""
    if not task.cancelled():
        task.exception()
