"""The facade: define a pipeline, run it, look at its runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

from fluxio.compiler.checks import check_surroundings
from fluxio.compiler.compilation import Source, compile_pipeline
from fluxio.compiler.explain import mermaid, outline
from fluxio.context import Context, FinalContext
from fluxio.diff import Diff
from fluxio.errors import ConfigurationError
from fluxio.nodes import Nestable
from fluxio.observability.base import BaseCallback
from fluxio.passages import Force, Migration, Passages
from fluxio.program import CompiledPipeline
from fluxio.runtime.environment import Environment, SyncCaller, default_environment
from fluxio.runtime.executor import Executor
from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.reading import Moment
from fluxio.runtime.runs import ForkOrder, Runs, Watchers
from fluxio.runtime.scene import ChunkSink
from fluxio.runtime.single import run_single_step
from fluxio.runtime.streaming import stream_chunks
from fluxio.store.base import CheckpointStore, Journal
from fluxio.store.lone import open_journal
from fluxio.store.memory import InMemoryStore
from fluxio.types import OnConflict, StageMiddleware

Bound = TypeVar("Bound", bound="Pipeline")


@dataclass(frozen=True, slots=True)
class Hands:
    """What a pipeline works with in one environment: made at first use, freed by `shutdown`."""

    environment: Environment
    caller: SyncCaller
    executor: Executor


class Pipeline(Nestable):
    """Stages in an order, compiled once, run as often as wanted, from any thread or event loop.

    Args:
        nodes: stages, `Parallel([...])`, a dict of routes after a router stage, other pipelines. Of
            those only stages, middleware and `auto_parallel` count in here.
        name: who the runs belong to; a run id recorded by one pipeline is refused by another.
        middleware: stands around every stage attempt, the first one outermost.
        callbacks: watch every run.
        checkpoint_store: where checkpoints go; an `InMemoryStore` when durable and None is given.
        durable: keep a checkpoint before every stage, so that a run can be resumed.
        max_workers: threads for plain `def` stages.
        auto_parallel: run consecutive stages side by side that declare independent keys.
        compatible_with: earlier versions whose runs this code goes on with as they stand.

    Raises:
        CompilationError: the nodes do not form a program.
        TypeError, ValueError: another argument is not what belongs there.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        *,
        name: str | None = None,
        middleware: Sequence[StageMiddleware] | None = None,
        callbacks: Sequence[BaseCallback] | None = None,
        checkpoint_store: CheckpointStore | None = None,
        durable: bool = False,
        max_workers: int | None = None,
        auto_parallel: bool = False,
        compatible_with: Sequence[str] = (),
    ) -> None:
        self.nodes = nodes
        self.name = name
        self.middleware = tuple(middleware or ())
        self.callbacks = tuple(callbacks or ())
        self.checkpoint_store = checkpoint_store
        self.durable = durable
        self.max_workers = max_workers
        self.auto_parallel = auto_parallel
        check_surroundings(
            middleware=self.middleware,
            callbacks=self.callbacks,
            store=checkpoint_store,
            max_workers=max_workers,
        )
        compiled = compile_pipeline(
            Source(
                nodes=nodes,
                name=name or "",
                middleware=self.middleware,
                auto_parallel=auto_parallel,
            )
        )
        passages = Passages.from_versions(compatible_with)
        self.compiled: CompiledPipeline = replace(compiled, passages=passages)
        if durable and checkpoint_store is None:
            self.checkpoint_store = InMemoryStore()
        self._has_own_store = checkpoint_store is not None
        self._lock = Lock()
        self._hands: Hands | None = None

    def bound_to(
        self, kind: type[Bound], *, name: str, store: Callable[[], CheckpointStore]
    ) -> Bound:
        """A twin of a subclass under another name; `store` makes its store where it has none."""
        twin = object.__new__(kind)
        twin.__dict__.update(self.__dict__)
        twin.name = name
        twin.compiled = replace(self.compiled, name=name)
        if self.durable and not self._has_own_store:
            twin.checkpoint_store = store()
        twin._lock, twin._hands = Lock(), None
        return twin

    @property
    def version(self) -> str:
        """A short sha256 over the structure and the stages' code, schemas and options."""
        return self.compiled.version

    def explain(self) -> str:
        """The compiled program as an indented outline."""
        return outline(self.compiled)

    def to_mermaid(self) -> str:
        """The compiled program as a Mermaid flowchart."""
        return mermaid(self.compiled)

    def migrate(self, version: str) -> Callable[[Migration], Migration]:
        """Have the decorated function carry over runs that an earlier version recorded.

        It takes the context of a run and a `Where`, and returns the context to go on with; together
        with the key of a step, `(context, step)`, where the run is not to go on at the step that is
        due. It has to be pure: it is called before anything runs, and by `fluxio_check` too. What
        it gave is recorded as a new attempt, so it is not asked again.

        Raises:
            ConfigurationError: `version` is none, or its runs have a way already.
        """

        def register(migration: Migration) -> Migration:
            self.compiled.passages.add(version, migration)
            return migration

        return register

    # --- running

    async def invoke(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        on_conflict: OnConflict | str = OnConflict.RESTART,
        watch: Watchers | None = None,
    ) -> FinalContext:
        """Run to the end and return the final context.

        Args:
            initial: the first values; ignored when an existing run goes on.
            run_id: 1 to 128 printable ASCII characters; generated where None.
            resume: go on from the last checkpoint of `run_id`; a finished run gives its result.
            on_conflict: what to do when `run_id` is recorded and nobody executes it: "restart"
                deletes its history, "resume" goes on, "return" gives the stored result of a
                finished run, "reject" raises.
            watch: who looks on, beside the pipeline's own callbacks.

        Raises:
            Exception: whatever the failing stage raised.
            NoCheckpointError: `resume` of a run nobody recorded.
            CheckpointVersionError: other code recorded the run; nothing has run.
            RunIDInUseError: the run is being executed elsewhere, or the policy refuses it.
        """
        return await self._invoke(
            self._runs(),
            initial,
            run_id=run_id,
            resume=resume,
            on_conflict=on_conflict,
            watch=watch,
        )

    async def _invoke(
        self,
        runs: Runs,
        initial: Mapping[str, Any],
        *,
        run_id: str | None,
        resume: bool,
        on_conflict: OnConflict | str,
        watch: Watchers | None,
    ) -> FinalContext:
        policy, watchers = _policy(on_conflict), self._watchers(watch)
        if resume:
            if run_id is None:
                raise ConfigurationError("resume=True needs the run_id of the run to go on with.")
            return await runs.resume(run_id, watchers)
        return await runs.start(initial, run_id, policy, watchers)

    def stream(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        watch: Watchers | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Run and yield the chunks of STREAM stages as they come.

        The run waits for a slow reader, and leaving the loop early cancels it. Arguments and errors
        are those of `invoke`.
        """

        async def start(sink: ChunkSink) -> FinalContext:
            watchers = replace(watch or Watchers(), chunks=sink)
            return await self.invoke(initial, run_id=run_id, resume=resume, watch=watchers)

        return stream_chunks(start)

    async def run_step(self, name: str, ctx: Mapping[str, Any]) -> Context:
        """Run one stage through its middleware, outside of any run; nothing is recorded.

        `ctx` is a context, or a mapping of which one is made.

        Raises:
            KeyError: no step or stage has this name.
            TypeError: `ctx` is no mapping or has a key that is no str.
        """
        return await run_single_step(self._runs(), self.compiled.call(name), ctx)

    async def replay(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        watch: Watchers | None = None,
        force: Force | None = None,
    ) -> FinalContext:
        """Run again under the same id as a new attempt; earlier rows are never altered.

        Starts from the last checkpoint of an unfinished run, from the beginning of a finished one,
        or from the state recorded before `from_step`. `force` lets it go on though other code
        recorded it.

        Raises:
            KeyError: `from_step` is no step of the pipeline.
            NoCheckpointError: no such run, or it never came to that step.
            CheckpointVersionError: other code recorded the run; nothing has run.
            RunIDInUseError: the run is being executed.
        """
        return await self._runs().replay(run_id, from_step, self._watchers(watch), force)

    async def fork(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        as_run_id: str | None = None,
        patch: Mapping[str, Any] | None = None,
        watch: Watchers | None = None,
        force: Force | None = None,
    ) -> FinalContext:
        """Do as `replay`, but into a new run (`result.run_id`) linked to its untouched source.

        `patch` is set in the context before the first stage of the fork. Errors are those of
        `replay`; RunIDInUseError says that `as_run_id` is taken.
        """
        order = ForkOrder(
            run_id=run_id, from_step=from_step, as_run_id=as_run_id, patch=patch, force=force
        )
        return await self._runs().fork(order, self._watchers(watch))

    # --- looking

    async def diff(self, a: str, b: str, *, at_a: Moment = None, at_b: Moment = None) -> Diff:
        """Compare two runs key by key: `{key: {"a": .., "b": ..}}`.

        `at_a` and `at_b` choose the moment: None the newest, a number the state after that row, a
        step key the state before that step.

        Raises:
            NoCheckpointError: no such run or moment.
            TypeError: a moment is none of these.
        """
        return await self._runs().reader.diff((a, at_a), (b, at_b))

    async def history(self, run_id: str) -> list[HistoryEntry]:
        """Every row of a run, decoded, oldest first.

        Raises:
            NoCheckpointError: no such run.
            CorruptCheckpointError: a row is damaged.
        """
        return await self._runs().reader.history(run_id)

    async def state(self, run_id: str, at: Moment = None) -> Context:
        """The context of a run at a recorded moment (see `diff`), as a stage would get it.

        Raises:
            NoCheckpointError: no such run or moment.
            TypeError: `at` is none.
        """
        return await self._runs().reader.state(run_id, at)

    # --- threads

    async def __aenter__(self) -> Pipeline:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()

    def shutdown(self) -> None:
        """Free the threads of plain stages; a later run makes new ones."""
        with self._lock:
            held, self._hands = self._hands, None
        if held is not None:
            held.caller.close()

    def _runs(self) -> Runs:
        environment = default_environment()
        hands = self._hands_in(environment)
        return Runs(
            executor=hands.executor,
            journal=self._journal(),
            environment=environment,
            caller=hands.caller,
        )

    def _journal(self) -> Journal | None:
        if not self.durable or self.checkpoint_store is None:
            return None
        return open_journal(self.checkpoint_store)

    def _hands_in(self, environment: Environment) -> Hands:
        with self._lock:
            if self._hands is None or self._hands.environment is not environment:
                caller = environment.make_caller(self.max_workers)
                executor = Executor(self.compiled, caller, environment.clock)
                self._hands = Hands(environment, caller, executor)
            return self._hands

    def _watchers(self, watch: Watchers | None) -> Watchers:
        asked = watch or Watchers()
        return replace(asked, callbacks=(*self.callbacks, *asked.callbacks))


def _policy(value: OnConflict | str) -> OnConflict:
    try:
        return OnConflict(value)
    except ValueError:
        known = ", ".join(OnConflict)
        raise ConfigurationError(f"on_conflict={value!r} is unknown; choose {known}.") from None
