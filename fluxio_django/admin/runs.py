"""The list of runs and the page of one run, and the ways that lead from there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from fluxio_django.admin.columns import NEWEST_FIRST, RunColumns
from fluxio_django.admin.filters import (
    ErrorFilter,
    PipelineFilter,
    StatusFilter,
    VersionFilter,
)
from fluxio_django.admin.names import OperationName
from fluxio_django.admin.opened import View, opened
from fluxio_django.admin.readonly import ReadOnlyAdmin, address
from fluxio_django.admin.rights import holds
from fluxio_django.models import Run
from fluxio_django.rights import Right

if TYPE_CHECKING:
    from fluxio_django.admin.listing import RunChangeList

# Whatever a page takes is imported in the method that serves it: this module is loaded whenever a
# project starts or is checked, and most processes never show a page.

CONFIRMATION = "fluxio_django.admin.confirmation.ConfirmationView"
PAGES = {
    "fork": "fluxio_django.admin.forking.ForkView",
    "diff": "fluxio_django.admin.comparison.ComparisonView",
    "redrive": "fluxio_django.admin.redrive.RedriveView",
    "pulse": "fluxio_django.admin.pulse.PulseView",
    "state": "fluxio_django.admin.travel.TravelView",
}
"""Which view answers at an address; the other operations have one in common."""

_AFTER_ASCII = "\x7f"


@admin.register(Run)
class RunAdmin(RunColumns, ReadOnlyAdmin[Run]):
    """Runs: read-only, with actions that each have a right, a confirmation and an audit entry.

    FLUXIO["VISIBLE_TO"] says which runs a user may know of; every look-up goes through
    `get_queryset`. The rights of a user for one run are asked with `has_perm(permission, run)` too.
    """

    # Columns are methods, so that only the creation time, which has an index, can be sorted by.
    list_display = [
        "run",
        "state",
        "pipeline_name",
        "due_step",
        "created",
        "took",
        "attempts",
        "about",
    ]
    list_filter = [
        StatusFilter,
        PipelineFilter,
        VersionFilter,
        ("created_at", admin.DateFieldListFilter),
        ErrorFilter,
    ]
    allowed_lookups = (
        "status",
        "pipeline",
        "version",
        "error_type",
        "created_at__gte",
        "created_at__lt",
        "created_at__isnull",
    )
    search_fields = ["run_id"]
    search_help_text = _("Search by run id, or by how it begins")
    ordering = NEWEST_FIRST
    actions = [
        "resume_selected",
        "replay_selected",
        "fork_selected",
        "requeue_selected",
        "cancel_selected",
        "prune_selected",
        "diff_selected",
    ]

    # --- rights

    def may(self, request: HttpRequest, right: Right, run: Run | None = None) -> bool:
        """Whether the user may see runs, or this one, and has the right for it."""
        return self.has_view_permission(request, run) and holds(request, right, run)

    def may_force(self, request: HttpRequest) -> bool:
        """Whether the user may have a run go on whatever version recorded it."""
        return self.may(request, Right.FORCE) and request.user.has_perm(Right.FORCE.permission)

    def has_resume_permission(self, request: HttpRequest) -> bool:
        """Whether the user may resume runs."""
        return self.may(request, Right.RESUME)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether the user may replay runs."""
        return self.may(request, Right.REPLAY)

    def has_fork_permission(self, request: HttpRequest) -> bool:
        """Whether the user may fork runs."""
        return self.may(request, Right.FORK)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel runs."""
        return self.may(request, Right.CANCEL)

    def has_prune_permission(self, request: HttpRequest) -> bool:
        """Whether the user may delete runs that have ended."""
        return self.may(request, Right.PRUNE)

    def has_diff_permission(self, request: HttpRequest) -> bool:
        """Whether the user may compare runs."""
        return self.may(request, Right.DIFF)

    # --- look-ups

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RunChangeList]:
        """The list that finds its pages by a cursor."""
        from fluxio_django.admin.listing import RunChangeList

        return RunChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """The runs this user can see at all, with `lapsed`: whether the lease expired."""
        from fluxio_django.tables import Tables
        from fluxio_django.visibility import visible_to

        lapsed = Tables().runs.lapsed().filter(pk=OuterRef("pk"))
        seen = visible_to(request.user).order_by(*self.get_ordering(request))
        return seen.annotate(lapsed=Exists(lapsed.order_by()))

    def visible(self, request: HttpRequest, keys: Sequence[int]) -> list[Run]:
        """The runs with these primary keys, in the order of the keys.

        Raises:
            Http404: one of them is unknown, or not for this user.
        """
        found = {run.pk: run for run in self.get_queryset(request).filter(pk__in=keys)}
        if len(found) < len(keys):
            raise Http404
        return [found[key] for key in keys]

    def visible_by_id(self, request: HttpRequest, run_id: str) -> Run | None:
        """The run with this id, None where it is unknown or not for this user."""
        return self.get_queryset(request).filter(run_id=run_id).first()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        """The runs whose id begins with the term: a range in the index, on every database."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if not (term.isascii() and term.isprintable()):
            return queryset.none(), False
        return queryset.filter(run_id__gte=term, run_id__lt=term + _AFTER_ASCII), False

    # --- addresses

    def get_urls(self) -> list[URLPattern]:
        """Django's own, and one for each operation."""
        views: dict[str, View] = {name: opened(CONFIRMATION, self, name) for name in OperationName}
        views |= {name: opened(view, self) for name, view in PAGES.items()}
        own = [
            path(
                f"{name}/",
                self.admin_site.admin_view(view),
                name=f"fluxio_django_run_{name}",
            )
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def address(self, name: str, *keys: Any, **query: Any) -> str:
        """The address of one of our pages in this admin site."""
        return address(self.admin_site, name, *keys, **query)

    # --- pages

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Run | None = None,
    ) -> HttpResponse:
        """The page of a run, in the frame of Django's form."""
        if obj is not None:
            from fluxio_django.admin.page import run_page

            context = {
                **context,
                "title": _("Run %s") % obj.run_id,
                "subtitle": None,
                "page": run_page(self, request, obj),
            }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list of runs."""
        from fluxio_django.admin.summary import summary_of

        context = {
            "title": _("Runs"),
            "figures": partial(summary_of, self, request),
            "redrive": self._redrive(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def _redrive(self, request: HttpRequest) -> str:
        """Where all failed runs of the chosen pipeline are requeued, for those who may."""
        pipeline, status = request.GET.get("pipeline"), request.GET.get("status")
        if not pipeline or status not in ("failed", "dead"):
            return ""
        if not self.has_resume_permission(request):
            return ""
        return self.address("run_redrive", pipeline=pipeline, status=status)

    # --- actions: each leads to its page, where it is confirmed

    @admin.action(description=_("Resume selected runs"), permissions=["resume"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Go on with runs from their last checkpoints."""
        return self._lead_to(request, OperationName.RESUME, queryset)

    @admin.action(description=_("Replay selected runs"), permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Run runs again, as new attempts."""
        return self._lead_to(request, OperationName.REPLAY, queryset)

    @admin.action(description=_("Fork selected run"), permissions=["fork"])
    def fork_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Begin a new run with the state of one."""
        return self._lead_to(request, OperationName.FORK, queryset)

    @admin.action(description=_("Requeue selected runs"), permissions=["resume"])
    def requeue_selected(
        self, request: HttpRequest, queryset: QuerySet[Run]
    ) -> HttpResponse | None:
        """Have workers go on with runs."""
        return self._lead_to(request, OperationName.REQUEUE, queryset)

    @admin.action(description=_("Cancel selected runs"), permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """End runs, or ask their workers to."""
        return self._lead_to(request, OperationName.CANCEL, queryset)

    @admin.action(description=_("Delete selected runs"), permissions=["prune"])
    def prune_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Delete runs that have ended."""
        return self._lead_to(request, OperationName.PRUNE, queryset)

    @admin.action(description=_("Compare two selected runs"), permissions=["diff"])
    def diff_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Compare two runs, the older one first."""
        runs = self._selected(request, Right.DIFF, queryset, 2)
        if len(runs) != 2:
            messages.warning(request, _("Select exactly two runs to compare."))
            return None
        keys = sorted(run.pk for run in runs)
        return HttpResponseRedirect(self.address("run_diff", run=keys))

    def _lead_to(
        self, request: HttpRequest, name: OperationName, queryset: QuerySet[Run]
    ) -> HttpResponse | None:
        from fluxio_django.admin.confirmation import MOST_RUNS
        from fluxio_django.admin.operations import OPERATIONS

        operation = OPERATIONS[name]
        most = MOST_RUNS if operation.many else 1
        runs = self._selected(request, operation.right, queryset, most)
        if len(runs) > most:
            refusal = _("%(title)s takes %(most)d runs at once. Select fewer.")
            if most == 1:
                refusal = _("%(title)s takes one run at a time. Select one.")
            messages.warning(request, refusal % {"title": operation.title, "most": most})
            return None
        keys = sorted(run.pk for run in runs)
        return HttpResponseRedirect(self.address(f"run_{name}", run=keys))

    def _selected(
        self, request: HttpRequest, right: Right, queryset: QuerySet[Run], most: int
    ) -> list[Run]:
        """The selected runs, and one more than `most` where there are more.

        Django filters the menu by rights; this holds whoever calls an action, and for each run.

        Raises:
            PermissionDenied: the user lacks the right for one of the runs.
        """
        runs = list(queryset[: most + 1])
        if not all(self.may(request, right, run) for run in runs):
            raise PermissionDenied
        return runs
