"""What the fingerprint of a value promises: exact types, no surprises from what code captures."""

from __future__ import annotations

import contextlib
import decimal
import functools
import operator
import re
import sqlite3
import threading
import typing
import unittest.mock
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Flag, IntEnum, StrEnum, auto
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from fluxio.compiler.fingerprint import code_fingerprint, value_fingerprint
from fluxio.compiler.fingerprint.rendering import MOST_OBJECTS
from fluxio.nodes import RetryPolicy


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Mode(Flag):
    A = auto()
    B = auto()


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Rule:
    name: str
    check: Any = None


class Settings:
    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: int) -> None:
        self.a = a


class Money(Decimal):
    pass


class Names(list[str]):
    pass


VALUES = [
    None,
    ...,
    NotImplemented,
    True,
    False,
    0,
    1,
    -1,
    10**5_000,
    10**5_000 + 1,
    0.0,
    -0.0,
    1.0,
    float("nan"),
    float("inf"),
    1j,
    complex(0.0, 1.0) * -1,
    "",
    "1",
    "red",
    "\ud800",
    b"1",
    bytearray(b"1"),
    (),
    (1,),
    (1, 2),
    ((1,), 2),
    (1, (2,)),
    [],
    [1],
    [1, 2],
    [2, 1],
    [[1], [1]],
    {1},
    {True},
    frozenset({1}),
    {1, 2},
    {},
    {1: 2},
    {"1": 2},
    {True: 2},
    {1: 2, 3: 4},
    {1: 4, 3: 2},
    OrderedDict(a=1),
    {"a": 1},
    MappingProxyType({"a": 1}),
    defaultdict(int, a=1),
    defaultdict(list, a=1),
    deque([1]),
    deque([1], maxlen=3),
    Names(["1"]),
    ["1"],
    Decimal("1"),
    Decimal("1.0"),
    Money("1"),
    Fraction(1, 2),
    UUID(int=1),
    PurePosixPath("a"),
    PurePosixPath("b"),
    date(2026, 1, 1),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),
    datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    time(2),
    time(2, fold=1),
    timedelta(1),
    timedelta(0, 1),
    range(3),
    range(0, 3, 2),
    slice(3),
    slice(0, 3),
    re.compile("a"),
    re.compile("b"),
    re.compile("a", re.IGNORECASE),
    Colour.RED,
    Number.ONE,
    Mode.A,
    Mode.A | Mode.B,
    Point(1, 2),
    Rule("a"),
    Rule("b"),
    Rule("a", len),
    Rule("a", max),
    Settings(),
    Settings(a=1),
    Settings(a=1.0),
    Settings(b=1),
    Settings(a=Settings(a=1)),
    Slotted(1),
    Slotted(2),
    SimpleNamespace(a=1),
    SimpleNamespace(a=2),
    ValueError("a"),
    ValueError("b"),
    KeyError("a"),
    len,
    max,
    str.upper,
    str.lower,
    "a".join,
    "b".join,
    [].append,
    dict.fromkeys,
    object.__init__,
    operator.itemgetter("a"),
    operator.itemgetter("b"),
    operator.attrgetter("a"),
    operator.methodcaller("a", 1),
    operator.methodcaller("a", 2),
    operator.methodcaller("a", b=2),
    functools.partial(max, 1),
    functools.partial(max, 2),
    functools.partial(min, 1),
    property(operator.itemgetter("a")),
    int,
    str,
    Rule,
    Settings,
    Point,
    list[int],
    list[str],
    dict[str, int],
    int | None,
    typing.Annotated[int, 1],
    typing.Annotated[int, 2],
    typing.Literal["a"],
    typing.Literal["b"],
    typing.Any,
    Callable[[int], str],
    operator,
    re,
    RetryPolicy(max_attempts=1),
    RetryPolicy(max_attempts=2),
    RetryPolicy(max_attempts=2, exceptions=(KeyError,)),
    object(),
    threading.Lock(),
]


def test_values_of_every_kind_have_fingerprints_of_their_own() -> None:
    seen: dict[str, object] = {}
    for value in VALUES:
        fingerprint = value_fingerprint(value)
        assert fingerprint not in seen, (value, seen[fingerprint])
        seen[fingerprint] = value


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({3, 1, "x", (1, 2.0)}, {(1, 2.0), "x", 1, 3}),
        ({1: "a", "1": "b", (1,): "c"}, {(1,): "c", "1": "b", 1: "a"}),
        ({frozenset({"a", "b"}), frozenset({"c"})}, {frozenset({"c"}), frozenset({"b", "a"})}),
        (float("nan"), float("nan")),
        (Settings(a=1, b=2), Settings(b=2, a=1)),
        (typing.Optional[int], int | None),  # noqa: UP045
        (Rule("a", [1]), Rule("a", [1])),
        (threading.Lock(), threading.Lock()),
        (object(), object()),
    ],
)
def test_equal_values_have_equal_fingerprints(a: object, b: object) -> None:
    assert value_fingerprint(a) == value_fingerprint(b)


def test_a_fingerprint_is_64_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{64}", value_fingerprint(None))
    assert re.fullmatch("[0-9a-f]{64}", code_fingerprint(len))


# --- what code captures --------------------------------------------------------------------------


def capturing(value: object) -> Callable[[], object]:
    return lambda: value


def test_sharing_a_list_is_told_from_having_two() -> None:
    shared = [1]
    assert value_fingerprint([shared, shared]) != value_fingerprint([[1], [1]])
    other = [1]
    assert value_fingerprint([shared, other, shared]) != value_fingerprint([shared, other, other])
    pair, twin = tuple("ab"), tuple("ab")
    assert pair is not twin
    assert value_fingerprint([pair, pair]) == value_fingerprint([pair, twin])


def test_values_that_contain_themselves_come_to_an_end() -> None:
    def circle(value: object) -> list[object]:
        items: list[object] = [value]
        items.append(items)
        return items

    assert value_fingerprint(circle(1)) == value_fingerprint(circle(1))
    assert value_fingerprint(circle(1)) != value_fingerprint(circle(2))
    settings = Settings(a=1)
    settings.parent = settings  # type: ignore[attr-defined]
    assert value_fingerprint(settings) != value_fingerprint(Settings(a=1, parent=Settings(a=1)))


def test_a_recursive_closure_comes_to_an_end() -> None:
    def make(step: int) -> Callable[[int], int]:
        def count(number: int) -> int:
            return count(number - step) if number else 0

        return count

    assert code_fingerprint(make(1)) == code_fingerprint(make(1))
    assert code_fingerprint(make(1)) != code_fingerprint(make(2))


def test_a_closure_without_a_value_yet_is_no_obstacle() -> None:
    def early() -> object:
        return late

    def other() -> object:
        return [late]

    empty = code_fingerprint(early)
    assert empty != code_fingerprint(other)
    late = 1
    assert code_fingerprint(early) != empty


def test_a_method_that_calls_super_comes_to_an_end() -> None:
    class Loud(Settings):
        def __call__(self) -> object:
            return super().__repr__()

    assert code_fingerprint(Loud(a=1)) == code_fingerprint(Loud(a=1))
    assert code_fingerprint(Loud(a=1)) != code_fingerprint(Loud(a=2))
    assert code_fingerprint(Loud(a=1).__call__) != code_fingerprint(Loud(a=2).__call__)


class Hostile:
    """Refuses every question, as a lazy proxy without its database does."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Unreadable(Mapping[str, int]):
    """A mapping without its backend."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("iter")

    def __len__(self) -> int:
        return 1


class Impostor:
    """Says that it is a str, as lazy translations do."""

    @property
    def __class__(self) -> Any:
        return str

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("asked")


def opaque_things() -> list[object]:
    connection = sqlite3.connect(":memory:")
    connection.close()
    return [
        threading.Lock(),
        threading.local(),
        connection,
        unittest.mock.Mock(),
        unittest.mock.MagicMock(spec=Settings),
        unittest.mock.AsyncMock(),
        unittest.mock.call.a.b(),
        weakref.ref(Settings()),
        iter([1]),
        (number for number in [1]),
        Hostile(),
        Impostor(),
        decimal.getcontext(),
        contextlib.ExitStack(),
        memoryview(b"a"),
        Settings(lock=threading.Lock(), url="a"),
        MappingProxyType(Unreadable()),
        capturing(threading.Lock()),
    ]


@pytest.mark.parametrize("index", range(len(opaque_things())))
def test_opaque_things_are_described_by_their_type_alone(index: int) -> None:
    first, second = opaque_things()[index], opaque_things()[index]
    assert code_fingerprint(capturing(first)) == code_fingerprint(capturing(second))
    assert code_fingerprint(capturing(first)) != code_fingerprint(capturing(None))


def test_an_object_with_something_opaque_inside_is_opaque_as_a_whole() -> None:
    lock = threading.Lock()
    one, two = Settings(url="a", deep=Settings(lock=lock)), Settings(url="b", lock=lock)
    assert value_fingerprint(one) == value_fingerprint(two)
    assert value_fingerprint([one, one]) == value_fingerprint([two, two])


def test_what_is_inside_of_something_opaque_counts_where_it_stands_alone() -> None:
    def pair(number: int) -> list[object]:
        shared = [number]
        return [Settings(items=shared, lock=threading.Lock()), shared]

    assert value_fingerprint(pair(1)) != value_fingerprint(pair(2))


def test_records_and_containers_keep_what_can_be_described() -> None:
    lock = threading.Lock()
    for make in (lambda n: Rule(n, lock), lambda n: [n, lock], lambda n: {"a": n, "b": lock}):
        assert value_fingerprint(make("a")) != value_fingerprint(make("b"))


def test_a_lazily_computed_attribute_does_not_count() -> None:
    class Lazy(Settings):
        @functools.cached_property
        def total(self) -> int:
            return 1

        def __call__(self) -> int:
            return self.total

    lazy = Lazy(a=1)
    before = code_fingerprint(lazy)
    assert lazy() == 1
    assert "total" in vars(lazy)
    assert code_fingerprint(lazy) == before


def nested(depth: int, wrap: Callable[[object], object]) -> object:
    value: object = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: (value,),
        lambda value: {"a": value},
        lambda value: Settings(a=value),
        lambda value: Rule("a", value),
        lambda value: functools.partial(max, value),
        lambda value: frozenset({value}) if not isinstance(value, list) else value,
        capturing,
    ],
)
def test_depth_is_no_obstacle(wrap: Callable[[object], object]) -> None:
    assert value_fingerprint(nested(5_000, wrap)) == value_fingerprint(nested(5_000, wrap))
    assert value_fingerprint(nested(20, wrap)) != value_fingerprint(nested(21, wrap))


def test_sharing_does_not_make_the_walk_explode() -> None:
    pair: object = ()
    for _ in range(100):
        pair = (pair, pair)
    assert value_fingerprint(pair)
    together: object = frozenset()
    for _ in range(100):
        together = frozenset({together, frozenset({together, 1})})
    assert value_fingerprint(together)

    def friends() -> set[Settings]:
        everybody = [Settings(number=number) for number in range(40)]
        for one in everybody:
            one.friends = set(everybody)  # type: ignore[attr-defined]
        return set(everybody)

    assert value_fingerprint(friends()) == value_fingerprint(friends())


def test_a_set_that_is_too_large_to_describe_is_not_described_in_part() -> None:
    def crowd() -> set[Settings]:
        return {Settings(number=number) for number in range(MOST_OBJECTS + 500)}

    assert value_fingerprint(crowd()) == value_fingerprint(crowd())


# --- memory --------------------------------------------------------------------------------------


def test_what_a_function_changes_in_its_closure_does_not_count() -> None:
    calls, seen, table, state = 0, [], {}, SimpleNamespace(count=0, rate=1)
    rows = [SimpleNamespace(count=0)]

    def stage(extra: list[int] = []) -> None:  # noqa: B006
        nonlocal calls
        calls += 1
        seen.append(calls)
        table["calls"] = calls
        state.count += 1
        rows[0].count += 1
        extra.extend(seen)

    before = code_fingerprint(stage)
    stage()
    assert (calls, seen, table, state.count, rows[0].count) == (1, [1], {"calls": 1}, 1, 1)
    assert code_fingerprint(stage) == before
    state.rate = 2
    assert code_fingerprint(stage) != before


class Counter:
    def __init__(self, start: int) -> None:
        self.start = start
        self.calls = 0
        self.seen: list[int] = []
        self.__private = 0

    def __call__(self) -> None:
        self.calls += 1
        self._remember()

    def _remember(self) -> None:
        self.seen.append(self.calls)
        self.last = self.calls
        self.__private = self.calls

    def from_now(self, start: int) -> None:
        self.start = start


def test_what_a_callable_changes_in_itself_does_not_count() -> None:
    counter = Counter(1)
    before = code_fingerprint(counter)
    counter()
    assert (counter.calls, counter.seen, counter.last) == (1, [1], 1)
    assert code_fingerprint(counter) == before
    counter.from_now(2)
    assert code_fingerprint(counter) != before


def test_an_object_is_no_memory_because_a_method_of_it_is_called_add() -> None:
    def make(rate: int) -> Callable[[int], Decimal]:
        money = Decimal(rate)
        return lambda more: money.add(more)  # type: ignore[attr-defined]

    assert code_fingerprint(make(1)) != code_fingerprint(make(2))


class Ledger:
    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[str] = []

    def record(self, entry: str) -> None:
        self.entries.append(entry)


def test_what_a_captured_object_remembers_does_not_count() -> None:
    def make(name: str) -> tuple[Ledger, Callable[[], None]]:
        ledger = Ledger(name)
        return ledger, lambda: ledger.record("called")

    ledger, stage = make("a")
    before = code_fingerprint(stage)
    stage()
    assert ledger.entries == ["called"]
    assert code_fingerprint(stage) == before
    assert code_fingerprint(make("b")[1]) != before
