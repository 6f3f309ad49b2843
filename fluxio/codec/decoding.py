"""The way back: JSON values with tags become the values they stand for, or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NoReturn

from fluxio.codec.encoding import MARK
from fluxio.codec.paths import Refusal, attribute_step, index_step, key_step, passing
from fluxio.codec.registry import USER_TAG, Registration, current_types
from fluxio.codec.scalars import LEAVES, read_float, read_int, read_str
from fluxio.codec.secret import Secret

STRING = r'"(?:[^"\\]|\\.)*+"?'
"""One JSON string, or what an unterminated one leaves; possessive, so it never reads twice."""

_NO_BRACKETS = re.compile(rf"{STRING}|[^\[\]{{}}\"]++", re.DOTALL)
_BLANK = re.compile(r"[ \t\n\r]*")
_OPENS = {"[": 1, "{": 1, "]": -1, "}": -1}


def _refuse_constant(word: str) -> NoReturn:
    raise Refusal(f"holds {word}, which is no JSON.")


def revive(mapping: dict[str, Any]) -> Any:
    """The value of one JSON object whose items are values already.

    Raises:
        Refusal: it looks like a tag and is none, or its payload is malformed.
    """
    for key in mapping:
        if key[:1] == MARK:
            return _revive_marked(mapping)
    return mapping


Read = Callable[[str, int], Any]
"""Reads the one JSON value that a text holds from a place on, without copying what is there."""


def _reader(**hooks: Any) -> Read:
    scan = json.JSONDecoder(parse_constant=_refuse_constant, **hooks).raw_decode

    def read(text: str, start: int) -> Any:
        value, end = scan(text, _end_of_blank(text, start))
        end = _end_of_blank(text, end)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value

    return read


def _end_of_blank(text: str, start: int) -> int:
    blank = _BLANK.match(text, start)
    assert blank is not None
    return blank.end()


read_json = _reader(object_hook=revive)
read_plain_json = _reader()


def depth_of(text: str) -> int:
    """How deep the brackets of a JSON text are nested, strings left aside."""
    return max(accumulate(map(_OPENS.__getitem__, _NO_BRACKETS.sub("", text))), default=0)


def revive_by_walk(plain: Any, step: Callable[[str], str] = key_step) -> Any:
    """The same as reading with `revive`, slower, with the key path in the refusal.

    `step` words the way to the items of `plain`, where that is a mapping.

    Raises:
        Refusal: some part of `plain` is malformed.
    """
    if type(plain) is list:
        items: list[Any] = []
        try:
            for item in plain:
                items.append(revive_by_walk(item))
        except (Refusal, RuntimeError) as error:
            raise passing(error, plain, index_step(len(items))) from error.__cause__
        return items
    if type(plain) is not dict:
        return plain
    revived: dict[str, Any] = {}
    key = ""
    try:
        for key, item in plain.items():
            revived[key] = revive_by_walk(item, attribute_step if _has_fields(key) else key_step)
    except (Refusal, RuntimeError) as error:
        raise passing(error, plain, _worded(key, step)) from error.__cause__
    return revive(revived)


def _worded(key: str, step: Callable[[str], str]) -> str:
    """The step behind a JSON key: tags of containers and of fields are not seen from outside."""
    if key[:1] != MARK:
        return step(key)
    if key[:2] == MARK * 2:
        return step(key[1:])
    if key in ("$tuple", "$set", "$frozenset") or _has_fields(key):
        return ""
    if key == "$secret":
        return ".reveal()"
    return f"<{key.removeprefix(USER_TAG).removeprefix(MARK)[:60]}>"


def _has_fields(key: str) -> bool:
    if not key.startswith(USER_TAG):
        return False
    registration = current_types().by_name.get(key[len(USER_TAG) :])
    return registration is not None and registration.has_fields


def _revive_marked(mapping: dict[str, Any]) -> Any:
    tag = next(iter(mapping))
    if len(mapping) == 1 and tag[:2] != MARK * 2:
        return _revive_tagged(tag, mapping[tag])
    plain: dict[str, Any] = {}
    for key, item in mapping.items():
        if key[:1] == MARK:
            if key[:2] != MARK * 2:
                raise Refusal(f"has the tag {key[:60]!r} beside other keys. It is damaged.")
            key = key[1:]
        plain[key] = item
    return plain


def _revive_tagged(tag: str, payload: Any) -> Any:
    if tag.startswith(USER_TAG):
        return _revive_registered(tag.removeprefix(USER_TAG), payload)
    read = READERS.get(tag)
    if read is None:
        raise Refusal(
            f"has the unknown tag {tag[:60]!r}. It is damaged, or a newer release wrote it: "
            "upgrade fluxio here."
        )
    try:
        return read(payload)
    except Refusal:
        raise
    except Exception:  # noqa: BLE001 - readers may raise anything on damage
        # The text of the cause may repeat the payload, which no error shows.
        raise Refusal(f"has a malformed payload under the tag {tag!r}. It is damaged.") from None


def _revive_registered(name: str, payload: Any) -> Any:
    registration = current_types().by_name.get(name)
    if registration is None:
        raise Refusal(
            f"is of the unknown type {name[:200]!r}. Import the module that registers it before "
            f"runs are loaded, or call register_type(..., name={name[:200]!r})."
        )
    try:
        value = registration.decode(payload)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(
            f"could not be decoded: decode of {name!r} raised {type(error).__name__}. "
            "Mend that function so that it reads what was stored."
        ) from error
    if not _is_of(value, registration):
        raise Refusal(
            f"could not be decoded: decode of {name!r} gave {type(value).__qualname__} instead of "
            f"{registration.cls.__qualname__}. Mend that function."
        )
    return value


def _is_of(value: Any, registration: Registration) -> bool:
    if registration.stand_in is not None and isinstance(value, registration.stand_in):
        return True
    if registration.subclasses:
        return isinstance(value, registration.cls)
    return type(value) is registration.cls


def _items(payload: Any) -> list[Any]:
    if type(payload) is not list:
        raise TypeError
    return payload


def _read_tuple(payload: Any) -> tuple[Any, ...]:
    return tuple(_items(payload))


def _read_set(payload: Any) -> set[Any]:
    members = set(_items(payload))
    if len(members) != len(payload):
        raise ValueError
    return members


def _read_frozenset(payload: Any) -> frozenset[Any]:
    return frozenset(_read_set(payload))


def _read_dict(payload: Any) -> dict[Any, Any]:
    mapping = {key: item for key, item in _items(payload)}  # noqa: C416 - each pair is checked
    if len(mapping) != len(payload):
        raise ValueError
    return mapping


READERS: dict[str, Callable[[Any], Any]] = {
    "$int": read_int,
    "$float": read_float,
    "$str": read_str,
    "$tuple": _read_tuple,
    "$set": _read_set,
    "$frozenset": _read_frozenset,
    "$dict": _read_dict,
    "$secret": Secret,
    **{leaf.tag: leaf.read for leaf in LEAVES.values()},
}
"""What each tag of the closed table means."""
