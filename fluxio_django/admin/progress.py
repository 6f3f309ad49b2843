"""How far a stage says it is, while that is still worth something."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from fluxio_django import services
from fluxio_django.admin.measures import printable
from fluxio_django.models import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownProgress:
    """What a stage told last; `total` is None where it did not know how much there is."""

    done: int
    total: int | None
    text: str


def progress_of(run: Run) -> ShownProgress | None:
    """What the current stage of a running run told; None where it has told nothing yet."""
    told = services.progress(run)
    if told is None:
        return None
    done, total = told.done, told.total if told.total and told.total > 0 else None
    text = _("%(done)d of %(total)d") % {"done": done, "total": total} if total else str(done)
    return ShownProgress(done=done, total=total, text=f"{text} {printable(told.note)}".rstrip())
