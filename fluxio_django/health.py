"""Whether runs are being worked on: what a probe asks, in a few cheap queries."""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, connections, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import settings
from fluxio_django.queues import AT_GATE, AVAILABLE, LAPSED
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from fluxio_django.models import Run
    from fluxio_django.querysets import RunQuerySet

_APP = "fluxio_django"
_LAPSED = Count("pk", filter=LAPSED)
_MOST_LOOKED_AT = 10_000
"""Of a longer queue the runs that were created first are looked at, so that a probe stays cheap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How things stand; `problems` is empty where all is well.

    `oldest_wait` is for how many seconds the run has waited that waits longest, of those that a
    worker may begin with: not put off, not at a limit of its pipeline, in no paused queue. It is
    None where none waits, or the database did not say. `lapsed_runs` counts the runs whose worker
    let its lease expire and that nobody has taken over yet.
    """

    problems: tuple[str, ...] = ()
    oldest_wait: float | None = None
    lapsed_runs: int | None = None


def examine(tables: Tables) -> Health:
    """Ask the database; five queries. An error of the database is a problem, and not raised."""
    try:
        if not _is_migrated(tables):
            return Health(problems=("Migrations of fluxio_django are not applied.",))
        return _runs(tables)
    except (DatabaseError, InterfaceError):
        return Health(problems=("The database does not answer.",))


def _runs(tables: Tables) -> Health:
    patience = settings().health_wait_seconds
    wait = oldest_wait(tables)
    late = Q(lease_expires_at__lte=DatabaseTime(-patience))
    found = _running(tables).aggregate(lapsed=_LAPSED, late=Count("pk", filter=late))
    problems = []
    if wait is not None and wait > patience:
        problems.append(f"A run has waited for a worker for {wait:.0f} s.")
    if found["late"]:
        problems.append(
            f"Runs whose worker is gone have waited for another one for over {patience:g} s: "
            f"{found['late']}."
        )
    return Health(problems=tuple(problems), oldest_wait=wait, lapsed_runs=found["lapsed"])


def lapsed_runs(tables: Tables) -> int:
    """How many runs have no worker any more; see `Health.lapsed_runs`. One query."""
    return int(_running(tables).aggregate(lapsed=_LAPSED)["lapsed"])


def oldest_wait(tables: Tables) -> float | None:
    """How long the run has waited that waits longest; see `Health.oldest_wait`. Two queries."""
    paused = list(tables.queues.paused_states())
    queued = tables.runs.filter(status=RunStatus.QUEUED.value)
    first = queued.order_by("created_at", "pk")[:_MOST_LOOKED_AT]
    waits = AVAILABLE & ~Q(held_back__startswith=AT_GATE) & ~Q(queue__in=paused)
    since: models.Func = Coalesce("available_at", "created_at")
    oldest: datetime | None = first.aggregate(oldest=Min(since, filter=waits))["oldest"]
    if oldest is None:
        return None
    return max(0.0, (timezone.now() - oldest).total_seconds())


def _running(tables: Tables) -> RunQuerySet[Run]:
    return tables.runs.filter(status=RunStatus.RUNNING.value).order_by()


def _is_migrated(tables: Tables) -> bool:
    recorder: Any = MigrationRecorder(connections[tables.alias])
    wanted = _migrations()
    if not wanted or not recorder.has_table():
        return not wanted
    return int(recorder.migration_qs.filter(app=_APP, name__in=wanted).count()) == len(wanted)


@cache
def _migrations() -> frozenset[str]:
    """The migrations there are; found once, since they come with the code."""
    name, _is_explicit = MigrationLoader.migrations_module(_APP)
    if name is None:
        return frozenset()
    package = import_module(name)
    return frozenset(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name[0] not in "_~"
    )
