"""The columns of the list of runs, each a few words about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from fluxio_django.admin.measures import NOTHING, age_text, printable, run_duration_text, time_text
from fluxio_django.models import Run

if TYPE_CHECKING:
    from fluxio_django.admin.subjects import Subject

# What a column takes is imported when it is filled: Django loads this module whenever it starts.

NEWEST_FIRST = ("-created_at", "-id")
OLDEST_FIRST = ("created_at", "id")

SUBJECT = "shown_subject"
"""Under this name a listed run carries the link to what it is about."""

_SHORT_VERSION = 8
_TO_THE_MINUTE = len("2026-01-01 00:00")


class RunColumns:
    """What the list says about each run; no column but the time of creation can be sorted by."""

    @admin.display(description=_("run"))
    def run(self, run: Run) -> str:
        """The run id."""
        return run.run_id

    @admin.display(description=_("status"))
    def state(self, run: Run) -> str:
        """The status as a badge."""
        from fluxio_django.admin.status import badge_of

        return badge_of(run).html()

    @admin.display(description=_("pipeline"))
    def pipeline_name(self, run: Run) -> str:
        """The pipeline's name, and the version that recorded the run, shortened."""
        version = run.version[:_SHORT_VERSION]
        return format_html('{}<br><code class="fluxio-quiet">{}</code>', run.pipeline, version)

    @admin.display(description=_("step"))
    def due_step(self, run: Run) -> str:
        """The step that is due, or failed, and how far it says it is."""
        from fluxio_django.admin.progress import progress_of

        progress = progress_of(run)
        if progress is None:
            return printable(run.step)
        return render_to_string(
            "admin/fluxio_django/parts/progress.html",
            {"step": printable(run.step), "progress": progress},
        )

    @admin.display(description=_("subject"))
    def about(self, run: Run) -> str:
        """What the run is about, with a link to it."""
        subject: Subject | None = vars(run).get(SUBJECT)
        if subject is None:
            return NOTHING
        if not subject.address:
            return subject.text
        return format_html('<a href="{}">{}</a>', subject.address, subject.text)

    @admin.display(description=_("attempts"))
    def attempts(self, run: Run) -> int:
        """How often it was begun."""
        return run.attempt

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, run: Run) -> str:
        """When it was created, and how long ago that is."""
        moment = time_text(run.created_at)[:_TO_THE_MINUTE]
        age = age_text(run.created_at)
        return format_html('{}<br><span class="fluxio-quiet">{}</span>', moment, age)

    @admin.display(description=_("duration"))
    def took(self, run: Run) -> str:
        """How long it took, or has been taking."""
        return run_duration_text(run)
