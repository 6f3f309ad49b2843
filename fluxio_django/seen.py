"""Runs and their logs as a query finds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self, TypeVar

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
from fluxio_django.frozen import frozen_query, given_number, given_text
from fluxio_django.queues import AVAILABLE, QueuedRunQuerySet
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
from fluxio_django.tickets import Standing

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Instance = TypeVar("Instance", bound=models.Model, covariant=True)


class SeenRunQuerySet(QueuedRunQuerySet[Instance]):
    """Runs, read only. Name the database first: `.using(alias)`."""

    def seen(self, run_id: str) -> SeenRun | None:
        """The run as it stands, None where it is unknown; one query."""
        query = frozen_query(self.db, "seen", lambda: self._one._facts())
        found = query.rows(self._connection, {"run_id": run_id})
        return next((seen for _, seen in self._seen_in(found)), None)

    def as_seen(self) -> list[SeenRun]:
        """The runs as the core knows them; one query."""
        return [seen for _, seen in self._seen_in(self._facts())]

    @property
    def _one(self) -> Self:
        """The run whose id is given when a frozen query is asked."""
        return self.filter(run_id=given_text("run_id")).order_by()

    def _facts(self, names: Sequence[str] = ()) -> models.QuerySet[Any]:
        """What `_seen_in` takes: values of these names, and what tells of a run."""
        held = Q(status=RunStatus.RUNNING) & Q(lease_expires_at__gt=DatabaseTime())
        runs = self.annotate(held=ExpressionWrapper(held, output_field=BooleanField()))
        return runs.values_list(*names, "pk", "held", *RECORD_FIELDS)

    def _seen_in(
        self, found: Iterable[Sequence[Any]], names: Sequence[str] = ()
    ) -> Iterator[tuple[dict[str, Any], SeenRun]]:
        first = len(names)
        for facts in found:
            pk, is_held, *values = facts[first:]
            record = record_of(values, self._connection)
            yield (
                dict(zip(names, facts, strict=False)),
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
        names = ("queue", "priority", "available", "paused", "outranked_by", "beside_lapsed")

        def build() -> models.QuerySet[Any]:
            run = self._one.annotate(
                available=ExpressionWrapper(AVAILABLE, output_field=BooleanField()),
                paused=self._in_paused_queue,
                outranked_by=self._outranked_by,
                beside_lapsed=self._beside_lapsed,
            )
            return run._facts(names)

        query = frozen_query(self.db, "standing", build)
        found = query.rows(self._connection, {"run_id": run_id})
        for facts, seen in self._seen_in(found, names):
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

        def build() -> models.QuerySet[Any]:
            wanted = Q(checkpoints__sequence__gte=given_number("first"))
            if last is not None:
                wanted &= Q(checkpoints__sequence__lte=given_number("last"))
            log = self._one.annotate(log=FilteredRelation("checkpoints", condition=wanted))
            columns = (f"log__{name}" for name in ROW_FIELDS)
            return log.order_by("log__sequence").values_list("head", *columns)

        query = frozen_query(self.db, ("log", last is None), build)
        connection = self._connection
        found = query.rows(connection, {"run_id": run_id, "first": first, "last": last})
        rows = [row_of(run_id, values, connection) for _, *values in found if values[0] is not None]
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

        def build() -> models.QuerySet[Any]:
            full = self._rows.filter(run=OuterRef("pk"), full=True).order_by("-sequence")
            if upto is not None:
                full = full.filter(sequence__lte=given_number("upto"))
            return self._one.values_list(Subquery(full.values("sequence")[:1]))

        query = frozen_query(self.db, ("newest full", upto is None), build)
        for (sequence,) in query.rows(self._connection, {"run_id": run_id, "upto": upto}):
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
