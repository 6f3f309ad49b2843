"""How a run stands, in one word for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.html import format_html
from django.utils.translation import gettext as _

from fluxio.runtime.owner import is_provably_dead
from fluxio_django import services
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run


class Tone(StrEnum):
    """How a word is coloured; the values are names of classes in the style sheet."""

    QUIET = "quiet"
    BUSY = "busy"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Badge:
    """A word in a colour."""

    text: str
    tone: Tone

    def html(self) -> str:
        """The badge as it stands in a column of a list."""
        return format_html('<span class="fluxio-badge {}">{}</span>', self.tone, self.text)


_TONES = {
    RunStatus.QUEUED: Tone.QUIET,
    RunStatus.RUNNING: Tone.BUSY,
    RunStatus.WAITING: Tone.QUIET,
    RunStatus.SUCCEEDED: Tone.GOOD,
    RunStatus.FAILED: Tone.BAD,
    RunStatus.CANCELLED: Tone.QUIET,
    RunStatus.DEAD: Tone.BAD,
}


def status_of(run: Run) -> RunStatus | None:
    """The status; None where the row holds a word that is none."""
    try:
        return RunStatus(run.status)
    except ValueError:
        return None


def badge_of(run: Run) -> Badge:
    """The status as a badge. A running run whose worker is gone says `interrupted`."""
    if is_interrupted(run):
        return Badge(text=_("interrupted"), tone=Tone.WARNING)
    status = status_of(run)
    if status is None:
        return Badge(text=run.status or _("unknown"), tone=Tone.WARNING)
    return Badge(text=str(status.label), tone=_TONES[status])


def is_interrupted(run: Run) -> bool:
    """Whether a run counts as running though nobody executes it.

    A query set that was annotated with `lapsed` spares the query for each run.
    """
    if run.status != RunStatus.RUNNING:
        return False
    lapsed: bool | None = vars(run).get("lapsed")
    if lapsed is None:
        return services.is_interrupted(run)
    return lapsed or not run.owner or is_provably_dead(run.owner)


def is_executing(run: Run) -> bool:
    """Whether somebody executes the run right now, as far as can be known."""
    return run.status == RunStatus.RUNNING and not is_interrupted(run)
