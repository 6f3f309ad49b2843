"""The runs that are about an object, on the object's own page in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.contenttypes.admin import GenericTabularInline
from django.contrib.contenttypes.forms import BaseGenericInlineFormSet
from django.db.models import Model, QuerySet
from django.forms import Media
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from fluxio_django import services
from fluxio_django.admin.measures import printable, run_duration_text, time_text
from fluxio_django.models import Run

if TYPE_CHECKING:
    FormSet = BaseGenericInlineFormSet[Any, Any]
else:
    FormSet = BaseGenericInlineFormSet

# What the list takes is imported when there is one: projects that use the inline load this module
# whenever they start.

MOST_RUNS = 20


class RunsFormSet(FormSet):
    """The newest runs about an instance. Whatever is sent to it, it takes nothing in."""

    def __init__(
        self,
        data: Any = None,
        files: Any = None,
        instance: Model | None = None,
        save_as_new: bool = False,
        prefix: str | None = None,
        queryset: QuerySet[Run] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(None, None, None, save_as_new, prefix, Run.objects.none(), **options)
        if instance is not None and instance.pk is not None and queryset is not None:
            from fluxio_django.subjects import about
            from fluxio_django.tables import Tables

            # Not by the base class, which asks the wrong database for the type of the instance.
            linked = queryset.filter(**about(Tables(services.database()), instance))
            self.instance, self.queryset = instance, linked[:MOST_RUNS]

    def is_valid(self) -> bool:
        """There is nothing that could be wrong."""
        return True

    def save(self, commit: bool = True) -> list[Any]:
        """Change nothing."""
        self.new_objects: list[Any] = []
        self.changed_objects: list[Any] = []
        self.deleted_objects: list[Any] = []
        return []


class RunsInline(GenericTabularInline):
    """Shows the runs whose `subject` is the object of the page, the newest ones, read-only.

    For any ModelAdmin: `inlines = [RunsInline]`. It takes the permission to view runs, and only the
    runs are listed that FLUXIO["VISIBLE_TO"] lets the user know of. No values are shown.
    """

    model = Run
    ct_field = "subject_type"
    ct_fk_field = "subject_id"
    formset: Any = RunsFormSet
    extra = 0
    max_num = 0
    can_delete = False
    verbose_name = _("run")
    verbose_name_plural = _("runs")
    fields = ("run", "state", "pipeline_name", "due_step", "created", "took")
    readonly_fields = fields

    @property
    def media(self) -> Media:
        """The admin's own files and our style sheet."""
        inherited: Media = super().media
        return inherited + Media(css={"all": ["fluxio_django/admin.css"]})

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may; retention prunes."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """The runs that this user may know of."""
        from fluxio_django.visibility import visible_to

        runs: QuerySet[Run] = visible_to(request.user).order_by("-created_at", "-id")
        return runs if self.has_view_permission(request) else runs.none()

    @admin.display(description=_("run"))
    def run(self, run: Run) -> str:
        """The run id, which leads to the run where its page is."""
        name, site = "admin:fluxio_django_run_change", self.admin_site.name
        try:
            address = reverse(name, args=[run.pk], current_app=site)
        except NoReverseMatch:
            return run.run_id
        return format_html('<a href="{}">{}</a>', address, run.run_id)

    @admin.display(description=_("status"))
    def state(self, run: Run) -> str:
        """The status as a badge."""
        from fluxio_django.admin.status import badge_of

        return badge_of(run).html()

    @admin.display(description=_("pipeline"))
    def pipeline_name(self, run: Run) -> str:
        """The pipeline's name."""
        return run.pipeline

    @admin.display(description=_("step"))
    def due_step(self, run: Run) -> str:
        """The step that is due, or failed."""
        return printable(run.step)

    @admin.display(description=_("created"))
    def created(self, run: Run) -> str:
        """When it was created."""
        return time_text(run.created_at)

    @admin.display(description=_("duration"))
    def took(self, run: Run) -> str:
        """How long it took, or has been taking."""
        return run_duration_text(run)
