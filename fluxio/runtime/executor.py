"""The only door to user code: runs one CALL and makes an outcome of what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, assert_never

from fluxio.context import Context
from fluxio.errors import StageResultError, StoreError
from fluxio.nodes import NodeType, Send, Stage
from fluxio.program import MAIN_LANE, Call, CompiledPipeline
from fluxio.runtime.attempt import Attempt
from fluxio.runtime.environment import Clock, SyncCaller
from fluxio.runtime.limit import TimeLimit
from fluxio.runtime.loopless import in_loop
from fluxio.runtime.mutation import Watch
from fluxio.runtime.outcomes import (
    Failed,
    Outcome,
    Succeeded,
    checked_result,
    checked_return,
    writes_of,
)
from fluxio.runtime.schemas import validate
from fluxio.runtime.step import ProgressSink, Step, enter_step, leave_step
from fluxio.types import Next, StageMiddleware


class Surroundings(Protocol):
    """What one execution lends to its stages."""

    @property
    def run_id(self) -> str: ...

    @property
    def debugging(self) -> bool:
        """Whether to look for values that a stage changes in place."""

    @property
    def report(self) -> ProgressSink | None:
        """Where progress goes."""

    async def chunk(self, call: Call, chunk: Any, index: int) -> None:
        """Hand on a chunk of a STREAM stage; waits while the consumer is slow."""

    async def transact(self, call: Call, attempt: Attempt) -> Context | Send:
        """Run a transactional attempt and commit its outcome with it.

        Raises:
            TransactionRefusedError: this execution cannot do so.
        """


@dataclass(slots=True)
class _Frame:
    """What the innermost call needs to know; one per execution of a CALL."""

    call: Call
    given: Context
    surroundings: Surroundings
    step: Step
    started: float
    watch: Watch | None
    attempts: list[Attempt]
    doubt: StoreError | None = None
    """Why it is not known what has become of a transactional attempt: then there is no other."""

    def committed(self) -> Succeeded | None:
        """What a transactional stage recorded: it counts, whatever was raised or changed since."""
        last = self.attempts[-1] if self.attempts else None
        return last.outcome if last is not None and last.committed else None


_frame: ContextVar[_Frame] = ContextVar("fluxio_frame")


class Executor:
    """Runs the CALLs of one pipeline; its chains of middleware are put together once."""

    def __init__(self, program: CompiledPipeline, caller: SyncCaller, clock: Clock) -> None:
        self.program = program
        self._caller = caller
        self._clock = clock
        self._stretches: dict[int, tuple[Call, ...]] = {}
        self._bare = frozenset(call.key for call in program.calls if _is_bare(call))
        self._chains = {call.key: self._chain(call) for call in program.calls if call.middleware}

    async def execute(self, call: Call, context: Context, around: Surroundings) -> Outcome:
        """Validate, run the middleware chain and the stage, validate, and say how it went.

        Only an `Exception` becomes an outcome; a cancellation of the run passes through.
        """
        if call.key in self._bare and not around.debugging:
            return await self._execute_bare(call, context, around)
        step = Step(
            run_id=around.run_id,
            key=call.key,
            pipeline=self.program.name,
            version=self.program.version,
            report=around.report,
        )
        watch = Watch(context) if around.debugging else None
        frame = _Frame(call, context, around, step, self._clock.monotonic(), watch, [])
        token = enter_step(step)
        try:
            validate(call.stage, call.stage.input_schema, context, "input")
            result = await self._through_middleware(frame)
            outcome = frame.committed() or self._settle(frame, result)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - its outcome
            failed = self._failed(call, _own(error, call.stage), step.attempt, frame.started)
            return frame.committed() or failed
        finally:
            leave_step(token)
        return outcome

    async def _execute_bare(self, call: Call, context: Context, around: Surroundings) -> Outcome:
        """Do as `execute` with a call that is nothing but its function."""
        program, stage = self.program, call.stage
        step = Step(around.run_id, call.key, program.name, program.version, 1, around.report)
        started = self._clock.monotonic()
        token = enter_step(step)
        try:
            if stage.node_type is NodeType.ASYNC:
                result = await stage.function(context)
            else:
                result = await self._caller.call(_plainly, stage, context)
            return self._succeeded(call, context, checked_result(stage, result), 1, started)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - its outcome
            return self._failed(call, _own(error, call.stage), 1, started)
        finally:
            leave_step(token)

    def stretch_at(self, ip: int) -> tuple[Call, ...]:
        """The plain calls that follow each other on the main lane from an instruction on."""
        known = self._stretches.get(ip)
        if known is None:
            calls: list[Call] = []
            at = self.program.instructions[ip]
            while isinstance(at, Call) and _is_plain(at):
                calls.append(at)
                at = self.program.instructions[at.next]
            known = self._stretches[ip] = tuple(calls)
        return known

    async def run_stretch(
        self, calls: Sequence[Call], context: Context, around: Surroundings
    ) -> tuple[Context, Failed | None]:
        """Run plain calls one after another, when there is nothing to do between them.

        Gives the context after the last call that succeeded, and the failure of the next.
        """
        for call in calls:
            step = Step(
                around.run_id, call.key, self.program.name, self.program.version, 1, around.report
            )
            token = enter_step(step)
            started = self._clock.monotonic()
            try:
                result = await call.stage.function(context)
                if result is context:
                    continue
                writes, _ = writes_of(call, context, checked_result(call.stage, result))
                context = result.settled_upon(context, writes)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - its outcome
                return context, self._failed(call, _own(error, call.stage), 1, started)
            finally:
                leave_step(token)
        return context, None

    async def _through_middleware(self, frame: _Frame) -> Context | Send:
        chain = self._chains.get(frame.call.key)
        if chain is None:
            return await self._attempt(frame, frame.given)
        token = _frame.set(frame)
        try:
            return await chain(frame.given)
        finally:
            _frame.reset(token)

    def _chain(self, call: Call) -> Next:
        async def innermost(context: Context) -> Context | Send:
            return await self._attempt(_frame.get(), context)

        handler: Next = innermost
        for middleware in reversed(call.middleware):
            handler = _around(middleware, call.stage, handler)
        return handler

    async def _attempt(self, frame: _Frame, context: Context) -> Context | Send:
        if frame.committed() is not None:
            return frame.attempts[-1].result
        if frame.doubt is not None:
            raise frame.doubt
        frame.step.attempt += 1
        stage = frame.call.stage
        limit = None if stage.timeout is None else TimeLimit(stage, stage.timeout)
        match stage.node_type:
            case NodeType.ASYNC:
                work: Awaitable[Any] = stage.function(context)
            case NodeType.SYNC if stage.transactional:
                work = self._transact(frame, context, limit)
            case NodeType.SYNC:
                work = self._caller.call(_plainly, stage, context, limit)
            case NodeType.STREAM:
                work = self._stream(frame, context)
            case _:
                assert_never(stage.node_type)
        try:
            result = await (work if limit is None else limit.hold(work))
        except asyncio.CancelledError as error:
            raise _own(error, stage) from error
        return checked_result(stage, result)

    async def _stream(self, frame: _Frame, context: Context) -> Context:
        stage, chunks = frame.call.stage, []
        generator = stage.function(context)
        try:
            async for chunk in generator:
                if isinstance(chunk, Context | Send):
                    raise StageResultError(
                        f"STREAM stage {stage.name!r} yielded a {type(chunk).__name__}. Yield "
                        f"chunks; they are stored under {stage.name + '_stream_result'!r}.",
                        stage=stage.name,
                    )
                chunks.append(chunk)
                await frame.surroundings.chunk(frame.call, chunk, len(chunks) - 1)
        finally:
            await generator.aclose()
        return context.set(f"{stage.name}_stream_result", chunks)

    async def _transact(
        self, frame: _Frame, context: Context, limit: TimeLimit | None
    ) -> Context | Send:
        stage = frame.call.stage
        attempt = Attempt(
            lambda: checked_result(stage, _plainly(stage, context, limit)),
            lambda result: self._settle(frame, result),
        )
        frame.attempts.append(attempt)
        try:
            return await frame.surroundings.transact(frame.call, attempt)
        except StoreError as error:
            frame.doubt = error
            raise

    def _settle(self, frame: _Frame, result: Context | Send) -> Succeeded:
        """What a result means, where more than the function itself has a say."""
        call = frame.call
        if frame.watch is not None:
            frame.watch.check(call.stage.name)
        tries, started = frame.step.attempt, frame.started
        outcome = self._succeeded(call, frame.given, result, tries, started)
        if call.stage.output_schema is not None:
            after = frame.given.extended(outcome.writes, tracked=False)
            validate(call.stage, call.stage.output_schema, after, "output")
        return outcome

    def _succeeded(
        self, call: Call, given: Context, result: Context | Send, tries: int, started: float
    ) -> Succeeded:
        writes, route = writes_of(call, given, result)
        spent = self._clock.monotonic() - started
        return Succeeded(self.program.index[call.key], writes, route, tries, spent)

    def _failed(self, call: Call, error: Exception, tries: int, started: float) -> Failed:
        spent = self._clock.monotonic() - started
        return Failed(self.program.index[call.key], error, tries, spent)


def _is_plain(call: Call) -> bool:
    """Whether running the call means no more than awaiting its function, and going on."""
    asynchronous = call.stage.node_type is NodeType.ASYNC
    return asynchronous and call.lane == MAIN_LANE and call.routes is None and _is_bare(call)


def _is_bare(call: Call) -> bool:
    """Whether nothing is around the function of a call, and it returns its result at once."""
    stage = call.stage
    return (
        stage.node_type is not NodeType.STREAM
        and not stage.transactional
        and not call.middleware
        and stage.timeout is None
        and stage.input_schema is None
        and stage.output_schema is None
    )


def _plainly(stage: Stage, context: Context, limit: TimeLimit | None = None) -> Any:
    """Call a plain stage; no future can carry a StopIteration, so who waits would wait for ever."""
    if limit is not None:
        limit.begin()
    try:
        return stage.function(context)
    except StopIteration as stop:
        raise RuntimeError(f"Stage {stage.name!r} raised StopIteration.") from stop


def _around(middleware: StageMiddleware, stage: Stage, handler: Next) -> Next:
    async def around(context: Context) -> Context | Send:
        return checked_return(stage, middleware, await middleware(stage, context, handler))

    return around


def _own(error: Exception | asyncio.CancelledError, stage: Stage) -> Exception:
    """What a stage is to be blamed for.

    Raises:
        CancelledError: it is the task that was cancelled, and with it the run.
    """
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task() if in_loop() else None
    if task is not None and task.cancelling():
        raise error
    own = RuntimeError(
        f"Stage {stage.name!r} raised CancelledError, but nobody cancelled its run. Handle the "
        "cancellation of what a stage waits for inside the stage."
    )
    own.__cause__ = error
    return own
