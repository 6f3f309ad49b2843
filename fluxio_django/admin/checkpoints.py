"""The page of one row of a run's log, reached from the page of its run."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from fluxio_django.admin.readonly import ReadOnlyAdmin
from fluxio_django.admin.runs import RunAdmin
from fluxio_django.models import Checkpoint, Run


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin[Checkpoint]):
    """Rows of logs. Who may see a run may see its rows; their values need their own right."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Checkpoint]:
        """The rows of the runs this user can see."""
        visible = self._runs.get_queryset(request).order_by().values("pk")
        return super().get_queryset(request).filter(run__in=visible).select_related("run")

    def has_view_permission(self, request: HttpRequest, obj: Checkpoint | None = None) -> bool:
        """As for the run."""
        return self._runs.has_view_permission(request, obj.run if obj is not None else None)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """None, which keeps rows out of the index: without their run they say little."""
        return {}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """There is no list of all rows; the list of runs is shown instead."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(self._runs.address("run_changelist"))

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Checkpoint | None = None,
    ) -> HttpResponse:
        """The page of a row, in the frame of Django's form."""
        if obj is not None:
            context = {**context, **self._facts(request, obj)}
        return super().render_change_form(request, context, add, change, form_url, obj)

    @property
    def _runs(self) -> RunAdmin:
        runs = self.admin_site.get_model_admin(Run)
        assert isinstance(runs, RunAdmin)
        return runs

    def _facts(self, request: HttpRequest, row: Checkpoint) -> dict[str, Any]:
        # Not sooner: Django loads this module whenever it starts.
        from fluxio_django.admin.page import state_at
        from fluxio_django.admin.rows import RowPresenter
        from fluxio_django.admin.standing import standing_of
        from fluxio_django.log import read_line

        presenter = RowPresenter(self._runs, request, standing_of(row.run))
        return {
            "title": _("Row %(row)d of run %(run)s") % {"row": row.sequence, "run": row.run.run_id},
            "subtitle": None,
            "run": row.run,
            "run_address": self._runs.address("run_change", row.run.pk),
            "row": presenter.show(read_line(row)),
            "with_values": presenter.with_values,
            "state": state_at(row.run, row.sequence) if presenter.with_values else None,
            "neighbours": self._neighbours(request, row),
        }

    def _neighbours(self, request: HttpRequest, row: Checkpoint) -> dict[str, str]:
        """The addresses of the rows before and after, by name."""
        around = self.get_queryset(request).filter(
            run=row.run, sequence__in=(row.sequence - 1, row.sequence + 1)
        )
        return {
            "after" if sequence > row.sequence else "before": self._runs.address(
                "checkpoint_change", pk
            )
            for pk, sequence in around.values_list("pk", "sequence")
        }
