"""The figures above the list of runs: what a person on call wants to know first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.filters import INTERRUPTED
from fluxio_django.admin.measures import NOTHING, span_text
from fluxio_django.admin.status import Tone
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run

MOST_COUNTED = 10_000
"""Beyond that a figure says that there are more: counting a million rows would take long."""

_DAYS_LOOKED_BACK = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure, and the list it leads to."""

    label: str
    text: str
    address: str
    tone: Tone = Tone.QUIET


def summary_of(model_admin: RunDesk, request: HttpRequest) -> list[Figure]:
    """The figures over all runs this user can see; four queries, each along an index."""
    runs = model_admin.get_queryset(request).order_by()
    busy = _capped(runs.filter(status=RunStatus.RUNNING)).aggregate(
        running=Count("pk", filter=Q(lapsed=False)), interrupted=Count("pk", filter=Q(lapsed=True))
    )
    midnight = _midnight()
    # A run that failed today was created within a few days: the index by status has that time.
    failed = runs.filter(
        status=RunStatus.FAILED,
        created_at__gte=midnight - timedelta(days=_DAYS_LOOKED_BACK),
        finished_at__gte=midnight,
    )
    failures = _capped(failed).count()
    dead = _capped(runs.filter(status=RunStatus.DEAD)).count()
    waiting = runs.filter(status=RunStatus.QUEUED).order_by("created_at", "id")
    oldest = waiting.values_list("pk", "created_at").first()

    def leading_to(**query: str) -> str:
        return model_admin.address("run_changelist", **query)

    return [
        Figure(
            label=_("running"),
            text=_count(busy["running"]),
            address=leading_to(status=RunStatus.RUNNING.value),
            tone=Tone.BUSY if busy["running"] else Tone.QUIET,
        ),
        Figure(
            label=_("interrupted"),
            text=_count(busy["interrupted"]),
            address=leading_to(status=INTERRUPTED),
            tone=Tone.WARNING if busy["interrupted"] else Tone.QUIET,
        ),
        Figure(
            label=_("failed today"),
            text=_count(failures),
            address=leading_to(status=RunStatus.FAILED.value),
            tone=Tone.BAD if failures else Tone.QUIET,
        ),
        Figure(
            label=_("dead"),
            text=_count(dead),
            address=leading_to(status=RunStatus.DEAD.value),
            tone=Tone.BAD if dead else Tone.QUIET,
        ),
        Figure(
            label=_("oldest waiting"),
            text=NOTHING if oldest is None else span_text(oldest[1]),
            address=leading_to(status=RunStatus.QUEUED.value)
            if oldest is None
            else model_admin.address("run_change", oldest[0]),
        ),
    ]


def _capped(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.only("pk")[:MOST_COUNTED]


def _count(number: int) -> str:
    return _("%d or more") % number if number >= MOST_COUNTED else str(number)


def _midnight() -> datetime:
    now = timezone.localtime() if timezone.is_aware(timezone.now()) else timezone.now()
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
