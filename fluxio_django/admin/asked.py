"""Which runs an address names."""

from __future__ import annotations

import re

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest

_KEY = re.compile(r"[0-9]{1,18}")


def keys_in(request: HttpRequest, *, most: int) -> list[int]:
    """The primary keys in the address, ascending.

    Raises:
        Http404: there are none, or something else than keys.
        BadRequest: there are more than can be treated at once.
    """
    given = request.GET.getlist("run")
    if not given or not all(_KEY.fullmatch(text) for text in given):
        raise Http404
    keys = sorted({int(text) for text in given})
    if len(keys) > most:
        raise BadRequest("Too many runs at once.")
    return keys
