"""Our tables in one database, reached without importing the models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.apps import apps
from django.db import connections, models

from fluxio.runtime.loopless import in_loop
from fluxio_django.conf import settings

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from fluxio_django.gates import GateQuerySet, KeyQuerySet, QueueQuerySet
    from fluxio_django.querysets import RunQuerySet
    from fluxio_django.rows import CheckpointQuerySet, VersionQuerySet

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
        runs: RunQuerySet[Any] = _all("Run", self.alias).all()
        return runs

    @property
    def constant_runs(self) -> RunQuerySet[Any]:
        """The same for statements whose text is constant, without a copy; never to be evaluated."""
        runs: RunQuerySet[Any] = _all("Run", self.alias)
        return runs

    @property
    def models(self) -> tuple[type[models.Model], type[models.Model]]:
        """The models of runs and of their rows."""
        return self.constant_runs.model, _all("Checkpoint", self.alias).model

    @property
    def rows(self) -> CheckpointQuerySet[Any]:
        """All rows of their logs."""
        rows: CheckpointQuerySet[Any] = _all("Checkpoint", self.alias).all()
        return rows

    @property
    def versions(self) -> VersionQuerySet[Any]:
        """All versions of pipelines."""
        versions: VersionQuerySet[Any] = _all("PipelineVersion", self.alias).all()
        return versions

    @property
    def queues(self) -> QueueQuerySet[Any]:
        """All queues that were ever paused."""
        queues: QueueQuerySet[Any] = _all("Queue", self.alias).all()
        return queues

    @property
    def gates(self) -> GateQuerySet[Any]:
        """The gates of pipelines with limits."""
        gates: GateQuerySet[Any] = _all("Gate", self.alias).all()
        return gates

    @property
    def keys(self) -> KeyQuerySet[Any]:
        """The deduplication keys of runs."""
        keys: KeyQuerySet[Any] = _all("DeduplicationKey", self.alias).all()
        return keys


@cache
def _all(model: str, alias: str) -> Any:
    """A query set to be copied: putting one together anew would cost as much as a short query."""
    return apps.get_model("fluxio_django", model).objects.using(alias)


def workplace() -> object:
    """What tells apart the threads to which coroutines `hop` from here: equal means the same one.

    Follows `sync_to_async`, which looks in this order for the thread of a caller that is not async,
    for the thread of a request, and for that of the loop.
    """
    caller = getattr(AsyncToSync.executors, "current", None)
    request = SyncToAsync.thread_sensitive_context.get(None)
    return caller or request or asyncio.get_running_loop()


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
