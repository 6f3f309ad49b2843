"""A wrapper for values that may be stored and used but never shown."""

from __future__ import annotations

import copy
import hmac
from typing import Any, Generic, NoReturn, TypeVar, final

Value = TypeVar("Value")

MASK = "Secret(***)"


@final
class Secret(Generic[Value]):
    """Holds a value that no repr, log line, template or error text may show.

    It is stored like its value, with the type kept; whoever may read the store can read it unless
    rows are encrypted (see `Keyring`). Equality takes constant time for str and bytes. It cannot be
    changed, and it cannot be pickled, since that would write the value where nobody looks after it.
    """

    __slots__ = ("__value",)

    def __init__(self, value: Value) -> None:
        object.__setattr__(self, "_Secret__value", value)

    def reveal(self) -> Value:
        """The value itself. Keep it out of logs and error texts."""
        value: Value = object.__getattribute__(self, "_Secret__value")
        return value

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return _equal(self.reveal(), other.reveal())

    def __hash__(self) -> int:
        return hash((Secret, self.reveal()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("A Secret is immutable. Make a new one.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("A Secret is immutable. Make a new one.")

    def __copy__(self) -> Secret[Value]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[Value]:
        return Secret(copy.deepcopy(self.reveal(), memo))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A Secret is never pickled. Pass a reference to it, or reveal() it.")


def _equal(left: object, right: object) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, str) and isinstance(right, str):
        return hmac.compare_digest(_bytes(left), _bytes(right))
    if isinstance(left, bytes) and isinstance(right, bytes):
        return hmac.compare_digest(left, right)
    return bool(left == right)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
