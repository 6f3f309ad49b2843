"""Values as trees of typed texts: bounded, and without asking the values to describe themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio.codec import Secret
from fluxio.codec.registry import current_types
from fluxio.codec.secret import MASK
from fluxio_django.admin.measures import printable
from fluxio_django.redaction import shown_value, shown_values
from fluxio_django.references import ModelReference

_PLAIN = (bool, int, float, complex, Decimal, Fraction, UUID, timedelta, range, PurePath)
_LONGEST_KEY = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One value as a page shows it.

    `kind` names its type, `text` is what a value without items says, `note` counts the items of one
    that has some. `more` says how many items were left out.
    """

    kind: str
    text: str = ""
    note: str = ""
    items: tuple[Item, ...] = ()
    more: int = 0

    @property
    def is_tree(self) -> bool:
        """Whether there is something to unfold."""
        return bool(self.items) or self.more > 0

    @property
    def is_long(self) -> bool:
        """Whether the text needs a block of its own."""
        return "\n" in self.text or len(self.text) > 160


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A value under its key, field name or position."""

    label: str
    value: Shown


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much of values is shown: nodes in all, levels, items of one container, characters."""

    nodes: int = 1_500
    depth: int = 12
    items: int = 100
    characters: int = 4_000


class Renderer:
    """Turns values into trees; all values of one page share its bound of nodes."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._left = self._bounds.nodes

    def show(self, value: Any, depth: int = 0) -> Shown:
        """The tree of a value. Whatever a value does, this gives something to show."""
        self._left -= 1
        if self._left < 0:
            return Shown(kind=type(value).__name__, text=_("… (the page is full)"))
        if depth >= self._bounds.depth:
            return Shown(kind=type(value).__name__, text=_("… (nested deeper)"))
        try:
            return self._shown(value, depth)
        except Exception as problem:  # noqa: BLE001 - registered types run their own code here
            return _unreadable(value, problem)

    def show_items(self, values: Mapping[str, Any]) -> tuple[Item, ...]:
        """A context, or a step's writes, key by key."""
        return self._mapping(shown_values(values), depth=0).items

    def _shown(self, value: Any, depth: int) -> Shown:
        match value:
            case None:
                return Shown(kind="None", text="None")
            case Secret():
                return Shown(kind="Secret", text=MASK)
            case Model() | ModelReference():
                label = value.model if isinstance(value, ModelReference) else value._meta.label
                return Shown(kind=label, text=f"pk={self._cut(repr(value.pk))}")
            case Enum():
                return Shown(kind=type(value).__name__, text=self._cut(value.name))
            case str():
                return Shown(kind=_name(value), text=self._cut(value))
            case bytes() | bytearray():
                return self._bytes(value)
            case datetime() | date() | time():
                return Shown(kind=_name(value), text=value.isoformat())
            case _ if isinstance(value, _PLAIN):
                return Shown(kind=_name(value), text=self._cut(_number_text(value)))
            case Mapping():
                return self._mapping(value, depth)
            case list() | tuple() if type(value) in (list, tuple):
                labelled = ((str(at), item) for at, item in enumerate(value))
                return self._tree(_name(value), len(value), labelled, depth)
            case set() | frozenset():
                labelled = (("", item) for item in _sorted(value))
                return self._tree(_name(value), len(value), labelled, depth)
            case _:
                return self._object(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Shown:
        labelled = ((self._label(key), item) for key, item in value.items())
        return self._tree(_name(value), len(value), labelled, depth)

    def _object(self, value: Any, depth: int) -> Shown:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            # A field that is kept out of repr() is kept out of pages as well.
            labelled = (
                (field.name, getattr(value, field.name) if field.repr else Secret(None))
                for field in fields
            )
            return self._tree(_name(value), len(fields), labelled, depth)
        registration = current_types().find(type(value))
        if registration is None:
            return Shown(kind=_name(value), text="…")
        stored = self.show(shown_value(registration.encode(value)), depth)
        return dataclasses.replace(stored, kind=_name(value))

    def _tree(
        self, kind: str, count: int, labelled: Iterable[tuple[str, Any]], depth: int
    ) -> Shown:
        items: list[Item] = []
        for label, value in labelled:
            if len(items) == self._bounds.items or self._left <= 0:
                break
            items.append(Item(label=label, value=self.show(value, depth + 1)))
        note = ngettext("%d item", "%d items", count) % count if count else _("empty")
        return Shown(kind=kind, note=note, items=tuple(items), more=count - len(items))

    def _bytes(self, value: bytes | bytearray) -> Shown:
        shown = value[: self._bounds.characters // 4].hex(" ", 4)
        cut = " …" if len(value) * 4 > self._bounds.characters else ""
        note = ngettext("%d byte", "%d bytes", len(value)) % len(value)
        return Shown(kind=_name(value), text=shown + cut, note=note)

    def _label(self, key: Any) -> str:
        text = key if isinstance(key, str) else self.show(key, self._bounds.depth - 1).text
        return printable(text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…")

    def _cut(self, text: str) -> str:
        most = self._bounds.characters
        if len(text) <= most:
            return printable(text)
        length = ngettext("%d character", "%d characters", len(text)) % len(text)
        return f"{printable(text[:most])}… ({length})"


def _name(value: Any) -> str:
    return type(value).__name__


def _number_text(value: Any) -> str:
    if type(value) is int and value.bit_length() > 4_000:
        return _("an integer of %d bits") % value.bit_length()
    return str(value)


def _sorted(values: Iterable[Any]) -> list[Any]:
    """Sets in an order that does not change from one look to the next, where there is one."""
    members = list(values)
    try:
        return sorted(members)
    except Exception:  # noqa: BLE001 - members of several types, or with their own idea of order
        return members


def _unreadable(value: Any, problem: Exception) -> Shown:
    reason = _("cannot be shown (%s)") % type(problem).__name__
    return Shown(kind=_name(value), text=reason)
