"""How the list of runs is narrowed: by what can be found through an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from fluxio_django import services
from fluxio_django.enums import RunStatus
from fluxio_django.models import PipelineVersion, Run

MOST_LISTED = 10_000
"""How many runs a list pages through; beyond that, filters and the search are faster ways."""

INTERRUPTED = "interrupted"

if TYPE_CHECKING:
    Pages = Paginator[QuerySet[Any]]
else:
    Pages = Paginator


class StatusFilter(admin.SimpleListFilter):
    """By status; `interrupted` are the running runs whose lease expired."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Every status, and the one that only shows when a worker is gone."""
        choices: list[tuple[str, Any]] = [(item.value, item.label) for item in RunStatus]
        choices.insert(2, (INTERRUPTED, _("interrupted")))
        return choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        """The runs of the chosen status; none for a word that is no status."""
        chosen = self.value()
        if chosen is None:
            return queryset
        if chosen == INTERRUPTED:
            lapsed = Run.objects.using(services.database()).lapsed()
            return queryset.filter(pk__in=lapsed.order_by().values("pk"))
        return queryset.filter(status=chosen) if chosen in RunStatus.values else queryset.none()


class PipelineFilter(admin.SimpleListFilter):
    """By pipeline, of those that have run here."""

    title = _("pipeline")
    parameter_name = "pipeline"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The names, from the table of versions, which is small."""
        versions = PipelineVersion.objects.using(services.database()).order_by("pipeline")
        return [(name, name) for name in versions.values_list("pipeline", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The records of the chosen pipeline."""
        chosen = self.value()
        if chosen is None:
            return queryset
        return queryset.filter(pipeline=chosen) if chosen.isprintable() else queryset.none()


class BoundedPaginator(Pages):
    """Counts no further than `MOST_LISTED`, for counting a million rows would take long."""

    @cached_property
    def count(self) -> int:
        """How many there are, `MOST_LISTED` at most."""
        listed: Any = self.object_list
        return int(listed.order_by().values("pk")[:MOST_LISTED].count())
