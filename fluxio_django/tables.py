"""Our tables in one database, reached without importing the models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.apps import apps
from django.db import connections, models

from fluxio.runtime.loopless import in_loop
from fluxio_django.conf import settings
from fluxio_django.gates import GateQuerySet, KeyQuerySet, QueueQuerySet
from fluxio_django.querysets import RunQuerySet
from fluxio_django.rows import CheckpointQuerySet, VersionQuerySet

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tables:
    """The querysets of one database; `using` is its alias, None takes FLUXIO["DATABASE"].

    Stores are built while settings and apps are still loading, so models are looked up at use.
    """

    using: str | None = None

    @property
    def alias(self) -> str:
        """The alias of the database."""
        return settings().database if self.using is None else self.using

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection to it."""
        return connections[self.alias]

    @property
    def runs(self) -> RunQuerySet[Any]:
        """All runs."""
        runs: RunQuerySet[Any] = _all(RunQuerySet, "Run", self.alias).all()
        return runs

    @property
    def constant_runs(self) -> RunQuerySet[Any]:
        """The same for statements whose text is constant, without a copy; never to be evaluated."""
        runs: RunQuerySet[Any] = _all(RunQuerySet, "Run", self.alias)
        return runs

    @property
    def models(self) -> tuple[type[models.Model], type[models.Model]]:
        """The models of runs and of their rows."""
        return self.constant_runs.model, _all(CheckpointQuerySet, "Checkpoint", self.alias).model

    @property
    def rows(self) -> CheckpointQuerySet[Any]:
        """All rows of their logs."""
        rows: CheckpointQuerySet[Any] = _all(CheckpointQuerySet, "Checkpoint", self.alias).all()
        return rows

    @property
    def versions(self) -> VersionQuerySet[Any]:
        """All versions of pipelines."""
        versions: VersionQuerySet[Any] = _all(VersionQuerySet, "PipelineVersion", self.alias).all()
        return versions

    @property
    def queues(self) -> QueueQuerySet[Any]:
        """All queues that were ever paused."""
        queues: QueueQuerySet[Any] = _all(QueueQuerySet, "Queue", self.alias).all()
        return queues

    @property
    def gates(self) -> GateQuerySet[Any]:
        """The gates of pipelines with limits."""
        gates: GateQuerySet[Any] = _all(GateQuerySet, "Gate", self.alias).all()
        return gates

    @property
    def keys(self) -> KeyQuerySet[Any]:
        """The deduplication keys of runs."""
        keys: KeyQuerySet[Any] = _all(KeyQuerySet, "DeduplicationKey", self.alias).all()
        return keys


@cache
def _all(kind: type[models.QuerySet[Any]], model: str, alias: str) -> Any:
    """A query set to be copied: putting one together anew would cost as much as a short query."""
    return kind(apps.get_model("fluxio_django", model), using=alias)


def workplace() -> object:
    """What tells apart the threads to which coroutines `hop` from here: equal means the same one.

    Follows `sync_to_async`, which looks in this order for the thread of a caller that is not async,
    for the thread of a request, and for that of the loop.
    """
    caller = getattr(AsyncToSync.executors, "current", None)
    request = SyncToAsync.thread_sensitive_context.get(None)
    return caller or request or asyncio.get_running_loop()


def hop_from(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Result],
    /,
    *args: Any,
    tell: Callable[[Result | BaseException], None],
) -> None:
    """Do as `hop` without a coroutine that waits: `tell` gets what comes of it, in the loop.

    Work that neither is async nor calls what is needs nothing of what `sync_to_async` puts around
    it but the thread, which is most of what a hop costs.
    """
    executor = _executor_of(loop)
    if executor is None:
        asyncio.ensure_future(hop(function, *args)).add_done_callback(lambda it: tell(_outcome(it)))
        return
    context = copy_context()

    def work() -> None:
        try:
            found: Result | BaseException = context.run(function, *args)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits in the loop
            found = error
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(tell, found)

    try:
        executor.submit(work)
    except RuntimeError as error:  # it has quit
        loop.call_soon(tell, error)


def _outcome(task: asyncio.Future[Any]) -> Any:
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


def _executor_of(loop: asyncio.AbstractEventLoop) -> Executor | None:
    """The one that `sync_to_async` would choose here; None where it has yet to be made."""
    caller: Executor | None = getattr(AsyncToSync.executors, "current", None)
    if caller is not None:
        return caller
    request = SyncToAsync.thread_sensitive_context.get(None)
    if request is not None:
        return SyncToAsync.context_to_thread_executor.get(request)
    if loop in AsyncToSync.loop_thread_executors or SyncToAsync.deadlock_context.get(False):
        return AsyncToSync.loop_thread_executors.get(loop)
    return SyncToAsync.single_thread_executor


async def hop(
    function: Callable[Parameters, Result],
    /,
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """Call a blocking unit of work on the thread where Django's connections live.

    Without an event loop that is the calling thread, and there is nothing to wait for.
    """
    if not in_loop():
        return function(*args, **kwargs)
    return await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)


def let_go() -> None:
    """Close the connections of this thread, which waits now; not in the middle of a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
