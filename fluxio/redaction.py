"""What people are not shown: values under telling keys, and those values in texts.

Nothing is cut out on the way: a hidden value is wrapped in a `Secret`, so that whatever shows,
compares or stores it goes on working and cannot give it away.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from types import NoneType
from typing import Any, Final

from fluxio.codec.fields import Form, automatic_form
from fluxio.codec.registry import current_types
from fluxio.codec.secret import Secret
from fluxio.patterns import DEFAULT_PATTERNS

HIDDEN = "***"

_SEPARATORS = re.compile(r"[\W_]+")
_CREDENTIALS = re.compile(r"(?P<before>://[^/\s:@]{0,200}:)[^@\s/]{1,500}(?=@)")
_SCHEME = re.compile(r"(?P<before>\b(?:bearer|basic)\s+)[\w.~+/=\-]{6,}", re.IGNORECASE)
_SHORTEST_KNOWN = 4
_LONGEST_INT = 2048
_MOST_NODES = 100_000
_DEEPEST = 200
_ATOMS: Final = frozenset({str, int, float, bool, bytes, NoneType, Secret})
_COLLECTIONS: Final = (list, tuple, set, frozenset, deque)


@dataclass(frozen=True)
class Redaction:
    """Which keys are hidden: those that contain one of `patterns`.

    Case and separators do not count: `api_key` hides `apiKey`, `X-Api-Key` and `old_apikey_2`.
    """

    patterns: tuple[str, ...] = DEFAULT_PATTERNS

    def hides(self, key: object) -> bool:
        """Whether the value under a key is hidden."""
        if not isinstance(key, str):
            return False
        plain = _plain(key)
        return any(part in plain for part in self._parts)

    def items(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A context, or what a step wrote, as people may see it."""
        return {key: self._under(key, value, 0) for key, value in values.items()}

    def value(self, value: Any) -> Any:
        """A value whose hidden parts are Secrets; the same object where it has none."""
        return self._value(value, 0)

    def text(self, text: str, values: Mapping[str, Any] | None = None) -> str:
        """A text without what it tells of hidden keys: `password=...`, headers, URLs with logins.

        Where the context that it is about is known, give it as `values`: what is hidden in there
        is then found in the text wherever it stands.
        """
        for known in _longest_first(self._secrets(values or {})):
            text = text.replace(known, HIDDEN)
        text = _SCHEME.sub(rf"\g<before>{HIDDEN}", text)
        text = _CREDENTIALS.sub(rf"\g<before>{HIDDEN}", text)
        return self._assignment.sub(rf"\g<before>{HIDDEN}", text) if self._parts else text

    # --- keys

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        return tuple(part for part in map(_plain, self.patterns) if part)

    @cached_property
    def _assignment(self) -> re.Pattern[str]:
        """A hidden key, a sign like `=` or `:`, and a value; bounded, so that it stays linear."""
        keys = "|".join(r"[\W_]?".join(map(re.escape, part)) for part in self._parts)
        return re.compile(
            rf"""(?P<before>(?:{keys})[\w.\-]{{0,40}}(?:\\?["'])?\]?\s{{0,4}}(?:=>|[:=])\s{{0,4}})"""
            r"""(?:\\?"(?:[^"\\]|\\.){0,2000}"?|\\?'(?:[^'\\]|\\.){0,2000}'?|[^\s,;&)}\]]{1,2000})""",
            re.IGNORECASE,
        )

    # --- values

    def _under(self, key: object, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, Secret):
            return value
        return Secret(value) if self.hides(key) else self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS or depth > _DEEPEST:
            return value
        try:
            if issubclass(kind, Mapping):
                return self._mapping(value, depth)
            fields = fields_of(value)
            if fields is not None:
                return self._record(value, fields, depth)
            return self._collection(value, depth)
        except Exception:  # noqa: BLE001 - these are user objects; what one holds is then unknown
            return Secret(value)

    # Loops rather than comprehensions, which cost a frame of a deep value's stack each.

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        shown: dict[Any, Any] = {}
        same = True
        for key, item in value.items():
            name, after = self._value(key, depth + 1), self._under(key, item, depth + 1)
            same = same and name is key and after is item
            shown[name] = after
        return value if same else shown

    def _collection(self, value: Any, depth: int) -> Any:
        plain = next((kind for kind in _COLLECTIONS if issubclass(type(value), kind)), None)
        if plain is None:
            return value
        shown: list[Any] = []
        same = True
        for item in value:
            after = self._value(item, depth + 1)
            same = same and after is item
            shown.append(after)
        return value if same else plain(shown)

    def _record(self, value: Any, fields: Mapping[str, Any], depth: int) -> Any:
        shown: dict[str, Any] = {}
        same = True
        for name, item in fields.items():
            after = self._under(name, item, depth + 1)
            same = same and after is item
            shown[name] = after
        if same:
            return value
        # Not by its constructor, which may refuse what is no longer of the field's type.
        form = _form(value)
        return Secret(value) if form is None else form.decode(shown)

    def _secrets(self, values: Mapping[str, Any]) -> Iterator[str]:
        """The texts that are hidden somewhere in values."""
        left = _MOST_NODES
        waiting: list[tuple[Any, bool]] = [(values, False)]
        while waiting and left:
            left -= 1
            value, hidden = waiting.pop()
            kind = type(value)
            if kind is Secret:
                waiting.append((value.reveal(), True))
            elif hidden and issubclass(kind, str):
                yield value
            elif hidden and issubclass(kind, int) and kind is not bool:
                # Longer ones have no decimal form that could stand in a text.
                if value.bit_length() <= _LONGEST_INT:
                    yield str(value)
            elif kind not in _ATOMS:
                parts = _parts_of(value)
                waiting.extend((item, hidden or self.hides(key)) for key, item in parts)


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """What a dataclass, attrs class, pydantic model or named tuple holds, by the fields' names.

    None for any other value.
    """
    kind = type(value)
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        return dict(zip(names, value, strict=False)) if type(names) is tuple else None
    if dataclasses.is_dataclass(kind):
        return {each.name: getattr(value, each.name, None) for each in dataclasses.fields(kind)}
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return {each.name: getattr(value, each.name, None) for each in attributes}
    form = _form(value)
    return None if form is None else form.encode(value)


def _form(value: Any) -> Form | None:
    kind: type = type(value)
    return _form_of(kind)


@lru_cache(maxsize=1_024)
def _form_of(kind: type) -> Form | None:
    return None if issubclass(kind, Enum) else automatic_form(kind)


def _parts_of(value: Any) -> list[tuple[object, Any]]:
    """What is inside a value, each under its key or name where it has one."""
    kind = type(value)
    try:
        if issubclass(kind, Mapping):
            # A key that is a text names what is under it; any other may hold something itself.
            return [*value.items(), *((None, key) for key in value if type(key) is not str)]
        fields = fields_of(value)
        if fields is not None:
            return list(fields.items())
        if issubclass(kind, _COLLECTIONS):
            return [(None, item) for item in value]
        registration = current_types().find(kind)
        return [] if registration is None else [(None, registration.encode(value))]
    except Exception:  # noqa: BLE001 - these are user objects; one that refuses tells nothing
        return []


def _plain(key: str) -> str:
    return _SEPARATORS.sub("", key).casefold()


def _longest_first(texts: Iterable[str]) -> list[str]:
    # Short ones would cut harmless words to pieces.
    found = {text for text in texts if len(text) >= _SHORTEST_KNOWN}
    return sorted(found, key=len, reverse=True)
