"""Moments of a run as people name them: a row's number, a step, or an attempt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from fluxio.runtime.reading import Moment
from fluxio_django.admin.measures import printable
from fluxio_django.log import last_row_of_attempt
from fluxio_django.models import Run

LONGEST = 500
"""How many characters name a moment at most."""

_MOST_DIGITS = 9
_ATTEMPT = re.compile(r"attempt ([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class EndOfAttempt:
    """The last moment that an attempt recorded."""

    number: int


Named = Moment | EndOfAttempt


def named_moment(text: str) -> Named:
    """What somebody wrote: "" for now, `12`, `charge`, `attempt 2`.

    Raises:
        ValidationError: the number is one that no row can have.
    """
    text = text.strip()
    if not text:
        return None
    attempt = _ATTEMPT.fullmatch(text)
    if attempt is not None:
        return EndOfAttempt(int(attempt[1]))
    if not (text.isascii() and text.isdigit()):
        return text
    if len(text) > _MOST_DIGITS:
        raise ValidationError(_("No run has so many rows."))
    return int(text)


def moment_in(run: Run, named: Named) -> Moment:
    """The moment in the log of a run.

    Raises:
        ValueError: the run has no such attempt.
    """
    if not isinstance(named, EndOfAttempt):
        return named
    row = last_row_of_attempt(run, named.number)
    if row is None:
        raise ValueError(
            _("Run %(run)s has no row of attempt %(attempt)d.")
            % {"run": run.run_id, "attempt": named.number}
        )
    return row


def moment_text(at: Moment) -> str:
    """A moment in words."""
    match at:
        case None:
            return _("the newest state")
        case int():
            return _("after row %d") % at
        case str():
            return _("before step %s") % printable(at)
