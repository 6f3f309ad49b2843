"""Retention: which ended runs are old enough to go, and how they go without holding anybody up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Count, Exists, F, OuterRef, Q, Sum

from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import EVERY_PIPELINE, settings
from fluxio_django.faults import surely
from fluxio_django.isolation import own_transaction
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from fluxio_django.querysets import RunQuerySet

ROWS_AT_ONCE = 5_000
"""How many rows of logs one transaction deletes, about."""

_RUNS_AT_ONCE = 500
_KEYS_AT_ONCE = 1_000
_SECONDS_OF_REST = 3_600.0
_OPEN = tuple(status.value for status in RunStatus if status.is_open)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shelf:
    """Ended runs that are kept for the same time.

    `pipeline` is None for those of every pipeline but `except_pipelines`, which have times of their
    own for this status.
    """

    status: str
    age: timedelta
    pipeline: str | None = None
    except_pipelines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """How much of a pipeline in one status is old enough to go: runs, and rows of their logs."""

    pipeline: str
    status: str
    runs: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What has been deleted so far."""

    runs: int = 0
    rows: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return replace(self, runs=self.runs + other.runs, rows=self.rows + other.rows)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one transaction deleted, and the newest run it looked at (created, primary key)."""

    pruned: Pruned
    last: tuple[datetime, int] | None


def shelves() -> list[Shelf]:
    """What FLUXIO["RETENTION"] says, one shelf for each time it names."""
    rules: Mapping[str, Mapping[str, Any]] = settings().retention or {}
    found: list[Shelf] = []
    for pipeline, by_status in rules.items():
        for status, kept in by_status.items():
            if kept is None:
                continue
            age = kept if isinstance(kept, timedelta) else timedelta(days=kept)
            if pipeline != EVERY_PIPELINE:
                found.append(Shelf(status=status, age=age, pipeline=pipeline))
                continue
            own = sorted(name for name in rules if name != EVERY_PIPELINE and status in rules[name])
            found.append(Shelf(status=status, age=age, except_pipelines=tuple(own)))
    return found


def due(tables: Tables) -> list[Due]:
    """What a prune would delete now; one query for each shelf, and nothing is changed."""
    found: list[Due] = []
    for shelf in shelves():
        groups = (
            _ripe(tables, shelf)
            .order_by("pipeline")
            .values_list("pipeline")
            .annotate(runs=Count("pk"), rows=Sum(F("head") + 1))
        )
        found += [
            Due(pipeline=pipeline, status=shelf.status, runs=runs, rows=int(rows))
            for pipeline, runs, rows in groups
        ]
    return sorted(found, key=lambda item: (item.pipeline, item.status))


def prune(tables: Tables, rows_at_once: int = ROWS_AT_ONCE) -> Iterator[Pruned]:
    """Delete what is old enough, batch by batch; gives what each transaction has deleted.

    It may be stopped after any batch, and any number of processes may do it at once. Open runs and
    runs that are claimed meanwhile are left alone, and so is the source of a fork that is open.
    Forks that have ended lose the link to a source that goes, and nothing else.
    """
    for shelf in shelves():
        last: tuple[datetime, int] | None = None
        while True:
            batch = surely(tables.alias, partial(_prune, tables, shelf, last, rows_at_once))
            if batch.last is None:
                break
            last = batch.last
            yield batch.pruned
    surely(tables.alias, partial(_drop_orphans, tables))


class Gardener:
    """Prunes little by little, and rests for a while where nothing was left to do.

    One for each process is enough, whatever number of threads asks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rests_until: dict[str, float] = {}

    def tend(self, tables: Tables) -> Pruned:
        """Delete one batch, unless it is time to rest."""
        if self._clock() < self._rests_until.get(tables.alias, -math.inf):
            return Pruned()
        for batch in prune(tables):
            if batch.runs:
                return batch
        self._rests_until[tables.alias] = self._clock() + _SECONDS_OF_REST
        return Pruned()


gardener = Gardener()
"""That of this process."""


def _ripe(tables: Tables, shelf: Shelf) -> RunQuerySet[Any]:
    """The runs of a shelf that are old enough; the creation time is what an index knows."""
    limit = DatabaseTime(-shelf.age.total_seconds())
    forks = tables.runs.filter(parent=OuterRef("run_id"), status__in=_OPEN)
    ripe = tables.runs.filter(
        ~Exists(forks.order_by()),
        status=shelf.status,
        created_at__lt=limit,
        finished_at__lt=limit,
    )
    if shelf.pipeline is not None:
        return ripe.filter(pipeline=shelf.pipeline)
    return ripe.exclude(pipeline__in=shelf.except_pipelines) if shelf.except_pipelines else ripe


def _prune(
    tables: Tables, shelf: Shelf, after: tuple[datetime, int] | None, rows_at_once: int
) -> _Batch:
    ripe = _ripe(tables, shelf)
    if after is not None:
        # Not to meet again and again what was passed over.
        created, key = after
        ripe = ripe.filter(Q(created_at__gt=created) | Q(created_at=created, pk__gt=key))
    oldest = ripe.order_by("created_at", "pk")
    with own_transaction(tables.alias):
        found = list(oldest.values_list("pk", "head", "created_at")[:_RUNS_AT_ONCE])
        chosen: list[tuple[int, int, datetime]] = []
        rows = 0
        for run in found:
            if chosen and rows + run[1] >= rows_at_once:
                break
            chosen.append(run)
            rows += run[1] + 1
        if not chosen:
            return _Batch(Pruned(), None)
        keys = lock_runs(tables, _ripe(tables, shelf), [key for key, _, _ in chosen])
        return _Batch(delete_runs(tables, keys), (chosen[-1][2], chosen[-1][0]))


def _drop_orphans(tables: Tables) -> None:
    """Delete deduplication keys of runs that went without them: they would stay for ever.

    A key is written together with its run, so none that is seen waits for a run to come.
    """
    runs = tables.runs.filter(run_id=OuterRef("run_id")).order_by()
    orphans = tables.keys.filter(~Exists(runs)).order_by("pk")
    while found := list(orphans.values_list("pk", flat=True)[:_KEYS_AT_ONCE]):
        tables.keys.filter(~Exists(runs), pk__in=found).delete()


def lock_runs(tables: Tables, wanted: RunQuerySet[Any], keys: list[int]) -> list[int]:
    """Those of the runs that are wanted still, and that nobody changes until the transaction ends.

    Runs that somebody else has locked are passed over, where the database can.
    """
    still = wanted.filter(pk__in=keys).order_by("pk")
    features = connections[tables.alias].features
    if features.has_select_for_update_skip_locked:
        return list(still.select_for_update(skip_locked=True).values_list("pk", flat=True))
    tables.runs.filter(pk__in=keys).update(token=F("token"))
    return list(still.values_list("pk", flat=True))


def delete_runs(tables: Tables, keys: list[int]) -> Pruned:
    """Delete runs that are locked, with all that belongs to them; forks of theirs stay."""
    if not keys:
        return Pruned()
    alias = tables.alias
    ids = list(tables.runs.filter(pk__in=keys).values_list("run_id", flat=True))
    tables.runs.filter(parent__in=ids).update(parent="", parent_sequence=None)
    tables.keys.filter(run_id__in=ids)._raw_delete(alias)
    rows = tables.rows.filter(run__in=keys)._raw_delete(alias)
    runs = tables.runs.filter(pk__in=keys)._raw_delete(alias)
    return Pruned(runs=int(runs), rows=int(rows))
