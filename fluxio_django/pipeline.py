"""A pipeline with a sync twin of every coroutine, for callers that are not async."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ParamSpec, TypedDict, TypeVar

from asgiref.sync import async_to_sync
from django.db import models

from fluxio.context import Context, FinalContext
from fluxio.diff import Diff
from fluxio.errors import ConfigurationError
from fluxio.nodes import NodeType
from fluxio.passages import Force
from fluxio.pipeline import Pipeline
from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.loopless import in_loop, run_without_loop
from fluxio.runtime.reading import Moment
from fluxio.runtime.runs import ForkOrder, Watchers
from fluxio.runtime.scene import ChunkSink
from fluxio.runtime.streaming import stream_chunks
from fluxio.store.base import RunRecord
from fluxio.store.memory import InMemoryStore
from fluxio.types import OnConflict
from fluxio_django.conf import project_callbacks, settings
from fluxio_django.handles import RunHandle
from fluxio_django.limits import NO_LIMITS, Limits
from fluxio_django.progress import board
from fluxio_django.queueing import Order, Wish, enqueue
from fluxio_django.signals import SignalSender, anybody_listens
from fluxio_django.store import DjangoStore
from fluxio_django.streaming import stream_chunks_sync
from fluxio_django.subjects import note_of
from fluxio_django.tables import Tables, hop

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Links(TypedDict):
    """What a new run is about, and whose wish it is."""

    subject: models.Model | None
    requested_by: models.Model | None


class DjangoPipeline(Pipeline):
    """What the registry hands out. The sync twins do their ORM work on the calling thread.

    Arguments, results and errors of each twin are those of the coroutine it is named after.
    """

    limits: Limits = NO_LIMITS
    """What the runs of this pipeline are held to while they are queued."""

    async def enqueue(
        self,
        initial: Mapping[str, Any],
        run_id: str | None = None,
        *,
        on_conflict: OnConflict | str = OnConflict.REJECT,
        countdown: float | None = None,
        priority: int | None = None,
        queue: str | None = None,
        subject: models.Model | None = None,
    ) -> RunHandle:
        """Write a queued run in the caller's transaction; a worker gets it after the commit.

        A rollback leaves nothing. Where the run could not be dispatched, it is stored all the same,
        and the next sweep hands it over.

        Args:
            initial: the first values; stored now, so what cannot be stored is refused now.
            run_id: 1 to 128 printable ASCII characters; generated where None.
            on_conflict: what to do when `run_id` is recorded: "reject" raises, "return" gives a
                handle to what is there, "resume" moreover has an unfinished run go on.
            countdown: seconds to wait at least.
            priority: -1000 to 1000, the pipeline's own where None; the highest ones come first.
            queue: one of FLUXIO["QUEUES"], the first one where None.
            subject: a saved model instance that the run is about.

        Raises:
            RunIDInUseError: the id is taken, or the run is a duplicate of an open one.
            EncodingError: a value cannot be stored; it says which one.
            ConfigurationError: an argument makes no sense, or the pipeline keeps no runs in the
                database where workers look.
        """
        wish = Wish(
            on_conflict=on_conflict,
            countdown=countdown,
            priority=priority,
            queue=queue,
            subject=subject,
        )
        return await hop(self.enqueue_as, initial, run_id, wish)

    def enqueue_sync(
        self,
        initial: Mapping[str, Any],
        run_id: str | None = None,
        *,
        on_conflict: OnConflict | str = OnConflict.REJECT,
        countdown: float | None = None,
        priority: int | None = None,
        queue: str | None = None,
        subject: models.Model | None = None,
    ) -> RunHandle:
        """See `enqueue`."""
        wish = Wish(
            on_conflict=on_conflict,
            countdown=countdown,
            priority=priority,
            queue=queue,
            subject=subject,
        )
        return self.enqueue_as(initial, run_id, wish)

    def enqueue_as(self, initial: Mapping[str, Any], run_id: str | None, wish: Wish) -> RunHandle:
        """Do as `enqueue`, blocking, with everything that is wished for in one object."""
        tables, policy = self.queue_tables(), wish.policy()
        place = wish.place(tables, self.limits)
        opening, key = self._runs().opening(initial, run_id), self.limits.deduplication_key(initial)
        order = Order(opening=opening, place=place, policy=policy, key=key, is_new=run_id is None)
        return enqueue(tables, order)

    def queue_tables(self) -> Tables:
        """Where the pipeline's runs are queued.

        Raises:
            ConfigurationError: the pipeline keeps no runs in the database where workers look.
        """
        tables, home = self.run_tables("queued"), settings().database
        if tables.alias != home:
            raise ConfigurationError(
                f"Pipeline {self.name!r} keeps its runs in database {tables.alias!r}, but workers "
                f"look for queued ones in {home!r}, as FLUXIO['DATABASE'] says. Invoke it, or let "
                "its DjangoStore be without `using`."
            )
        return tables

    def run_tables(self, wanted: str) -> Tables:
        """Where the pipeline's runs are; `wanted` says what cannot be done where they are not.

        Raises:
            ConfigurationError: the pipeline keeps no runs in the database.
        """
        if self.durable and isinstance(self.checkpoint_store, DjangoStore):
            return self.checkpoint_store.tables
        raise ConfigurationError(
            f"Pipeline {self.name!r} keeps no runs in the database, so none can be {wanted}. Build "
            "it with durable=True and DjangoStore."
        )

    async def invoke(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        on_conflict: OnConflict | str = OnConflict.RESTART,
        watch: Watchers | None = None,
        subject: models.Model | None = None,
        requested_by: models.Model | None = None,
    ) -> FinalContext:
        """See `Pipeline.invoke`.

        A new run is linked to `subject`, a saved model instance that it is about, and to
        `requested_by`, the user who wants it; a run that goes on keeps the links it has.

        Raises:
            ConfigurationError: one of them has not been saved, or the pipeline keeps no runs in the
                database.
        """
        runs = self._runs()
        if subject is not None or requested_by is not None:
            tables = self.run_tables("linked to anything")
            runs = replace(runs, note=await hop(note_of, tables, subject, requested_by))
        return await self._invoke(
            runs,
            initial,
            run_id=run_id,
            resume=resume,
            on_conflict=on_conflict,
            watch=watch,
        )

    def invoke_sync(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        on_conflict: OnConflict | str = OnConflict.RESTART,
        watch: Watchers | None = None,
        subject: models.Model | None = None,
        requested_by: models.Model | None = None,
    ) -> FinalContext:
        """See `invoke`."""
        return self._sync(self.invoke, watch)(
            initial,
            run_id=run_id,
            resume=resume,
            on_conflict=on_conflict,
            watch=watch,
            subject=subject,
            requested_by=requested_by,
        )

    def stream(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        watch: Watchers | None = None,
        subject: models.Model | None = None,
        requested_by: models.Model | None = None,
    ) -> AsyncGenerator[Any, None]:
        """See `Pipeline.stream`, and `invoke` for the links of a new run."""
        links = _Links(subject=subject, requested_by=requested_by)
        return stream_chunks(self._streamed(initial, run_id, resume, watch, links))

    def stream_sync(
        self,
        initial: Mapping[str, Any],
        *,
        run_id: str | None = None,
        resume: bool = False,
        watch: Watchers | None = None,
        subject: models.Model | None = None,
        requested_by: models.Model | None = None,
    ) -> Generator[Any, None, None]:
        """See `stream`. The run goes on while a chunk is waited for, and at most 16 chunks beyond.

        Closing the generator cancels the run and waits for it.
        """
        links = _Links(subject=subject, requested_by=requested_by)
        return stream_chunks_sync(self._streamed(initial, run_id, resume, watch, links))

    def _streamed(
        self,
        initial: Mapping[str, Any],
        run_id: str | None,
        resume: bool,
        watch: Watchers | None,
        links: _Links,
    ) -> Callable[[ChunkSink], Awaitable[FinalContext]]:
        """What starts a run whose chunks go into a sink."""
        return lambda sink: self.invoke(
            initial,
            run_id=run_id,
            resume=resume,
            watch=replace(watch or Watchers(), chunks=sink),
            **links,
        )

    async def resume(
        self, run_id: str, *, watch: Watchers | None = None, force: Force | None = None
    ) -> FinalContext:
        """Go on from the last checkpoint: `invoke({}, run_id=run_id, resume=True)`.

        `force` lets a run go on though other code recorded it, from behind its last recorded step.
        """
        return await self._runs().resume(run_id, self._watchers(watch), force)

    def resume_sync(
        self, run_id: str, *, watch: Watchers | None = None, force: Force | None = None
    ) -> FinalContext:
        """See `resume`."""
        return self._sync(self.resume, watch)(run_id, watch=watch, force=force)

    def execute_sync(self, record: RunRecord) -> FinalContext:
        """Do as `resume_sync` for a worker, who has just read the record of the run."""
        return self._sync(self._execute)(record)

    async def _execute(self, record: RunRecord) -> FinalContext:
        return await self._runs().resume(record.run_id, self._watchers(None), known=record)

    def replay_sync(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        watch: Watchers | None = None,
        force: Force | None = None,
    ) -> FinalContext:
        """See `Pipeline.replay`."""
        return self._sync(self.replay, watch)(run_id, from_step=from_step, watch=watch, force=force)

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
        """See `Pipeline.fork`. The fork is about what its source is about."""
        order = ForkOrder(
            run_id=run_id, from_step=from_step, as_run_id=as_run_id, patch=patch, force=force
        )
        runs = self._runs()
        if self.durable and isinstance(self.checkpoint_store, DjangoStore):
            runs = replace(runs, note=await hop(self.checkpoint_store.tables.runs.note, run_id))
        return await runs.fork(order, self._watchers(watch))

    def fork_sync(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        as_run_id: str | None = None,
        patch: Mapping[str, Any] | None = None,
        watch: Watchers | None = None,
        force: Force | None = None,
    ) -> FinalContext:
        """See `Pipeline.fork`."""
        return self._sync(self.fork, watch)(
            run_id,
            from_step=from_step,
            as_run_id=as_run_id,
            patch=patch,
            watch=watch,
            force=force,
        )

    def run_step_sync(self, name: str, ctx: Mapping[str, Any]) -> Context:
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

    def shown_sync(self, run_id: str, at: Moment = None) -> Context:
        """Do as `state_sync`, for showing: model instances are left as references."""
        return Context.create(self._sync(self._runs().reader.values)(run_id, at))

    def _watchers(self, watch: Watchers | None) -> Watchers:
        watchers = super()._watchers(watch)
        senders = (SignalSender(),) if anybody_listens() else ()
        if added := (*project_callbacks(), *senders):
            watchers = replace(watchers, callbacks=(*watchers.callbacks, *added))
        if not self.durable or not isinstance(self.checkpoint_store, DjangoStore):
            return watchers
        tables = self.checkpoint_store.tables
        return replace(watchers, report=board.sink(tables, watchers.report))

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
        asked = watch is not None and (watch.callbacks or watch.chunks)
        watched = self.callbacks or project_callbacks() or asked or anybody_listens()
        return blocking and not watched and self._plain

    @cached_property
    def _plain(self) -> bool:
        return all(
            call.stage.node_type is NodeType.SYNC
            and call.stage.timeout is None
            and not call.middleware
            for call in self.compiled.calls
        )
