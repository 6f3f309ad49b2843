"""Runs one stage by itself, the way a pipeline would: for tests of stages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fluxio.compiler.compilation import Source, compile_pipeline
from fluxio.context import Context
from fluxio.nodes import NodeType, Stage, as_stage, stage
from fluxio.program import Call
from fluxio.runtime.attempt import Attempt
from fluxio.runtime.environment import Clock, SystemClock, ThreadPoolCaller, random_run_id
from fluxio.runtime.executor import Executor
from fluxio.runtime.outcomes import Failed, Succeeded
from fluxio.runtime.single import Alone
from fluxio.types import StageMiddleware


class StepHarness:
    """One stage with its schemas, its timeout, its retries and the given middleware.

    Runs are outside of any pipeline and leave no checkpoint; `current_step()` works, changes in
    place are always looked for, and a transactional stage runs as a plain one. Use it as a context
    manager, `async with` or plain `with`, so that its threads are given back.

    Args:
        stage: the stage, or a plain function to make one of.
        middleware: what stands around it, the outermost first.
        routes: the routes that may follow; give them for a router, whose answer is in `route`.
        clock: the time that measures attempts.
    """

    def __init__(
        self,
        stage: Stage | Callable[..., Any],
        middleware: Sequence[StageMiddleware] = (),
        *,
        routes: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.stage = as_stage(stage)
        self._caller = ThreadPoolCaller()
        nodes = [self.stage, dict.fromkeys(routes, _whatever_follows)] if routes else [self.stage]
        program = compile_pipeline(
            Source(nodes=nodes, name=self.stage.name, middleware=tuple(middleware))
        )
        self._call: Call = program.calls[0]
        self._executor = Executor(program, self._caller, clock or SystemClock())
        self._last: Succeeded | None = None

    async def run(self, ctx: Context | Mapping[str, Any] | None = None) -> Context:
        """The context after the stage; for a router, with the values it sends along.

        Raises:
            Exception: whatever the stage raised, after its last attempt.
        """
        return await self._execute(ctx, [])

    async def run_stream(self, ctx: Context | Mapping[str, Any] | None = None) -> list[Any]:
        """The chunks of a STREAM stage, in order.

        Raises:
            TypeError: it is no STREAM stage.
            Exception: whatever the stage raised.
        """
        if self.stage.node_type is not NodeType.STREAM:
            raise TypeError(
                f"Stage {self.stage.name!r} is {self.stage.node_type} and yields no chunks. "
                "Use run(), or write it as `async def` with `yield`."
            )
        chunks: list[Any] = []
        await self._execute(ctx, chunks)
        return chunks

    def run_sync(self, ctx: Context | Mapping[str, Any] | None = None) -> Context:
        """`run` for plain tests, in an event loop of its own."""
        return asyncio.run(self.run(ctx))

    @property
    def route(self) -> str | None:
        """The route that the last run chose; None where the stage is no router."""
        return self._finished().route

    @property
    def written(self) -> Mapping[str, Any]:
        """What the last run wrote."""
        return self._finished().writes

    @property
    def tries(self) -> int:
        """How many attempts the last run took."""
        return self._finished().tries

    def assert_writes(self, *keys: str) -> None:
        """Fail unless the last run wrote exactly these keys.

        Raises:
            AssertionError: it wrote others, or not all of them; the message lists both.
        """
        written = set(self._finished().writes)
        missing, extra = sorted(set(keys) - written), sorted(written - set(keys))
        if missing or extra:
            parts = [f"did not write {', '.join(missing)}"] if missing else []
            parts += [f"also wrote {', '.join(extra)}"] if extra else []
            raise AssertionError(f"Stage {self.stage.name!r} {' and '.join(parts)}.")

    def close(self) -> None:
        """Give the threads back; the harness can be used again."""
        self._caller.close()

    async def _execute(self, ctx: Context | Mapping[str, Any] | None, chunks: list[Any]) -> Context:
        self._last = None
        given = ctx if isinstance(ctx, Context) else Context.create(ctx)
        given = given.settled()
        outcome = await self._executor.execute(self._call, given, _Bench(self._caller, chunks))
        if isinstance(outcome, Failed):
            raise outcome.error
        self._last = outcome
        return given.update(outcome.writes)

    def _finished(self) -> Succeeded:
        if self._last is None:
            raise AssertionError(f"Stage {self.stage.name!r} has not finished a run; run it first.")
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Bench(Alone):
    """Surroundings that collect chunks and let transactional stages run as plain ones."""

    def __init__(self, caller: ThreadPoolCaller, chunks: list[Any]) -> None:
        super().__init__(random_run_id(), True)
        self._caller = caller
        self._collected = chunks

    async def chunk(self, call: Call, chunk: Any, index: int) -> None:
        self._collected.append(chunk)

    async def transact(self, call: Call, attempt: Attempt) -> Any:
        await self._caller.call(attempt.perform)
        attempt.enter_commit()
        attempt.committed = True
        return attempt.result


@stage
async def _whatever_follows(ctx: Context) -> Context:
    return ctx
