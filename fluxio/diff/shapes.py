"""How a value is looked into: which types have keys, positions or fields, and which are leaves."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from enum import Enum, StrEnum, auto
from types import NoneType
from typing import Any, Final

from fluxio.codec.secret import Secret

ATOMS: Final = frozenset({str, int, bool, bytes, NoneType})
"""Types whose `==` means the same once both sides are of this very type."""

_HEAP_TYPE = 1 << 9


class Absent(Enum):
    """Stands for a side that has no value, which None could not."""

    ABSENT = auto()


ABSENT: Final = Absent.ABSENT


class Shape(StrEnum):
    """How the inside of a value is reached."""

    MAPPING = "mapping"
    SEQUENCE = "sequence"
    RECORD = "record"
    SET = "set"
    LEAF = "leaf"


@functools.lru_cache(maxsize=1_024)
def shape_of(kind: type) -> Shape:
    """The shape of all instances of a type."""
    if issubclass(kind, Enum):
        return Shape.LEAF
    if is_dataclass(kind):
        return Shape.RECORD
    if issubclass(kind, Mapping):
        return Shape.MAPPING
    if issubclass(kind, list | tuple | deque):
        return Shape.SEQUENCE
    if issubclass(kind, Set):
        return Shape.SET
    # Without an `==` of its own an object would differ from its own copy.
    if kind.__eq__ is object.__eq__ and _is_open(kind):
        return Shape.RECORD
    return Shape.LEAF


def entries(value: Any, shape: Shape) -> Mapping[Any, Any] | None:
    """The items of a mapping, or the fields of a record by name; None if it does not tell them."""
    kind = type(value)
    if kind is dict:
        return value  # type: ignore[no-any-return]
    try:
        if shape is Shape.MAPPING:
            return dict(value.items())
        if is_dataclass(kind):
            return {field.name: getattr(value, field.name, ABSENT) for field in fields(kind)}
        return _state(value)
    except Exception:  # noqa: BLE001 - these are user objects; one that refuses is a leaf
        return None


def elements(value: Any) -> Sequence[Any] | None:
    """The elements of a list, tuple or deque; None if it does not tell them."""
    if type(value) is list or type(value) is tuple:
        return value
    try:
        return list(value)
    except Exception:  # noqa: BLE001 - as above
        return None


def typed(key: Any) -> Any:
    """A stand-in for a key that equals another one only if the two are the same all the way down.

    Raises:
        RecursionError: the key is a tuple or frozenset nested too deep.
    """
    kind = type(key)
    if kind in ATOMS:
        return kind, key
    if issubclass(kind, tuple):
        return kind, tuple(map(typed, key))
    if issubclass(kind, frozenset):
        return kind, frozenset(map(typed, key))
    return kind, typed(key.reveal()) if kind is Secret else exact(key)


def exact(leaf: Any) -> Any:
    """What tells a value from all others of its type, where its `==` does not; else itself."""
    kind = type(leaf)
    if issubclass(kind, float):
        return float.hex(leaf)
    if issubclass(kind, complex):
        return repr(leaf)
    if issubclass(kind, Decimal):
        return Decimal.as_tuple(leaf)
    if issubclass(kind, datetime | time):
        # Two instants may be equal in two time zones, and are written differently.
        return leaf.replace(tzinfo=None), leaf.fold, type(leaf.tzinfo), str(leaf.tzinfo)
    return leaf


def _is_open(kind: type) -> bool:
    # A type made in C hides its state, as a lock does, and so does what inherits from it.
    if any(
        not base.__flags__ & _HEAP_TYPE and not issubclass(base, BaseException)
        for base in kind.__mro__[:-1]
    ):
        return False
    return bool(kind.__dictoffset__) or any("__slots__" in vars(base) for base in kind.__mro__)


def _state(value: Any) -> dict[str, Any]:
    state = object.__getstate__(value)
    parts = state if type(state) is tuple else (state,)
    found = {name: part[name] for part in parts if part for name in part}
    if isinstance(value, BaseException):
        found["args"] = value.args
    return found
