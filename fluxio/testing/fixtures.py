"""Short ways to what most tests begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxio.context import Context

_NOTHING: Mapping[str, Any] = {}


def make_ctx(values: Mapping[str, Any] = _NOTHING, /, **named: Any) -> Context:
    """A context of these values: `make_ctx(total=3)`, or `make_ctx({"order-id": 3})`, or both.

    Nothing counts as written, as in the context a stage is given.

    Raises:
        TypeError: a key is no str.
    """
    return Context.create({**values, **named})
