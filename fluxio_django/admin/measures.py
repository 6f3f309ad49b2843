"""Times, durations and texts as the pages write them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio_django.models import Run

NOTHING = "—"
"""Stands where there is nothing to say."""

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR


def duration_text(seconds: float) -> str:
    """A duration in at most two units: `0.4 ms`, `380 ms`, `1.24 s`, `3 min 12 s`, `2 d 4 h`."""
    if seconds < 0.01:
        return _("%(number)s ms") % {"number": f"{seconds * 1000:.1f}"}
    if seconds < 1:
        return _("%(number)s ms") % {"number": round(seconds * 1000)}
    if seconds < _MINUTE:
        return _("%(number)s s") % {"number": f"{seconds:.2f}"}
    whole = round(seconds)
    if whole < _HOUR:
        return _("%(minutes)d min %(seconds)d s") % {
            "minutes": whole // _MINUTE,
            "seconds": whole % _MINUTE,
        }
    if whole < _DAY:
        return _("%(hours)d h %(minutes)d min") % {
            "hours": whole // _HOUR,
            "minutes": whole % _HOUR // _MINUTE,
        }
    return _("%(days)d d %(hours)d h") % {"days": whole // _DAY, "hours": whole % _DAY // _HOUR}


def time_text(moment: datetime | None) -> str:
    """A moment to the second in the current time zone; "" for None."""
    if moment is None:
        return ""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.strftime("%Y-%m-%d %H:%M:%S")


def age_text(moment: datetime) -> str:
    """How long ago a moment is, in one unit: `3 minutes ago`."""
    # Not made of `span_text`: in other languages what follows "ago" is another form of the word.
    minutes = (timezone.now() - moment) // timedelta(minutes=1)
    if minutes < 1:
        return _("just now")
    if minutes < 60:
        return ngettext("%d minute ago", "%d minutes ago", minutes) % minutes
    hours = minutes // 60
    if hours < 24:
        return ngettext("%d hour ago", "%d hours ago", hours) % hours
    return ngettext("%d day ago", "%d days ago", hours // 24) % (hours // 24)


def span_text(moment: datetime) -> str:
    """How much time has passed since a moment, in one unit: `3 minutes`."""
    if timezone.now() - moment < timedelta(minutes=1):
        return _("under a minute")
    return timesince(moment, depth=1)


def seconds_taken(run: Run) -> float | None:
    """How long a run has taken, until now if it is under way; None before it starts."""
    begun = run.started_at or (run.created_at if run.finished_at else None)
    if begun is None:
        return None
    until = run.finished_at or timezone.now()
    if timezone.is_naive(begun) and timezone.is_aware(until):
        until = timezone.make_naive(until)
    return max((until - begun).total_seconds(), 0.0)


def run_duration_text(run: Run) -> str:
    """How long a run took, or has been taking; "" before it starts."""
    seconds = seconds_taken(run)
    return "" if seconds is None else duration_text(seconds)


def printable(text: str) -> str:
    """A text whose invisible and direction-changing characters are shown escaped.

    Line breaks and tabs stay. Lone surrogates, which no response can carry, are escaped too.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    return repr(character)[1:-1]
