"""Runs and their logs as a query finds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections, models
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    FilteredRelation,
    OuterRef,
    Q,
    Subquery,
)

from fluxio.store.admission import no_checkpoint
from fluxio.store.base import Row
from fluxio.store.refusals import row_damaged
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.queues import AVAILABLE, QueuedRunQuerySet, Standing
from fluxio_django.records import (
    NO_NOTE,
    RECORD_FIELDS,
    ROW_FIELDS,
    Note,
    SeenRun,
    record_of,
    row_of,
)
from fluxio_django.rows import CheckpointQuerySet
from fluxio_django.statements import Statements, statements_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Instance = TypeVar("Instance", bound=models.Model, covariant=True)


class SeenRunQuerySet(QueuedRunQuerySet[Instance]):
    """Runs, read only. Name the database first: `.using(alias)`."""

    def seen(self, run_id: str) -> SeenRun | None:
        """The run as it stands, None where it is unknown; one query."""
        return next(iter(self.filter(run_id=run_id).order_by().as_seen()), None)

    def as_seen(self) -> list[SeenRun]:
        """The runs as the core knows them; one query."""
        return [seen for _, seen in self._as_seen_with(())]

    def _as_seen_with(self, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], SeenRun]]:
        held = Q(status=RunStatus.RUNNING) & Q(lease_expires_at__gt=DatabaseTime())
        runs = self.annotate(held=ExpressionWrapper(held, output_field=BooleanField()))
        first = len(names)
        for found in runs.values_list(*names, "pk", "held", *RECORD_FIELDS):
            pk, is_held, *values = found[first:]
            record = record_of(values, self._connection)
            yield (
                dict(zip(names, found, strict=False)),
                SeenRun(pk=pk, held=bool(is_held), record=record),
            )

    def newest_first(self, at_once: int = 200) -> Iterator[Instance]:
        """The runs one after another, so many of them in a query.

        Nothing is open in between: a cursor on the server, which `iterator()` would have, is lost
        behind a pooler that hands every transaction to another connection.
        """
        runs = self.order_by("-created_at", "-pk")
        ahead: Q | None = None
        while page := list((runs if ahead is None else runs.filter(ahead))[:at_once]):
            yield from page
            if len(page) < at_once:
                return
            last: Any = page[-1]
            ahead = Q(created_at__lt=last.created_at)
            ahead |= Q(created_at=last.created_at, pk__lt=last.pk)

    def all_ids(self, at_once: int = 200) -> Iterator[str]:
        """The ids of the runs, oldest primary key first, as `newest_first` reads them."""
        ids = self.order_by("pk").values_list("pk", "run_id")
        last = 0
        while page := list(ids.filter(pk__gt=last)[:at_once]):
            last = page[-1][0]
            yield from (run_id for _, run_id in page)
            if len(page) < at_once:
                return

    def standing(self, run_id: str) -> Standing | None:
        """The run as a worker finds it that got its ticket, None where it is unknown."""
        extra = {
            "available": ExpressionWrapper(AVAILABLE, output_field=BooleanField()),
            "paused": self._in_paused_queue,
            "outranked_by": self._outranked_by,
            "beside_lapsed": self._beside_lapsed,
        }
        names = ("queue", "priority", *extra)
        found = self.filter(run_id=run_id).order_by().annotate(**extra)
        for facts, seen in found._as_seen_with(names):
            available, paused = bool(facts["available"]), bool(facts["paused"])
            return Standing(
                seen=seen,
                queue=facts["queue"],
                priority=facts["priority"],
                available=available,
                paused=paused,
                outranked_by=facts["outranked_by"] or "",
                beside_lapsed=bool(facts["beside_lapsed"]),
            )
        return None

    def note(self, run_id: str) -> Note:
        """What was noted of a run besides its record; of an unknown one nothing."""
        names = ("requested_by_id", "subject_type_id", "subject_id")
        for facts in self.filter(run_id=run_id).order_by().values(*names):
            return Note(**facts)
        return NO_NOTE

    def log(self, run_id: str, first: int, last: int | None) -> list[Row]:
        """Rows of a run with `first <= sequence <= last`, ascending; one query.

        Raises:
            CorruptCheckpointError: the run's record tells of a row that is not there.
        """
        wanted = Q(checkpoints__sequence__gte=first)
        if last is not None:
            wanted &= Q(checkpoints__sequence__lte=last)
        log = self.filter(run_id=run_id).annotate(
            log=FilteredRelation("checkpoints", condition=wanted)
        )
        columns = (f"log__{name}" for name in ROW_FIELDS)
        found = list(log.order_by("log__sequence").values_list("head", *columns))
        rows = [
            row_of(run_id, values, self._connection)
            for _, *values in found
            if values[0] is not None
        ]
        head = found[0][0] if found else -1
        due = range(max(first, 0), (head if last is None else min(head, last)) + 1)
        for sequence, row in zip_longest(due, rows):
            if row is None or row.sequence != sequence:
                missing = due.start if sequence is None else sequence
                raise row_damaged(run_id, missing, "is missing")
        return rows

    def newest_full(self, run_id: str, upto: int | None) -> int:
        """The sequence of the newest full row of a run, at or before `upto`; one query.

        Raises:
            NoCheckpointError: the run is unknown.
            CorruptCheckpointError: it has no such row, though every run begins with one.
        """
        full = self._rows.filter(run=OuterRef("pk"), full=True).order_by("-sequence")
        if upto is not None:
            full = full.filter(sequence__lte=upto)
        newest = self.filter(run_id=run_id).order_by()
        for sequence in newest.values_list(Subquery(full.values("sequence")[:1]), flat=True):
            if sequence is None:
                raise row_damaged(run_id, 0, "is missing")
            return int(sequence)
        raise no_checkpoint(run_id)

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self.db]

    @property
    def _rows(self) -> CheckpointQuerySet[Any]:
        rows: CheckpointQuerySet[Any] = self._row_model.objects.using(self.db)
        return rows

    @property
    def _row_model(self) -> Any:
        return _row_model_of(self.model)

    @property
    def _statements(self) -> Statements:
        return statements_of(self.db, self.model, self._row_model)


@cache
def _row_model_of(run: type[models.Model]) -> Any:
    return run._meta.get_field("checkpoints").related_model
