"""What FLUXIO["VIEWS"] opens: pipelines whose runs `fluxio_django.urls` shows and starts.

Whatever it does not name is closed, and answered as if it were not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SIGNED_IN = "signed-in"
"""In place of a permission: everybody who is signed in."""

_PERMISSION = r"[A-Za-z_]\w*\.[A-Za-z_]\w*"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPipeline:
    """What is open of one pipeline.

    `start` is who may start a run: "signed-in", a permission such as "shop.add_order", or "" for
    nobody. `shows` are keys of the context that everybody is shown who may know of the run; for any
    other one the permission `fluxio_django.view_context` is needed.
    """

    name: str
    start: str = ""
    shows: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, given: Mapping[str, Any]) -> Self:
        """What a value says for which `is_opening` is true."""
        return cls(name=name, start=given.get("START", ""), shows=tuple(given.get("SHOWS", ())))

    def may_start(self, user: Any) -> bool:
        """Whether a user may start a run."""
        if not self.start or not user.is_authenticated:
            return False
        return self.start == SIGNED_IN or bool(user.has_perm(self.start))


def is_opening(value: object) -> bool:
    """Whether a value is a dict with nothing but START and SHOWS, both as they should be."""
    if not isinstance(value, Mapping) or not set(value) <= {"START", "SHOWS"}:
        return False
    return _is_start(value.get("START", "")) and _are_keys(value.get("SHOWS", ()))


def _is_start(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return value in ("", SIGNED_IN) or re.fullmatch(_PERMISSION, value, re.ASCII) is not None


def _are_keys(value: object) -> bool:
    # A text would be read as a list of single letters.
    return isinstance(value, list | tuple) and all(isinstance(key, str) for key in value)
