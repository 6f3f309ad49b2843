"""Finds stages that change a context value in place; used while debugging and in tests."""

from __future__ import annotations

import copy
from typing import Any

from fluxio.context import Context
from fluxio.diff import compare
from fluxio.errors import MutationError

_ATOMS = (str, bytes, int, float, complex, bool, type(None))


class Watch:
    """Remembers what mutable values looked like, so that a later look finds changes."""

    def __init__(self, context: Context) -> None:
        self._live: dict[str, Any] = {}
        self._before: dict[str, Any] = {}
        for key, value in context.items():
            if not isinstance(value, _ATOMS):
                self._remember(key, value)

    def _remember(self, key: str, value: Any) -> None:
        try:
            twin = copy.deepcopy(value)
        except Exception:  # noqa: BLE001 - what cannot be copied cannot be watched
            return
        # A type without its own equality never equals its copy, so it cannot be watched either.
        if not compare({key: twin}, {key: value}):
            self._before[key], self._live[key] = twin, value

    def check(self, stage: str) -> None:
        """Compare with what was remembered.

        Raises:
            MutationError: names the stage and the key.
        """
        for key in compare(self._before, self._live):
            raise MutationError(
                f"Stage {stage!r} changed ctx[{key!r}] in place. Make a new value and return "
                f"ctx.set({key!r}, new_value).",
                stage=stage,
                key=key,
            )
