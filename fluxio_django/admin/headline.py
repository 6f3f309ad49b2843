"""What happened to a run, in one sentence."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio_django.admin.measures import NOTHING, age_text, printable, run_duration_text
from fluxio_django.admin.status import is_interrupted, status_of
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run

_TYPE = re.compile(r"[A-Za-z_][\w.<>]{0,200}")


def headline_of(run: Run) -> str:
    """The sentence. It shows no value: of an error, it names the type."""
    facts = {
        "step": printable(run.step) or NOTHING,
        "ago": age_text(run.finished_at or run.updated_at),
        "took": run_duration_text(run),
        "row": run.head,
        "attempt": run.attempt,
    }
    if is_interrupted(run):
        return (
            _("Interrupted at step %(step)s: its worker is gone. Its last row is %(row)d.") % facts
        )
    match status_of(run):
        case RunStatus.SUCCEEDED if run.attempt > 1:
            return _("Succeeded in attempt %(attempt)d, %(ago)s.") % facts
        case RunStatus.SUCCEEDED:
            return _("Succeeded in %(took)s, %(ago)s.") % facts
        case RunStatus.FAILED:
            return _failure(run) % facts
        case RunStatus.RUNNING if run.cancel_requested_at is not None:
            return _("Asked to stop, at step %(step)s after %(took)s.") % facts
        case RunStatus.RUNNING:
            return _("Running for %(took)s, now at step %(step)s.") % facts
        case RunStatus.QUEUED:
            return _("Queued %(ago)s, waiting for a worker.") % {"ago": age_text(run.created_at)}
        case RunStatus.WAITING:
            return _("Waiting at step %(step)s.") % facts
        case RunStatus.CANCELLED:
            return _("Cancelled at step %(step)s, %(ago)s.") % facts
        case RunStatus.DEAD:
            return _death(run) % facts
        case None:
            return _("Its status is “%s”, which this release does not know.") % printable(
                run.status
            )


def error_type_of(run: Run) -> str:
    """The type of the error in a run's summary, "" where it names none."""
    name, colon, _message = run.error.partition(":")
    return name if colon and _TYPE.fullmatch(name) else ""


def _failure(run: Run) -> str:
    kind = error_type_of(run)
    if not kind:
        return _("Failed at step %(step)s, %(ago)s.")
    return _("Failed at step %(step)s with %(error)s, %(ago)s.").replace("%(error)s", kind)


def _death(run: Run) -> str:
    return ngettext(
        "Given up at step %(step)s after {} takeover, %(ago)s.",
        "Given up at step %(step)s after {} takeovers, %(ago)s.",
        run.takeovers,
    ).format(run.takeovers)
