"""Retention: which ended runs are old enough to go, and how they go without holding anybody up."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections, models, router
from django.db.models import Count, Exists, F, OuterRef, ProtectedError, Q, RestrictedError, Sum

from fluxio.errors import StoreError
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import EVERY_PIPELINE, settings
from fluxio_django.faults import surely
from fluxio_django.isolation import own_transaction
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from fluxio_django.querysets import RunQuerySet

logger = logging.getLogger("fluxio.retention")

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
    """What has been deleted so far.

    `kept` are runs that are old enough and stay, since something in the project's own tables points
    to them and forbids that they go.
    """

    runs: int = 0
    rows: int = 0
    kept: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return replace(
            self,
            runs=self.runs + other.runs,
            rows=self.rows + other.rows,
            kept=self.kept + other.kept,
        )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A run that is to go, as it was found."""

    pk: int
    head: int
    created_at: datetime


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

    What a project's own models point with to a run becomes what their `on_delete` says; a run that
    this protects stays.
    """
    for shelf in shelves():
        last: _Chosen | None = None
        while chosen := surely(tables.alias, partial(_choose, tables, shelf, last, rows_at_once)):
            last = chosen[-1]
            yield _prune(tables, shelf, [run.pk for run in chosen])
        if kept := surely(tables.alias, partial(_protected, tables, shelf)):
            yield Pruned(kept=kept)
    _drop_orphans(tables)


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
        rests_from_now = True
        try:
            for batch in prune(tables):
                if batch.runs:
                    rests_from_now = False
                    return batch
        finally:  # after a failure as well: it would fail again at once
            if rests_from_now:
                self._rests_until[tables.alias] = self._clock() + _SECONDS_OF_REST
        return Pruned()


gardener = Gardener()
"""That of this process."""


def _ripe(tables: Tables, shelf: Shelf) -> RunQuerySet[Any]:
    """The runs of a shelf that are old enough, and that nothing protects."""
    old, protected = _old(tables, shelf), _is_protected(tables)
    return old if protected is None else old.exclude(protected)


def _old(tables: Tables, shelf: Shelf) -> RunQuerySet[Any]:
    """The runs of a shelf that are old enough; the creation time is what an index knows."""
    limit = DatabaseTime(-shelf.age.total_seconds())
    forks = tables.runs.filter(parent=OuterRef("run_id"), status__in=_OPEN)
    old = tables.runs.filter(
        ~Exists(forks.order_by()),
        status=shelf.status,
        created_at__lt=limit,
        finished_at__lt=limit,
    )
    if shelf.pipeline is not None:
        return old.filter(pipeline=shelf.pipeline)
    return old.exclude(pipeline__in=shelf.except_pipelines) if shelf.except_pipelines else old


def _is_protected(tables: Tables) -> Q | None:
    """Whether something points to a run with PROTECT; None where nothing can."""
    protected: Q | None = None
    for pointer in _pointers(tables):
        if pointer.on_delete is models.PROTECT and pointer.model is tables.models[0]:
            key: Any = pointer.field
            there = pointer.related_model._base_manager.using(tables.alias)
            target = OuterRef(key.target_field.attname)
            found = Q(Exists(there.filter(**{key.attname: target})))
            protected = found if protected is None else protected | found
    return protected


def _pointers(tables: Tables) -> list[models.ManyToOneRel]:
    """The relations by which models of the project point to runs or to rows of their logs.

    There are none where a router keeps one of those models out of this database: Django's own
    `delete` would look for it here.
    """
    run, row = tables.models
    found = [
        relation
        for model in (run, row)
        for relation in model._meta.get_fields(include_hidden=True)
        if isinstance(relation, models.ManyToOneRel) and relation.related_model is not row
    ]
    beside = (router.allow_migrate_model(tables.alias, each.related_model) for each in found)
    return found if all(beside) else []


def _choose(
    tables: Tables, shelf: Shelf, after: _Chosen | None, rows_at_once: int
) -> list[_Chosen]:
    """The oldest runs that may go, as many as a transaction should delete."""
    ripe = _ripe(tables, shelf)
    if after is not None:
        # Not to meet again and again what was passed over.
        newer = Q(created_at__gt=after.created_at)
        ripe = ripe.filter(newer | Q(created_at=after.created_at, pk__gt=after.pk))
    oldest = ripe.order_by("created_at", "pk")
    chosen: list[_Chosen] = []
    rows = 0
    for facts in oldest.values_list("pk", "head", "created_at")[:_RUNS_AT_ONCE]:
        run = _Chosen(*facts)
        if chosen and rows + run.head >= rows_at_once:
            break
        chosen.append(run)
        rows += run.head + 1
    return chosen


def _prune(tables: Tables, shelf: Shelf, keys: list[int]) -> Pruned:
    """Delete runs in one transaction; where one of them must stay, halve by halve all others."""
    try:
        return surely(tables.alias, partial(_delete_ripe, tables, shelf, keys))
    except StoreError as problem:
        if (reason := what_points_to_it(problem)) is None:
            raise
    if len(keys) > 1:
        half = len(keys) // 2
        return _prune(tables, shelf, keys[:half]) + _prune(tables, shelf, keys[half:])
    for run_id in tables.runs.filter(pk__in=keys).values_list("run_id", flat=True):
        logger.warning("Run %r is old enough to go and stays: %s", run_id, reason)
    return Pruned(kept=1)


def _delete_ripe(tables: Tables, shelf: Shelf, keys: list[int]) -> Pruned:
    with own_transaction(tables.alias):
        return delete_runs(tables, lock_runs(tables, _ripe(tables, shelf), keys))


def _protected(tables: Tables, shelf: Shelf) -> int:
    """How many runs of a shelf would go if nothing protected them; it is logged."""
    if (protected := _is_protected(tables)) is None:
        return 0
    kept = _old(tables, shelf).filter(protected).count()
    if kept:
        told = "Runs that are old enough to go and stay, since other models protect them: %d."
        logger.info(told, kept)
    return kept


def _drop_orphans(tables: Tables) -> None:
    """Delete deduplication keys of runs that went without them: they would stay for ever.

    A key is written together with its run, so none that is seen waits for a run to come. One that
    somebody takes just now is left to him.
    """
    last = 0
    while found := surely(tables.alias, partial(_orphans, tables, last)):
        last = found[-1]
        surely(tables.alias, partial(_drop_keys, tables, found))


def _orphans(tables: Tables, after: int) -> list[int]:
    orphans = tables.keys.filter(~Exists(_run_of_key(tables)), pk__gt=after).order_by("pk")
    return list(orphans.values_list("pk", flat=True)[:_KEYS_AT_ONCE])


def _drop_keys(tables: Tables, keys: list[int]) -> None:
    passes_over = connections[tables.alias].features.has_select_for_update_skip_locked
    with own_transaction(tables.alias):
        # Whether there is a run is asked only when nobody can take the keys any more.
        free = tables.keys.filter(pk__in=keys).select_for_update(skip_locked=passes_over)
        locked = list(free.values_list("pk", flat=True))
        tables.keys.filter(~Exists(_run_of_key(tables)), pk__in=locked).delete()


def _run_of_key(tables: Tables) -> RunQuerySet[Any]:
    return tables.runs.filter(run_id=OuterRef("run_id")).order_by()


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
    """Delete runs that are locked, with all that belongs to them; forks of theirs stay.

    Raises:
        IntegrityError: something else points to one of them, and forbids it; nothing is deleted.
    """
    if not keys:
        return Pruned()
    alias, (run, row) = tables.alias, tables.models
    chosen = tables.runs.filter(pk__in=keys)
    ids = list(chosen.values_list("run_id", flat=True))
    tables.runs.filter(parent__in=ids).update(parent="", parent_sequence=None)
    tables.keys.filter(run_id__in=ids)._raw_delete(alias)
    if _pointers(tables):
        _, counts = chosen.delete()
        return Pruned(runs=counts.get(run._meta.label, 0), rows=counts.get(row._meta.label, 0))
    rows = tables.rows.filter(run__in=keys)._raw_delete(alias)
    runs = chosen._raw_delete(alias)
    return Pruned(runs=int(runs), rows=int(rows))


def what_points_to_it(problem: StoreError) -> str | None:
    """Why a run cannot be deleted, where something points to it; None after any other error."""
    cause = problem.__cause__
    if isinstance(cause, ProtectedError | RestrictedError):
        return str(cause.args[0])
    return str(cause).partition("\n")[0] if isinstance(cause, IntegrityError) else None
