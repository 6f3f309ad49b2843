"""Describes values of the types that Python brings along: scalars, containers, dates, partials."""

from __future__ import annotations

import functools
import operator
import re
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from types import (
    EllipsisType,
    MappingProxyType,
    ModuleType,
    NoneType,
    NotImplementedType,
)
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fluxio.compiler.fingerprint.objects import instance_state, is_callable
from fluxio.compiler.fingerprint.origin import module_name, type_name
from fluxio.compiler.fingerprint.parts import Parts

Rule = Callable[[Any], Parts]

Members = list[tuple[str, object]]

# The methods of the base class are named, since a subclass may override its own.
_TEXTS: dict[type, Callable[[Any], str]] = {
    NoneType: lambda _: "",
    EllipsisType: lambda _: "",
    NotImplementedType: lambda _: "",
    bool: lambda value: "true" if value else "false",
    int: lambda value: int.__format__(value, "x"),
    float: float.hex,
    complex: complex.__repr__,
    str: str.__str__,
    bytes: bytes.hex,
    bytearray: bytearray.hex,
    Decimal: Decimal.__str__,
    Fraction: Fraction.__str__,
    UUID: UUID.__str__,
    PurePath: PurePath.as_posix,
    date: date.isoformat,
    timezone: timezone.__repr__,
    ZoneInfo: ZoneInfo.__str__,
    ContextVar: lambda value: str(value.name),
    ModuleType: lambda value: module_name(value.__name__),
}

_CLOCK = ("hour", "minute", "second", "microsecond", "fold", "tzinfo")

_FIELDS: dict[type, tuple[str, ...]] = {
    datetime: ("year", "month", "day", *_CLOCK),
    time: _CLOCK,
    timedelta: ("days", "seconds", "microseconds"),
    range: ("start", "stop", "step"),
    slice: ("start", "stop", "step"),
    re.Pattern: ("pattern", "flags"),
    BaseException: ("args",),
    partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.cached_property: ("func",),
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
}

_SEQUENCES: dict[type, tuple[str, ...]] = {tuple: (), list: (), deque: ("maxlen",)}

_MAPPINGS: dict[type, tuple[str, ...]] = {
    dict: (),
    MappingProxyType: (),
    defaultdict: ("default_factory",),
}

# Of what cannot change and cannot contain itself, it does not matter which equal copy is where.
_NEVER_SHARED = frozenset({datetime, time, timedelta, range, slice, re.Pattern, tuple, frozenset})


def rules() -> Mapping[type, Rule]:
    """How to describe each of these types, and subclasses of them that have no closer rule."""
    table: dict[type, Rule] = {}
    for base, text in _TEXTS.items():
        table[base] = partial(_describe_text, base, type_name(base), text)
    for base, fields in _FIELDS.items():
        table[base] = partial(_describe_fields, base, fields)
    for base, fields in _SEQUENCES.items():
        table[base] = partial(_describe_sequence, base, fields)
    for base, fields in _MAPPINGS.items():
        table[base] = partial(_describe_mapping, base, fields)
    for base in (set, frozenset):
        table[base] = partial(_describe_set, base)
    for base in (operator.itemgetter, operator.attrgetter, operator.methodcaller):
        table[base] = _describe_getter
    table[type(functools.lru_cache(type_name))] = _describe_memoised
    return table


def describe_enum(member: Enum) -> Parts:
    """A member of an enum: its class, name and value."""
    kind = type(member)
    value = [("value", member._value_), *_code(kind)]
    return Parts(type_name(kind), [str(member._name_)], value, is_shared=False)


def _describe_text(base: type, label: str, text: Callable[[Any], str], value: Any) -> Parts:
    if type(value) is base:
        return Parts(label, [text(value)], is_shared=base is bytearray)
    return Parts(type_name(type(value)), [text(value)], _added(value))


def _describe_fields(base: type, fields: tuple[str, ...], value: Any) -> Parts:
    return _parts(base, value, [(name, getattr(value, name)) for name in fields])


def _describe_sequence(base: Any, fields: tuple[str, ...], value: Any) -> Parts:
    members = [(name, getattr(value, name)) for name in fields]
    members += [("", element) for element in base.__iter__(value)]
    return _parts(base, value, members)


def _describe_mapping(base: Any, fields: tuple[str, ...], value: Any) -> Parts:
    members = [(name, getattr(value, name)) for name in fields]
    return _parts(base, value, members, list(base.items(value)))


def _describe_set(base: Any, value: Any) -> Parts:
    return _parts(base, value, [], [(element,) for element in base.__iter__(value)])


def _parts(
    base: type, value: object, members: Members, groups: Sequence[tuple[object, ...]] = ()
) -> Parts:
    kind = type(value)
    if kind is base:
        is_shared = base not in _NEVER_SHARED
        return Parts(type_name(kind), (), members, groups, is_shared=is_shared)
    return Parts(type_name(kind), (), members + _added(value), groups)


def _added(value: object) -> Members:
    # What a subclass has more than its base.
    return _code(type(value)) + sorted(instance_state(value), key=operator.itemgetter(0))


def _code(kind: type) -> Members:
    return [("class", kind)] if is_callable(kind) else []


def _describe_getter(value: Any) -> Parts:
    return Parts(label="getter", members=[("made from", value.__reduce__())])


def _describe_memoised(value: Any) -> Parts:
    return Parts(
        label="memoised",
        members=[("function", value.__wrapped__), ("options", value.cache_parameters())],
    )
