"""What people are not shown: values under telling keys, and those values in texts.

Nothing is cut out on the way: a hidden value is wrapped in a `Secret`, so that whatever shows,
compares or stores it goes on working and cannot give it away.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
        if depth > _DEEPEST:
            return value
        if type(value) is dict:
            changed = {key: self._under(key, item, depth + 1) for key, item in value.items()}
            return changed if _differ(changed.values(), value.values()) else value
        if type(value) is list or type(value) is tuple:
            items = [self._value(item, depth + 1) for item in value]
            return type(value)(items) if _differ(items, value) else value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._record(value, depth)
        return value

    def _record(self, value: Any, depth: int) -> Any:
        names = [field.name for field in dataclasses.fields(value)]
        before = [getattr(value, name, None) for name in names]
        after = [
            self._under(name, item, depth + 1) for name, item in zip(names, before, strict=True)
        ]
        if not _differ(after, before):
            return value
        # Not by its constructor, which may refuse what is no longer of the field's type.
        shown = object.__new__(type(value))
        for name, item in zip(names, after, strict=True):
            object.__setattr__(shown, name, item)
        return shown

    def _secrets(self, values: Mapping[str, Any]) -> Iterator[str]:
        """The texts that are hidden somewhere in values."""
        left = _MOST_NODES
        waiting: list[tuple[Any, bool]] = [(self.items(values), False)]
        while waiting and left:
            left -= 1
            value, hidden = waiting.pop()
            match value:
                case Secret():
                    waiting.append((value.reveal(), True))
                case str() if hidden:
                    yield value
                case int() if hidden and not isinstance(value, bool):
                    # Longer ones have no decimal form that could stand in a text.
                    if value.bit_length() <= _LONGEST_INT:
                        yield str(value)
                case Mapping():
                    waiting.extend((item, hidden) for item in value.values())
                case list() | tuple() | set() | frozenset():
                    waiting.extend((item, hidden) for item in value)
                case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
                    fields = dataclasses.fields(value)
                    waiting.extend((getattr(value, each.name, None), hidden) for each in fields)
                case _:
                    pass


def _plain(key: str) -> str:
    return _SEPARATORS.sub("", key).casefold()


def _differ(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return any(a is not b for a, b in zip(one, other, strict=True))


def _longest_first(texts: Iterable[str]) -> list[str]:
    # Short ones would cut harmless words to pieces.
    found = {text for text in texts if len(text) >= _SHORTEST_KNOWN}
    return sorted(found, key=len, reverse=True)
