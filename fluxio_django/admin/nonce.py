"""The one-time number behind a confirmation: who was shown what, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from django.core import signing
from django.http import HttpRequest

from fluxio_django.models import Run

FIELD = "confirmation"
"""The name of the hidden field."""
MAXIMUM_AGE_SECONDS = 60 * 60

_SALT = "fluxio_django.admin.confirmation"
_NUMBER = re.compile(r"[0-9a-f]{32}")


class StaleConfirmationError(Exception):
    """The confirmation is too old, was made for somebody or something else, or is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """What a page asked a person to confirm: an operation on runs as they stood then.

    `tokens` maps the primary key of each run to its fencing token, which grows with every claim.
    """

    number: str
    operation: str
    tokens: dict[int, int]

    def still_fits(self, run: Run) -> bool:
        """Whether nobody has executed the run since the page was shown."""
        return self.tokens.get(run.pk) == run.token


def issue(request: HttpRequest, operation: str, runs: Sequence[Run]) -> str:
    """A signed text for the form; nothing is stored until it is used."""
    seen = [[run.pk, run.token] for run in runs]
    return signing.dumps([token_hex(16), operation, str(request.user.pk), seen], salt=_SALT)


def read(request: HttpRequest, operation: str) -> Confirmation:
    """What the form that was sent was made for: this user, this operation, which runs.

    Raises:
        StaleConfirmationError: it was not, or longer ago than `MAXIMUM_AGE_SECONDS`.
    """
    try:
        text = request.POST.get(FIELD, "")
        facts: Any = signing.loads(text, salt=_SALT, max_age=MAXIMUM_AGE_SECONDS)
    except signing.BadSignature as problem:
        raise StaleConfirmationError from problem
    number, made_for, user, seen = facts
    if (made_for, user) != (operation, str(request.user.pk)) or not _NUMBER.fullmatch(number):
        raise StaleConfirmationError
    return Confirmation(number=number, operation=operation, tokens=dict(seen))
