"""Typed, nested comparison of two states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fluxio.diff.changes import Change, ChangeKind, Changes, Walk
from fluxio.diff.equality import same
from fluxio.diff.shapes import ABSENT, Absent

__all__ = ["ABSENT", "Absent", "Change", "ChangeKind", "Changes", "Diff", "compare", "same"]


class Diff(Mapping[str, dict[str, Any]]):
    """The top-level keys that differ: ``{key: {"a": ..., "b": ...}}``; a missing side is absent.

    Empty, and so false, when both states are the same.
    """

    def __init__(self, differences: Mapping[str, dict[str, Any]]) -> None:
        self._differences = dict(differences)

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._differences[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._differences)

    def __len__(self) -> int:
        return len(self._differences)

    def __repr__(self) -> str:
        return f"<Diff {list(self._differences)}>"  # values may be secret, or long

    def paths(self, *, limit: int = 1_000) -> Changes:
        """What differs inside the values, `limit` changes at most.

        Mappings are compared by key, dataclass instances and plain objects by field, and sets as
        one value. Lists are aligned first (see `fluxio.diff.alignment`), so that an insertion is
        one change; those nested deeper than 16 levels are compared position by position.

        Raises:
            ValueError: `limit` is less than 1.
        """
        if limit < 1:
            raise ValueError(f"limit is {limit}; ask for at least 1 change.")
        return Walk(limit).run(
            (key, side.get("a", ABSENT), side.get("b", ABSENT))
            for key, side in self._differences.items()
        )


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> Diff:
    """Compare two states key by key: first the keys of `a`, then those that only `b` has.

    Types count: `1`, `1.0` and `True` differ, and so do `0.0` and `-0.0`, a list and a tuple,
    `Decimal("1.0")` and `Decimal("1.00")`, or one instant in two time zones. A NaN equals a NaN.
    The order of dict keys and of set elements does not count. Dataclass instances, and objects
    without an `==` of their own, are compared by field. Values of other types are asked with `==`
    if their types are the same; whatever raises there differs, and so does what answers with
    something else than a bool, unless both sides show the same bytes, as arrays do.
    """
    differences: dict[str, dict[str, Any]] = {}
    for key, value in a.items():
        if key not in b:
            differences[key] = {"a": value}
        elif not same(value, b[key]):
            differences[key] = {"a": value, "b": b[key]}
    for key, value in b.items():
        if key not in a:
            differences[key] = {"b": value}
    return Diff(differences)
