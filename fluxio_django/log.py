"""Reads a run's log row by row, so that one damaged row hides nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import connections
from django.db.models import QuerySet, Sum

from fluxio.errors import CorruptCheckpointError
from fluxio.runtime.history import Log
from fluxio.store.base import Row, RowKind
from fluxio.store.payload import Body, ErrorBody, open_row
from fluxio_django import services
from fluxio_django.models import Checkpoint, Run
from fluxio_django.records import ROW_FIELDS, row_of
from fluxio_django.redaction import shown_values

ROWS_PER_PAGE = 100
MOST_BYTES_OF_ROW = 256 * 1024
MOST_BYTES_OF_PAGE = 2 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One place in a log. `checkpoint` is None where the row is missing.

    `row` and `body` are None for a row that was not opened, as it is large, or could not be; then
    `damage` says why.
    """

    sequence: int
    checkpoint: Checkpoint | None = None
    row: Row | None = None
    body: Body | None = None
    damage: str = ""

    @property
    def error(self) -> ErrorBody | None:
        """The failure that the row records."""
        return self.body.error if self.body is not None else None

    @property
    def writes(self) -> Mapping[str, Any]:
        """What the row sets: a step's writes, or the whole context an attempt begins with."""
        if self.body is None:
            return {}
        if self.row is not None and self.row.kind is RowKind.START and self.body.lanes:
            return self.body.lanes[""].values or {}
        return self.body.writes

    @property
    def is_unopened(self) -> bool:
        """Whether the row is whole as far as we know, but too large to be shown among others."""
        return self.checkpoint is not None and self.body is None and not self.damage


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Consecutive lines of a log; `head` is the sequence of its newest row."""

    lines: Sequence[Line]
    first: int
    last: int
    head: int

    @property
    def whole(self) -> Log | None:
        """The log, when all of it is on this page and sound."""
        rows = [line.row for line in self.lines if line.row is not None]
        bodies = [line.body for line in self.lines if line.body is not None]
        if len(bodies) < self.head + 1:
            return None
        return Log("", rows, bodies)

    @property
    def older(self) -> int | None:
        """Where the page before this one begins."""
        return max(self.first - ROWS_PER_PAGE, 0) if self.first > 0 else None

    @property
    def newer(self) -> int | None:
        """Where the page after this one begins."""
        return self.last + 1 if self.last < self.head else None


def read_page(run: Run, first: int | None = None) -> Page:
    """The lines from a sequence on, the newest ones by default; two queries at most.

    Rows are found by their place, so that the last page of a long log costs what the first does.
    """
    begin = max(run.head - ROWS_PER_PAGE + 1, 0) if first is None else min(first, run.head)
    last = min(begin + ROWS_PER_PAGE - 1, run.head)
    facts = _rows(run).filter(sequence__range=(begin, last)).defer("payload")
    rows = {row.sequence: row for row in facts}
    payloads = _payloads(run, _small(rows.values()))
    lines = [
        _line(run, sequence, rows.get(sequence), payloads.get(sequence))
        for sequence in range(begin, last + 1)
    ]
    return Page(lines=lines, first=begin, last=last, head=run.head)


def read_line(checkpoint: Checkpoint) -> Line:
    """One row, opened whatever its size."""
    return _line(checkpoint.run, checkpoint.sequence, checkpoint, checkpoint.payload)


def bytes_of_state(run: Run) -> int:
    """How much has to be read to know the run's newest state; one query."""
    full = _rows(run).filter(full=True).order_by("-sequence").values("sequence")[:1]
    newest = _rows(run).order_by().filter(sequence__gte=full)
    return int(newest.aggregate(size=Sum("size"))["size"] or 0)


def bytes_of_log(run: Run) -> int:
    """How much the whole log holds; one query."""
    return int(_rows(run).order_by().aggregate(size=Sum("size"))["size"] or 0)


def last_row_of_attempt(run: Run, attempt: int) -> int | None:
    """The sequence of an attempt's newest row, None where it has none; one query."""
    rows = _rows(run).filter(attempt=attempt).order_by("-sequence")
    return rows.values_list("sequence", flat=True).first()


def _rows(run: Run) -> QuerySet[Checkpoint]:
    rows = Checkpoint.objects.using(services.database()).filter(run=run.pk)
    return rows.order_by("sequence")


def _small(rows: Iterable[Checkpoint]) -> list[int]:
    """The sequences of the rows that are opened on a page: none is large, nor are all together."""
    left = MOST_BYTES_OF_PAGE
    chosen = []
    for row in rows:
        if row.size <= min(MOST_BYTES_OF_ROW, left):
            left -= row.size
            chosen.append(row.sequence)
    return chosen


def _payloads(run: Run, sequences: Sequence[int]) -> dict[int, str]:
    if not sequences:
        return {}
    found = _rows(run).filter(sequence__in=sequences)
    return dict(found.values_list("sequence", "payload"))


def _line(run: Run, sequence: int, checkpoint: Checkpoint | None, payload: str | None) -> Line:
    if checkpoint is None:
        return Line(sequence=sequence, damage="it is missing from the log.")
    if payload is None:
        return Line(sequence=sequence, checkpoint=checkpoint)
    try:
        values = [
            payload if name == "payload" else getattr(checkpoint, name) for name in ROW_FIELDS
        ]
        row = row_of(run.run_id, values, connections[services.database()])
        body = open_row(run.run_id, row)
    except CorruptCheckpointError as problem:
        return Line(sequence=sequence, checkpoint=checkpoint, damage=problem.reason)
    return Line(sequence=sequence, checkpoint=checkpoint, row=row, body=_shown(body))


def _shown(body: Body) -> Body:
    """A body as people may see it."""
    lanes = body.lanes and {
        path: replace(
            lane,
            values=None if lane.values is None else shown_values(lane.values),
            writes=shown_values(lane.writes),
        )
        for path, lane in body.lanes.items()
    }
    error = services.shown_error(body.error)
    return replace(body, writes=shown_values(body.writes), lanes=lanes, error=error)
