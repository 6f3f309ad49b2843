"""Nested changes, and the walk that finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never, overload

from fluxio.codec.paths import attribute_step, index_step, key_step
from fluxio.diff.alignment import aligned, paired
from fluxio.diff.equality import plain_keys, same_leaf
from fluxio.diff.shapes import ABSENT, ATOMS, Shape, elements, entries, shape_of, typed

DEEPEST_ALIGNED = 16


class ChangeKind(StrEnum):
    """What happened between a and b at one path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    TYPE_CHANGED = "type_changed"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Change:
    """One nested difference.

    Attributes:
        path: the keys, positions and field names that lead to it.
        text: the same as text, as an error of the codec writes it: ``["order"]["lines"][3].price``.
        kind: what happened.
        a: the value in a; `ABSENT` where it was added.
        b: the value in b; `ABSENT` where it was removed.

    Positions in a list count in b, except that of an element which b does not have any more: where
    a removal ends in a position, this one counts in a.
    """

    path: tuple[Any, ...]
    text: str
    kind: ChangeKind
    a: Any = ABSENT
    b: Any = ABSENT


class Changes(Sequence[Change]):
    """Nested differences in the order of the states; `truncated` tells whether there are more."""

    def __init__(self, changes: Iterable[Change], *, truncated: bool = False) -> None:
        self._changes = tuple(changes)
        self.truncated = truncated

    @overload
    def __getitem__(self, index: int) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...

    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self._changes[index]

    def __len__(self) -> int:
        return len(self._changes)

    def __repr__(self) -> str:
        more = " and more" if self.truncated else ""
        return f"<Changes {[change.text for change in self]}{more}>"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One step of a path, linked to the steps before it."""

    parent: Place | None
    step: Any
    text: str
    depth: int

    @classmethod
    def key(cls, parent: Place | None, key: Any) -> Place:
        """The place of a mapping's item."""
        return cls(parent, key, key_step(key), parent.depth + 1 if parent else 0)

    @classmethod
    def index(cls, parent: Place | None, index: int) -> Place:
        """The place of a sequence's element."""
        return cls(parent, index, index_step(index), parent.depth + 1 if parent else 0)

    @classmethod
    def field(cls, parent: Place | None, name: str) -> Place:
        """The place of an object's field."""
        return cls(parent, name, attribute_step(name), parent.depth + 1 if parent else 0)

    def steps(self) -> list[Place]:
        """The whole path, outermost step first."""
        steps: list[Place] = []
        place: Place | None = self
        while place is not None:
            steps.append(place)
            place = place.parent
        return steps[::-1]


Step = Callable[[Place | None, Any], Place]

Item = tuple[Any, Any, Any]
"""A key, position or field name with the values that are found there in a and in b."""


@dataclass(frozen=True, slots=True, eq=False)
class _Leave:
    """The end of a pair of containers, and how many changes were known at its beginning."""

    pair: tuple[int, int]
    known: int


class Walk:
    """Collects the changes between two states, `limit` at most, with a stack of its own."""

    def __init__(self, limit: int) -> None:
        self.changes: list[Change] = []
        self.truncated = False
        self._limit = limit
        self._pending: list[tuple[Place, Any, Any] | _Leave] = []
        self._open: set[tuple[int, int]] = set()
        self._same: set[tuple[int, int]] = set()
        self._kept: list[object] = []  # what `_open` and `_same` know by id has to stay alive

    def run(self, items: Iterable[Item]) -> Changes:
        """Walk through the values of all these top-level keys."""
        self._push(None, Place.key, items)
        while self._pending and not self.truncated:
            item = self._pending.pop()
            if isinstance(item, _Leave):
                self._leave(item)
            else:
                self._visit(*item)
        return Changes(self.changes, truncated=self.truncated)

    def _push(self, place: Place | None, step: Step, items: Iterable[Item]) -> None:
        differing = [
            (step(place, key), a, b)
            for key, a, b in items
            if a is not b and not (type(a) in ATOMS and type(a) is type(b) and a == b)
        ]
        self._pending.extend(reversed(differing))

    def _visit(self, place: Place, a: Any, b: Any) -> None:
        if a is ABSENT:
            self._add(place, ChangeKind.ADDED, a, b)
        elif b is ABSENT:
            self._add(place, ChangeKind.REMOVED, a, b)
        elif type(a) is not type(b):
            self._add(place, ChangeKind.TYPE_CHANGED, a, b)
        elif (inside := _inside(place, a, b)) is not None:
            self._enter(place, (a, b), inside)
        elif not same_leaf(a, b):
            self._add(place, ChangeKind.CHANGED, a, b)

    def _enter(
        self, place: Place, values: tuple[Any, Any], inside: tuple[Step, Iterable[Item]]
    ) -> None:
        pair = id(values[0]), id(values[1])
        if pair in self._open or pair in self._same:
            return
        self._open.add(pair)
        self._kept.append(values)
        self._pending.append(_Leave(pair, len(self.changes)))
        self._push(place, *inside)

    def _leave(self, end: _Leave) -> None:
        # A pair that differs is walked again in its other places: each of them has its own path.
        self._open.remove(end.pair)
        if len(self.changes) == end.known:
            self._same.add(end.pair)

    def _add(self, place: Place, kind: ChangeKind, a: Any, b: Any) -> None:
        if len(self.changes) == self._limit:
            self.truncated = True
            return
        steps = place.steps()
        path = tuple(step.step for step in steps)
        text = "".join(step.text for step in steps)
        self.changes.append(Change(path=path, text=text, kind=kind, a=a, b=b))


def _inside(place: Place, a: Any, b: Any) -> tuple[Step, Iterable[Item]] | None:
    kind: type = type(a)
    shape = shape_of(kind)
    match shape:
        case Shape.MAPPING | Shape.RECORD:
            ours, theirs = entries(a, shape), entries(b, shape)
            if ours is not None and theirs is not None:
                items = _in_mapping(ours, theirs)
                step = Place.key if shape is Shape.MAPPING else Place.field
                return None if items is None else (step, items)
        case Shape.SEQUENCE:
            first, second = elements(a), elements(b)
            if first is not None and second is not None:
                return Place.index, _in_sequence(first, second, place.depth)
        case Shape.SET | Shape.LEAF:
            pass
        case _:
            assert_never(shape)
    return None


def _in_sequence(a: Sequence[Any], b: Sequence[Any], depth: int) -> Iterator[Item]:
    # To align lists, their elements are compared as a whole, and then again at the next level.
    by_position = depth > DEEPEST_ALIGNED
    for i, j in paired(range(len(a)), range(len(b))) if by_position else aligned(a, b):
        at = i if j is None else j
        yield at, ABSENT if i is None else a[i], ABSENT if j is None else b[j]


def _in_mapping(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> list[Item] | None:
    if plain_keys(a) and plain_keys(b):
        items = [(key, value, b.get(key, ABSENT)) for key, value in a.items()]
        return items + [(key, ABSENT, value) for key, value in b.items() if key not in a]
    try:
        ours = {typed(key) for key in a}
        theirs = {typed(key): value for key, value in b.items()}
        items = [(key, value, theirs.get(typed(key), ABSENT)) for key, value in a.items()]
        return items + [(key, ABSENT, value) for key, value in b.items() if typed(key) not in ours]
    except Exception:  # noqa: BLE001 - a key refuses to be compared
        return None
