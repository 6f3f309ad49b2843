"""The way in: one walk that turns values into plain JSON values, or refuses.

A value that JSON keeps as it is comes out as the very same object, so plain contexts are walked
without copying. Everything else becomes a mapping with one key, its tag: ``{"$tuple": [1, 2]}``. A
key that starts with ``$`` is written with a second one, so no user mapping is ever taken for a tag.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from types import NoneType
from typing import Any

from fluxio.codec.fields import Attributes, automatic_form
from fluxio.codec.limits import Limits
from fluxio.codec.paths import Refusal, attribute_step, index_step, key_step, passing
from fluxio.codec.registry import Types
from fluxio.codec.scalars import (
    LARGE_INT,
    LEAVES,
    SURROGATE,
    Leaf,
    write_float,
    write_int,
    write_str,
)
from fluxio.codec.secret import Secret

MARK = "$"

Handler = Callable[["Walk", Any, int], Any]
"""Takes the walk, a value and its depth; gives the plain JSON value for it."""

# Depth is bounded by the walk, so looking for cycles a second time would only cost time.
write_json = json.JSONEncoder(
    ensure_ascii=True, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


class Walk:
    """One pass over one value: what it may use and what is left of it.

    `left` falls by at least the bytes each part will take, which bounds time and memory even where
    a small object graph unfolds to an enormous text.
    """

    __slots__ = ("left", "limits", "max_depth", "types")

    def __init__(self, limits: Limits, types: Types) -> None:
        self.limits = limits
        self.max_depth = limits.max_depth
        self.left = limits.max_bytes
        self.types = types

    def encode(self, value: Any, depth: int) -> Any:
        """The plain JSON value for `value`, which stands `depth` containers deep.

        Raises:
            Refusal: some part of it cannot be stored without loss.
        """
        handler = HANDLERS.get(type(value), encode_registered)
        return value if handler is None else handler(self, value, depth)

    def enter(self, items: int, depth: int) -> None:
        """Account for a container of so many items (two bytes each at least)."""
        if depth > self.max_depth:
            raise Refusal(
                f"is nested more than {self.max_depth} levels deep. "
                "Flatten it, or raise max_depth of the codec's Limits."
            )
        self.left -= 2 * items
        if self.left < 0:
            raise too_large(self.limits)

    def spend(self, size: int) -> None:
        """Account for `size` bytes of text."""
        self.left -= size
        if self.left < 0:
            raise too_large(self.limits)


def too_large(limits: Limits) -> Refusal:
    """The refusal of a text over the limit."""
    return Refusal(
        f"takes the stored text over {limits.max_bytes} bytes. "
        "Keep large data elsewhere and a reference to it here, "
        "or raise max_bytes of the codec's Limits."
    )


# --- values without items ------------------------------------------------------------------------


def _encode_int(walk: Walk, value: int, depth: int) -> Any:
    return value if -LARGE_INT < value < LARGE_INT else write_int(value)


def _encode_float(walk: Walk, value: float, depth: int) -> Any:
    return value if value - value == 0 else write_float(value)


def _encode_str(walk: Walk, value: str, depth: int) -> Any:
    walk.left -= len(value)
    if walk.left < 0:
        raise too_large(walk.limits)
    return value if value.isascii() else write_str(value)


def _leaf_handler(leaf: Leaf) -> Handler:
    tag, write = leaf.tag, leaf.write

    def encode_leaf(walk: Walk, value: Any, depth: int) -> Any:
        payload = write(value)
        if type(payload) is str:
            walk.spend(len(payload))
        return {tag: payload}

    return encode_leaf


# --- containers ----------------------------------------------------------------------------------


# The loops of dict and list do in place what `Walk.encode` and `_encode_str` do: they are where the
# time goes.


def _encode_dict(walk: Walk, value: dict[Any, Any], depth: int) -> Any:
    walk.enter(len(value), depth)
    encoded_dict = value
    unusual = False
    size = key_size = 0
    key = None
    try:
        for key, item in value.items():
            if type(key) is str and key.isascii() and MARK not in key:
                key_size += len(key)
            else:
                unusual = True
            kind = type(item)
            if kind is str and item.isascii():
                size += len(item)
                continue
            handler = HANDLERS.get(kind, encode_registered)
            if handler is not None:
                encoded = handler(walk, item, depth + 1)
                if encoded is not item:
                    if encoded_dict is value:
                        encoded_dict = value.copy()
                    encoded_dict[key] = encoded
        walk.spend(size if unusual else size + key_size)
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, key_step(key)) from error.__cause__
    return _with_unusual_keys(walk, value, encoded_dict, depth) if unusual else encoded_dict


def _with_unusual_keys(
    walk: Walk, value: dict[Any, Any], encoded_dict: dict[Any, Any], depth: int
) -> Any:
    """A dict some of whose keys JSON might change: escaped if all are plain str, else as pairs."""
    if all(type(key) is str and _is_plain(key) for key in value):
        walk.spend(sum(map(len, value)))
        if not any(key[:1] == MARK for key in value):
            return encoded_dict
        return {MARK + key if key[:1] == MARK else key: item for key, item in encoded_dict.items()}
    keys = [_encode_key(walk, value, number, key, depth) for number, key in enumerate(value)]
    return {"$dict": [[key, item] for key, item in zip(keys, encoded_dict.values(), strict=True)]}


def _is_plain(text: str) -> bool:
    return SURROGATE.search(text) is None


def _encode_key(walk: Walk, holder: Any, number: int, key: Any, depth: int) -> Any:
    try:
        return walk.encode(key, depth + 1)
    except (Refusal, RuntimeError) as error:
        raise passing(error, holder, f".keys(){index_step(number)}") from error.__cause__


def _encode_list(walk: Walk, value: list[Any], depth: int) -> Any:
    walk.enter(len(value), depth)
    encoded_list = value
    size = 0
    index = 0
    try:
        for index, item in enumerate(value):
            kind = type(item)
            if kind is str and item.isascii():
                size += len(item)
                continue
            handler = HANDLERS.get(kind, encode_registered)
            if handler is not None:
                encoded = handler(walk, item, depth + 1)
                if encoded is not item:
                    if encoded_list is value:
                        encoded_list = value.copy()
                    encoded_list[index] = encoded
        walk.spend(size)
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, index_step(index)) from error.__cause__
    return encoded_list


def _encode_tuple(walk: Walk, value: tuple[Any, ...], depth: int) -> Any:
    walk.enter(len(value), depth)
    items: list[Any] = []
    try:
        for item in value:
            items.append(walk.encode(item, depth + 1))
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, index_step(len(items))) from error.__cause__
    return {"$tuple": items}


def _encode_members(walk: Walk, value: frozenset[Any], depth: int) -> list[Any]:
    """The members of a set in the order of their texts, so that equal sets have equal texts."""
    walk.enter(len(value), depth)
    try:
        members = [walk.encode(item, depth + 1) for item in value]
        return sorted(members, key=write_json)
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, "{member}") from error.__cause__


def _encode_set(walk: Walk, value: frozenset[Any], depth: int) -> Any:
    return {"$set": _encode_members(walk, value, depth)}


def _encode_frozenset(walk: Walk, value: frozenset[Any], depth: int) -> Any:
    return {"$frozenset": _encode_members(walk, value, depth)}


def _encode_secret(walk: Walk, value: Secret[Any], depth: int) -> Any:
    walk.enter(1, depth)
    try:
        return {"$secret": walk.encode(value.reveal(), depth + 1)}
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, ".reveal()") from error.__cause__


# --- registered types ----------------------------------------------------------------------------


def encode_registered(walk: Walk, value: Any, depth: int) -> Any:
    """A value outside the closed table: by its registration, or not at all."""
    registration = walk.types.find(type(value))
    if registration is None:
        raise _unregistered(type(value), walk.types.remedy(type(value)))
    walk.enter(1, depth)
    try:
        payload = registration.encode(value)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(
            f"could not be encoded: encode of {registration.name!r} raised {type(error).__name__}. "
            "Mend that function or the value."
        ) from error
    if type(payload) is Attributes:
        return {registration.tag: _encode_fields(walk, value, payload, depth)}
    try:
        return {registration.tag: walk.encode(payload, depth + 1)}
    except (Refusal, RuntimeError) as error:
        raise passing(error, value, f"<{registration.name}>") from error.__cause__


def _encode_fields(walk: Walk, holder: Any, fields: Attributes, depth: int) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    name = ""
    try:
        for name, item in fields.items():
            walk.spend(len(name))
            encoded[name] = walk.encode(item, depth + 1)
    except (Refusal, RuntimeError) as error:
        raise passing(error, holder, attribute_step(name)) from error.__cause__
    return encoded


def _unregistered(cls: type, remedy: str | None) -> Refusal:
    shown = f"{cls.__module__}.{cls.__qualname__}"
    base = next((base for base in cls.__mro__[1:] if base in HANDLERS), None)
    loss = "" if base is None else f", and storing it as {base.__name__} would lose its type"
    directions = "" if automatic_form(cls) else ", encode=..., decode=..."
    call = f'register_type({cls.__name__}, name="..."{directions})'
    remedy = remedy or f"Convert it to plain values, or call {call}."
    return Refusal(f"is of type {shown}, which has no stored form{loss}. {remedy}")


HANDLERS: dict[type, Handler | None] = {
    NoneType: None,
    bool: None,
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    list: _encode_list,
    dict: _encode_dict,
    tuple: _encode_tuple,
    set: _encode_set,
    frozenset: _encode_frozenset,
    Secret: _encode_secret,
    **{kind: _leaf_handler(leaf) for kind, leaf in LEAVES.items()},
}
"""What each type of the closed table needs; None for those that JSON keeps as they are."""
