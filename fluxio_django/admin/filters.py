"""How the list of runs is narrowed: by what can be found through an index."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from fluxio_django import services
from fluxio_django.enums import RunStatus
from fluxio_django.models import PipelineVersion, Run

INTERRUPTED = "interrupted"

MOST_VERSIONS = 20
MOST_ERRORS = 15

_FAILURES_LOOKED_AT = 500


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
            # Not sooner: Django loads this module whenever it starts.
            from fluxio_django.tables import Tables

            lapsed = Tables().runs.lapsed()
            return queryset.filter(pk__in=lapsed.order_by().values("pk"))
        return queryset.filter(status=chosen) if chosen in RunStatus.values else queryset.none()


class _ExactFilter(admin.SimpleListFilter):
    """By a column that is compared exactly; what was chosen is always among the choices."""

    parameter_name = ""

    def names(self, request: HttpRequest, model_admin: Any, chosen: Any) -> list[str]:
        """What can be chosen; `chosen` is what all filters of the page were given."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """The names, which are their own labels."""
        found = self.names(request, model_admin, request.GET)
        given = request.GET.get(self.parameter_name)
        # Without a choice Django leaves a filter out, and with it what it was asked for.
        if given is not None and given not in found:
            found = [*found, given]
        return [(name, name if name.isprintable() else "…") for name in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The records that hold exactly what was chosen."""
        chosen = self.value()
        if chosen is None:
            return queryset
        if not chosen.isprintable():
            return queryset.none()
        return queryset.filter(**{self.parameter_name: chosen})


class PipelineFilter(_ExactFilter):
    """By pipeline, of those that have run here."""

    title = _("pipeline")
    parameter_name = "pipeline"

    def names(self, request: HttpRequest, model_admin: Any, chosen: Any) -> list[str]:
        """The names, from the table of versions, which is small."""
        versions = PipelineVersion.objects.using(services.database()).order_by("pipeline")
        return list(versions.values_list("pipeline", flat=True).distinct())


class VersionFilter(_ExactFilter):
    """By version, once a pipeline was chosen: all versions of all pipelines are too many."""

    title = _("version")
    parameter_name = "version"

    def names(self, request: HttpRequest, model_admin: Any, chosen: Any) -> list[str]:
        """The newest versions of the chosen pipeline."""
        pipeline = chosen.get(PipelineFilter.parameter_name)
        if not pipeline or not pipeline.isprintable():
            return []
        versions = PipelineVersion.objects.using(services.database()).filter(pipeline=pipeline)
        newest = versions.order_by("-first_seen", "-id")
        return list(newest.values_list("version", flat=True)[:MOST_VERSIONS])


class ErrorFilter(_ExactFilter):
    """By the type of the error, of those that came up lately."""

    title = _("type of error")
    parameter_name = "error_type"

    def names(self, request: HttpRequest, model_admin: Any, chosen: Any) -> list[str]:
        """The types among the newest failures this user can see, the most frequent first."""
        failed = model_admin.get_queryset(request).filter(status=RunStatus.FAILED)
        newest = failed.order_by("-created_at", "-id")
        types = newest.values_list("error_type", flat=True)[:_FAILURES_LOOKED_AT]
        return [name for name, _count in Counter(types).most_common(MOST_ERRORS) if name]
