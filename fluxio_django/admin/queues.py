"""The list of queues: how many runs wait in each and for how long, and a way to pause one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from fluxio_django.admin.opened import opened
from fluxio_django.admin.readonly import ReadOnlyAdmin, address
from fluxio_django.models import Queue

SWITCH = "fluxio_django.admin.switching.SwitchView"


@admin.register(Queue)
class QueueAdmin(ReadOnlyAdmin[Queue]):
    """Queues. Who may view them sees how they stand; who may change them, pauses and resumes."""

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause and resume queues."""
        user = request.user
        return self.has_view_permission(request) and user.has_perm("fluxio_django.change_queue")

    def get_urls(self) -> list[URLPattern]:
        """The list, and one page for each switch; single queues have none."""
        own = [
            path(
                f"{name}/",
                self.admin_site.admin_view(opened(SWITCH, self, name)),
                name=f"fluxio_django_queue_{name}",
            )
            for name in ("pause", "resume")
        ]
        return [*own, *super().get_urls()]

    def address(self, name: str, *keys: Any, **query: Any) -> str:
        """The address of one of our pages in this admin site."""
        return address(self.admin_site, name, *keys, **query)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Every queue that FLUXIO names or that runs wait in."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        # Not sooner: Django loads this module whenever it starts.
        from fluxio_django.admin.waiting import shown_queues

        may = self.has_switch_permission(request)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Queues"),
            "opts": self.opts,
            "cl": SimpleNamespace(opts=self.opts, formset=None),
            "actions_on_top": True,
            "media": self.media,
            "queues": shown_queues(self, may),
            "may_switch": may,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/fluxio_django/queue/list.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A single queue has no page; the list is shown instead."""
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(self.address("queue_changelist"))
