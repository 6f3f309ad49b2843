"""The versions of pipelines that have run here, and what each consisted of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio_django.admin.filters import PipelineFilter
from fluxio_django.admin.measures import time_text
from fluxio_django.admin.opened import opened
from fluxio_django.admin.readonly import ReadOnlyAdmin, address
from fluxio_django.admin.runs import RunAdmin
from fluxio_django.models import PipelineVersion, Run

if TYPE_CHECKING:
    from fluxio.program import Manifest

PAGES = {
    "pipelines": "fluxio_django.admin.pipelines.PipelinesView",
    "pipeline": "fluxio_django.admin.pipelines.PipelineView",
}
"""Which view answers at an address."""


@admin.register(PipelineVersion)
class PipelineVersionAdmin(ReadOnlyAdmin[PipelineVersion]):
    """Versions of pipelines: read-only."""

    list_display = ["version", "pipeline", "stages", "use", "seen"]
    list_filter = [PipelineFilter]
    allowed_lookups = ("pipeline",)
    ordering = ["pipeline", "-first_seen", "-id"]
    sortable_by = ("pipeline",)

    @property
    def runs(self) -> RunAdmin:
        """The admin of runs on the same site."""
        runs = self.admin_site.get_model_admin(Run)
        assert isinstance(runs, RunAdmin)
        return runs

    def address(self, name: str, *keys: Any, **query: Any) -> str:
        """The address of one of our pages in this admin site."""
        return address(self.admin_site, name, *keys, **query)

    def get_urls(self) -> list[URLPattern]:
        """Django's own, and the pages of pipelines."""
        own = [
            path(
                f"{name}/",
                self.admin_site.admin_view(opened(view, self)),
                name=f"fluxio_django_pipelineversion_{name}",
            )
            for name, view in PAGES.items()
        ]
        return [*own, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list of versions."""
        context = {
            "title": _("Pipeline versions"),
            "pipelines_address": self.address("pipelineversion_pipelines"),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    @admin.display(description=gettext_lazy("stages"))
    def stages(self, version: PipelineVersion) -> str:
        """How many stages it has."""
        manifest = _manifest_of(version)
        return str(len(manifest.entries)) if manifest is not None else _("damaged")

    @admin.display(description=gettext_lazy("in use"))
    def use(self, version: PipelineVersion) -> str:
        """Whether the code at hand is this version."""
        if not _is_current(version):
            return ""
        return format_html('<span class="fluxio-badge good">{}</span>', _("current"))

    @admin.display(description=gettext_lazy("first seen"), ordering="first_seen")
    def seen(self, version: PipelineVersion) -> str:
        """When it first ran here."""
        return time_text(version.first_seen)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: PipelineVersion | None = None,
    ) -> HttpResponse:
        """The page of a version, in the frame of Django's form."""
        if obj is not None:
            manifest = _manifest_of(obj)
            context = {
                **context,
                "title": _("Version %(version)s of %(pipeline)s")
                % {"version": obj.version, "pipeline": obj.pipeline},
                "subtitle": None,
                "version": obj,
                "pipeline_address": self.address("pipelineversion_pipeline", pipeline=obj.pipeline),
                "first_seen": time_text(obj.first_seen),
                "is_current": _is_current(obj),
                "entries": manifest.entries if manifest is not None else None,
            }
        return super().render_change_form(request, context, add, change, form_url, obj)


# Both import what they take, since Django loads this module whenever it starts.


def _manifest_of(version: PipelineVersion) -> Manifest | None:
    from fluxio_django.admin.drift import manifest_of

    return manifest_of(version)


def _is_current(version: PipelineVersion) -> bool:
    from fluxio_django.admin.pipelines import code_of

    return code_of(version.pipeline).version == version.version
