"""What clients send: bounded before it is read, parsed strictly, and nothing in it passed over."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from fluxio.codec import InputLimits, parse_json
from fluxio_django.models import Run
from fluxio_django.views.problems import Problem, malformed, too_large, unfit

LIMITS = InputLimits()
JSON = "application/json"

_NUMBER = re.compile(r"[0-9]{1,9}")
_KEY = re.compile(r"[0-9]{1,18}")
_YEARS = range(1970, 9999)


def read_body(request: HttpRequest, allowed: Collection[str]) -> dict[str, Any]:
    """The object in the body of a request; empty where it has none.

    Raises:
        Problem: it is too large, is no JSON object, or has members that mean nothing here.
        DecodingError: it is no JSON, or JSON of a kind that is refused.
    """
    if _announced(request) == 0:
        return {}
    if request.content_type != JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no-json", f"Send the body as {JSON}.")
    value = parse_json(request.body, LIMITS)
    if not isinstance(value, dict):
        raise unfit("The body has to be an object.")
    _refuse_others(value, allowed, "member")
    return value


def object_in(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name; empty where there is none.

    Raises:
        Problem: it is something else.
    """
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise unfit(f"{name!r} has to be an object.")
    return value


def text_in(body: Mapping[str, Any], name: str, *, longest: int) -> str:
    """The text under a name; "" where there is none.

    Raises:
        Problem: it is something else, or longer.
    """
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise unfit(f"{name!r} has to be a text of at most {longest} characters.")
    return value


def read_query(request: HttpRequest, allowed: Collection[str]) -> dict[str, str]:
    """The parameters of the address.

    Raises:
        Problem: one is unknown, or stands there twice.
    """
    found = dict(request.GET.lists())
    _refuse_others(found, allowed, "parameter")
    twice = [name for name, values in found.items() if len(values) > 1]
    if twice:
        raise malformed(f"The parameter {twice[0]!r} stands there twice.")
    return {name: values[0] for name, values in found.items()}


def number_in(query: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    """A whole number among the parameters.

    Raises:
        Problem: it is none, or out of bounds.
    """
    text = query.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None or not least <= int(text) <= most:
        raise malformed(f"{name!r} has to be a whole number from {least} to {most}.")
    return int(text)


def place_of(run: Run) -> str:
    """Where a run stands in the list, as a text that `place_in` reads."""
    return urlsafe_b64encode(f"{run.created_at.isoformat()} {run.pk}".encode()).decode().rstrip("=")


def place_in(query: Mapping[str, str], name: str) -> tuple[datetime, int] | None:
    """A place in the list of runs, None where the parameter is not there.

    Raises:
        Problem: it is no place.
    """
    text = query.get(name)
    if text is None:
        return None
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        moment, _space, key = urlsafe_b64decode(padded).decode("ascii").partition(" ")
        return _moment(moment), int(_matched(_KEY, key))
    except ValueError:
        raise malformed(f"{name!r} is no place in a list. Take the one that a list gave.") from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.year not in _YEARS or timezone.is_aware(moment) is not settings.USE_TZ:
        raise ValueError(text)
    return moment


def _matched(pattern: re.Pattern[str], text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _announced(request: HttpRequest) -> int:
    """How many bytes the body has, as its sender says.

    Raises:
        Problem: too many, or nobody knows.
    """
    text = request.META.get("CONTENT_LENGTH") or "0"
    if _NUMBER.fullmatch(text) is None:
        raise malformed("Content-Length is no number.")
    if int(text) > LIMITS.max_bytes:
        raise too_large(f"The body has {text} bytes; {LIMITS.max_bytes} are allowed.")
    return int(text)


def _refuse_others(given: Mapping[str, Any], allowed: Collection[str], what: str) -> None:
    others = [name for name in given if name not in allowed]
    if others:
        known = ", ".join(allowed) or "none"
        raise unfit(f"The {what} {others[0][:60]!r} means nothing here. Known: {known}.")
