"""How values of a context are shown: as JSON for scripts, as one short text for people.

What FLUXIO["REDACT"] hides is masked here as well: also where it only shows once it is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.db.models import Model

from fluxio.codec import DEFAULT_CODEC
from fluxio.codec.registry import CLOSED_TYPES, current_types
from fluxio.codec.secret import MASK
from fluxio.errors import EncodingError
from fluxio.redaction import fields_of
from fluxio_django.redaction import redaction, shown_text, shown_value, shown_values

JSON_RULE = (
    "Values that JSON lacks are written as the checkpoint codec writes them: an object with one "
    'key, the tag, as in {"$decimal": "1.20"}; keys of your own that start with $ get a second '
    'one. Secrets are masked, and a value that has no stored form is {"$unstorable": "its type"}.'
)
"""Said in the help of every command with --json that shows values."""

_MARK = "$"
_LONGEST = 1_000
_BRACKETS: Final[Mapping[type, tuple[str, str]]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them; see `JSON_RULE`."""
    return {
        _MARK + key if key.startswith(_MARK) else key: json_value(value)
        for key, value in shown_values(values).items()
    }


def json_value(value: Any) -> Any:
    """One value as JSON has it; see `JSON_RULE`."""
    try:
        text = DEFAULT_CODEC.encode_value(value)
    except EncodingError:
        kind = type(value)
        return {"$unstorable": f"{kind.__module__}.{kind.__qualname__}"}
    return _masked(json.loads(text))


def short(value: Any) -> str:
    """One value much as Python writes it, at most 1,000 characters of it.

    An object that has fields, or a stored form, does not get to write itself: nobody knows what it
    would tell.
    """
    text = ""
    try:
        for piece in _pieces(shown_value(value)):
            text += piece
            if len(text) > _LONGEST:
                return text[:_LONGEST] + "..."
    except Exception:  # noqa: BLE001 - a value of the user's that cannot be shown is no reason to stop
        return f"<{type(value).__qualname__} that cannot be shown>"
    return text


def _pieces(value: Any) -> Iterator[str]:
    kind = type(value)
    if kind is dict:
        yield from _listed("{", (((*_pieces(key), ": "), item) for key, item in value.items()), "}")
    elif kind in _BRACKETS and value:
        start, end = _BRACKETS[kind]
        end = f",{end}" if kind is tuple and len(value) == 1 else end
        yield from _listed(start, (((), item) for item in value), end)
    elif kind in CLOSED_TYPES:
        yield repr(value)
    else:
        yield from _object_pieces(value)


def _object_pieces(value: Any) -> Iterator[str]:
    kind = type(value)
    name = kind.__qualname__.rpartition(">.")[2]
    if fields_of(value) is not None:
        told = (((field, "="), item) for field, item in _told(value))
        yield from _listed(f"{name}(", told, ")")
        return
    registration = current_types().find(kind)
    if registration is None or registration.has_fields or issubclass(kind, Model):
        yield shown_text(repr(value))
        return
    yield from _listed(f"{name}(", [((), shown_value(registration.encode(value)))], ")")


def _listed(start: str, items: Iterable[tuple[Iterable[str], Any]], end: str) -> Iterator[str]:
    yield start
    for at, (label, item) in enumerate(items):
        yield ", " * (at > 0)
        yield from label
        yield from _pieces(item)
    yield end


def _told(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an object by name, without those that its class keeps out of repr()."""
    kind = type(value)
    described = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "model_fields", None)
    if not isinstance(described, Mapping):
        described = {each.name: each for each in getattr(kind, "__attrs_attrs__", ())}
    for name, item in (fields_of(value) or {}).items():
        if name == "__pydantic_extra__":
            yield from item.items()
        elif not name.startswith("__pydantic_") and getattr(described.get(name), "repr", True):
            yield name, item


def _masked(plain: Any) -> Any:
    """JSON values without what Secrets and hidden keys hold, wherever the codec met one."""
    if isinstance(plain, list):
        return [_masked(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if plain.keys() == {"$secret"}:
        return {"$secret": MASK}
    hides = redaction().hides
    return {
        key: {"$secret": MASK} if item is not None and hides(key) else _masked(item)
        for key, item in plain.items()
    }
