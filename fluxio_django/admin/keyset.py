"""Pages of runs found by their place in an index: the millionth costs what the first one does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import DateTimeField, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from fluxio_django.admin.columns import NEWEST_FIRST, OLDEST_FIRST
from fluxio_django.models import Run

_TEXT = re.compile(
    r"(?P<side>after|before)_(?P<key>[0-9]{1,18})_(?P<moment>[0-9T:.+\-]{19,32})", re.ASCII
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor:
    """A place in the list: right after or before a run, which may be gone by now."""

    is_before: bool
    moment: datetime
    key: int

    def __str__(self) -> str:
        side = "before" if self.is_before else "after"
        return f"{side}_{self.key}_{self.moment.isoformat()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """Some runs in the order they are listed in; the cursors lead to what lies around them."""

    runs: Sequence[Run]
    before: Cursor | None
    after: Cursor | None


def cursor_in(text: str) -> Cursor | None:
    """The cursor that somebody's address holds; None for anything else, which is the first page."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found["moment"])
    except ValueError:
        return None
    if timezone.is_aware(moment) != settings.USE_TZ:
        return None
    return Cursor(is_before=found["side"] == "before", moment=moment, key=int(found["key"]))


def read_page(
    runs: QuerySet[Run], cursor: Cursor | None, *, size: int, oldest_first: bool
) -> RunPage:
    """The runs at a cursor, `size` at most, in one query that counts nothing."""
    backwards = cursor is not None and cursor.is_before
    ascending = oldest_first != backwards
    chosen = runs.order_by(*(OLDEST_FIRST if ascending else NEWEST_FIRST))
    if cursor is not None:
        chosen = _beyond(chosen, cursor, ascending=ascending)
    found = list(chosen[: size + 1])
    more = len(found) > size
    found = found[:size]
    if backwards:
        found.reverse()
    leads_back = more if backwards else cursor is not None
    leads_on = backwards or more
    return RunPage(
        runs=found,
        before=_at(found[0], is_before=True) if found and leads_back else None,
        after=_at(found[-1], is_before=False) if found and leads_on else None,
    )


def _beyond(runs: QuerySet[Run], cursor: Cursor, *, ascending: bool) -> QuerySet[Run]:
    # SQLite compares the texts of moments, and has several for one moment: so the run's own is
    # asked for. What the address says stands in for it when the run is gone.
    own = Run.objects.using(runs.db).filter(pk=cursor.key).order_by().values("created_at")
    told = Value(cursor.moment, output_field=DateTimeField())
    moment = Coalesce(Subquery(own), told)
    key = cursor.key
    # The first condition is implied by the second; it is what a database seeks in the index.
    if ascending:
        return runs.filter(created_at__gte=moment).filter(Q(created_at__gt=moment) | Q(id__gt=key))
    return runs.filter(created_at__lte=moment).filter(Q(created_at__lt=moment) | Q(id__lt=key))


def _at(run: Run, *, is_before: bool) -> Cursor:
    return Cursor(is_before=is_before, moment=run.created_at, key=run.pk)
