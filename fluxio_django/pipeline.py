"""A pipeline with a sync twin of every coroutine, for callers that are not async."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import async_to_sync

from fluxio.context import Context, FinalContext
from fluxio.diff import Diff
from fluxio.nodes import NodeType
from fluxio.pipeline import Pipeline
from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.loopless import in_loop, run_without_loop
from fluxio.runtime.reading import Moment
from fluxio.runtime.runs import Watchers
from fluxio.store.memory import InMemoryStore
from fluxio.types import OnConflict
from fluxio_django.store import DjangoStore

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class DjangoPipeline(Pipeline):
    """What the registry hands out. The sync twins do their ORM work on the calling thread.

    Arguments, results and errors of each twin are those of the coroutine it is named after.
    """

    def invoke_sync(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        on_conflict: OnConflict | str = OnConflict.RESTART,
        watch: Watchers | None = None,
    ) -> FinalContext:
        """See `Pipeline.invoke`."""
        return self._sync(self.invoke, watch)(
            initial, run_id=run_id, resume=resume, on_conflict=on_conflict, watch=watch
        )

    async def resume(self, run_id: str, *, watch: Watchers | None = None) -> FinalContext:
        """Go on from the last checkpoint: `invoke({}, run_id=run_id, resume=True)`."""
        return await self.invoke({}, run_id=run_id, resume=True, watch=watch)

    def resume_sync(self, run_id: str, *, watch: Watchers | None = None) -> FinalContext:
        """See `resume`."""
        return self._sync(self.resume, watch)(run_id, watch=watch)

    def replay_sync(
        self, run_id: str, *, from_step: str | None = None, watch: Watchers | None = None
    ) -> FinalContext:
        """See `Pipeline.replay`."""
        return self._sync(self.replay, watch)(run_id, from_step=from_step, watch=watch)

    def fork_sync(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        as_run_id: str | None = None,
        patch: Mapping[str, Any] | None = None,
        watch: Watchers | None = None,
    ) -> FinalContext:
        """See `Pipeline.fork`."""
        return self._sync(self.fork, watch)(
            run_id, from_step=from_step, as_run_id=as_run_id, patch=patch, watch=watch
        )

    def run_step_sync(self, name: str, ctx: Context) -> Context:
        """See `Pipeline.run_step`."""
        return async_to_sync(self.run_step)(name, ctx)

    def diff_sync(self, a: str, b: str, *, at_a: Moment = None, at_b: Moment = None) -> Diff:
        """See `Pipeline.diff`."""
        return self._sync(self.diff)(a, b, at_a=at_a, at_b=at_b)

    def history_sync(self, run_id: str) -> list[HistoryEntry]:
        """See `Pipeline.history`."""
        return self._sync(self.history)(run_id)

    def state_sync(self, run_id: str, at: Moment = None) -> Context:
        """See `Pipeline.state`."""
        return self._sync(self.state)(run_id, at)

    def _sync(
        self,
        function: Callable[Parameters, Coroutine[Any, Any, Result]],
        watch: Watchers | None = None,
    ) -> Callable[Parameters, Result]:
        """The coroutine function as a plain one: stepped through where nothing in it waits."""
        if in_loop() or not self._never_waits(watch):
            return async_to_sync(function)
        return lambda *args, **kwargs: run_without_loop(function(*args, **kwargs))

    def _never_waits(self, watch: Watchers | None) -> bool:
        blocking = isinstance(self.checkpoint_store, DjangoStore | InMemoryStore | None)
        watched = self.callbacks or (watch is not None and (watch.callbacks or watch.chunks))
        return blocking and not watched and self._plain

    @cached_property
    def _plain(self) -> bool:
        return all(
            call.stage.node_type is NodeType.SYNC
            and call.stage.timeout is None
            and not call.middleware
            for call in self.compiled.calls
        )
