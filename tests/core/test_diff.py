"""What `fluxio.diff` promises: typed, nested, and never surprised by what users keep in a state."""

from __future__ import annotations

import array
import copy
import dataclasses
import json
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxio.codec import Secret
from fluxio.diff import ABSENT, Change, ChangeKind, compare, same
from fluxio.diff.alignment import MOST_EDITS, aligned

NAN = float("nan")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    ONE = 1


@dataclasses.dataclass
class Line:
    sku: str
    price: Any = dataclasses.field(compare=False)


@dataclasses.dataclass(eq=False, slots=True)
class Slotted:
    price: Any


class Spot(NamedTuple):
    x: int
    y: int


class Shade(Enum):
    DARK = 1
    LIGHT = 2


class Plain:
    def __init__(self, price: Any) -> None:
        self.price = price


class Lean:
    __slots__ = ("price",)

    def __init__(self, price: Any) -> None:
        self.price = price


class Vector:
    """Answers `==` element by element, as numpy's arrays do."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> Any:
        assert isinstance(other, Vector)
        return [x == y for x, y in zip(self.numbers, other.numbers, strict=True)]

    __hash__ = None  # type: ignore[assignment]


class Hostile:
    """Refuses to be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


class Broken(Mapping[str, int]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


def type_name(value: object) -> str:
    return type(value).__name__


def paths(a: Any, b: Any, **options: Any) -> list[tuple[str, str]]:
    changes = compare({"x": a}, {"x": b}).paths(**options)
    return [(change.text.removeprefix('["x"]'), change.kind.value) for change in changes]


# --- what counts as a difference -----------------------------------------------------------------


def test_a_missing_side_is_absent_rather_than_none() -> None:
    diff = compare({"kept": 1, "gone": None, "changed": 1}, {"kept": 1, "changed": 2, "new": None})
    assert dict(diff) == {"gone": {"a": None}, "changed": {"a": 1, "b": 2}, "new": {"b": None}}
    assert list(diff) == ["gone", "changed", "new"]
    assert len(diff) == 3
    assert diff


def test_equal_states_have_a_false_and_empty_diff() -> None:
    diff = compare({"a": [1, {"b": (2.5, None)}]}, {"a": [1, {"b": (2.5, None)}]})
    assert not diff
    assert len(diff) == 0
    assert not diff.paths()


DIFFERENT = [
    (1, True),
    (1, 1.0),
    (1, Decimal(1)),
    (0, False),
    (0.0, -0.0),
    (complex(0.0, 0.0), complex(0.0, -0.0)),
    (Decimal("1.0"), Decimal("1.00")),
    ("red", Colour.RED),
    (1, Level.ONE),
    ("1", b"1"),
    (b"1", bytearray(b"1")),
    ([1], (1,)),
    ([1, 2], [2, 1]),
    ({1}, {True}),
    ({1}, frozenset({1})),
    ({(1, 2)}, {(1, 2.0)}),
    ({frozenset({1})}, {frozenset({True})}),
    ({1: "x"}, {True: "x"}),
    ({1: "x"}, {1.0: "x"}),
    ({"red": 1}, {Colour.RED: 1}),
    ({(1, "a"): 1}, {(True, "a"): 1}),
    ({"a": 1}, OrderedDict(a=1)),
    ({"a": None}, {}),
    ({"a": None}, {"b": None}),
    (None, {}),
    (
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
    ),
    (
        datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Paris")),
        datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    (time(2, fold=0), time(2, fold=1)),
    (time(12), time(12, tzinfo=UTC)),
    ({Decimal("1.0")}, {Decimal("1.00")}),
    ({Decimal("1.0"): 1}, {Decimal("1.00"): 1}),
    ({(Decimal("1.0"),)}, {(Decimal("1.00"),)}),
    ({Spot(1, 2)}, {Spot(1, True)}),
    ({complex(0.0, 0.0)}, {complex(0.0, -0.0)}),
    ({NOON}, {NOON.astimezone(timezone(timedelta(hours=1)))}),
    ({NOON: 1}, {NOON.astimezone(timezone(timedelta(hours=1))): 1}),
    ({time(2, fold=0)}, {time(2, fold=1)}),
    (Secret([1]), Secret([True])),
    (Secret(Decimal("1.0")), Secret(Decimal("1.00"))),
    (Secret("1"), Secret(b"1")),
    ({Secret(Decimal("1.0"))}, {Secret(Decimal("1.00"))}),
    (Line("a", 1), Line("a", 2)),
    (Line("a", 1), Slotted(1)),
    (Slotted(1), Slotted(True)),
    (Plain(1), Plain(1.0)),
    (Lean(1), Lean(1.0)),
    (ValueError("a"), ValueError("b")),
    (deque([1]), deque([True])),
    (threading.Lock(), threading.Lock()),
    (object(), object()),
    (len, max),
    (NAN, 1.0),
    (array.array("i", [1]), array.array("i", [2])),
    (Vector(1), Vector(1)),
    (Hostile(), Hostile()),
    (Broken(), Broken()),
]

SAME = [
    (NAN, float("nan")),
    ([NAN], [float("nan")]),
    ({NAN}, {float("nan")}),
    (complex(NAN, 0), complex(float("nan"), 0)),
    (Decimal("NaN"), Decimal("NaN")),
    (Decimal("sNaN"), Decimal("sNaN")),
    ({Decimal("NaN")}, {Decimal("NaN")}),
    ({Decimal("1.0"), NOON, time(2)}, {time(2), NOON, Decimal("1.0")}),
    ({Spot(1, 2): NOON}, {Spot(1, 2): NOON}),
    (Secret(NAN), Secret(float("nan"))),
    ({Secret(NAN)}, {Secret(float("nan"))}),
    (Secret({"a": [1.5]}), Secret({"a": [1.5]})),
    (Secret("a"), Secret("a")),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "x", "1": "y"}, {"1": "y", 1: "x"}),
    ({(1, 2.0): "x"}, {(1, 2.0): "x"}),
    ({3, 1, 2}, {2, 3, 1}),
    (Colour.RED, Colour("red")),
    ({Colour.RED: 1}, {Colour.RED: 1}),
    (UUID(int=1), UUID(int=1)),
    (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    (Line("a", [1]), Line("a", [1])),
    (Slotted([1]), Slotted([1])),
    (Plain([1]), Plain([1])),
    (Lean([1]), Lean([1])),
    (ValueError("a"), ValueError("a")),
    (deque([1]), deque([1])),
    (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    (array.array("i", [1, 2]), array.array("i", [1, 2])),
    (10**5_000, 10**5_000),
    ("\ud800", "\ud800"),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT, ids=type_name)
def test_values_that_only_look_alike_differ(a: Any, b: Any) -> None:
    assert not same(a, b)
    assert not same(b, a)
    assert not same([a], [b])
    assert compare({"x": {"y": a}}, {"x": {"y": b}})
    assert compare({"x": {"y": a}}, {"x": {"y": b}}).paths()


@pytest.mark.parametrize(("a", "b"), SAME, ids=type_name)
def test_values_that_are_the_same_do_not_differ(a: Any, b: Any) -> None:
    assert same(a, b)
    assert not compare({"x": {"y": a}}, {"x": {"y": b}})


def test_numpy_arrays_are_compared_by_their_bytes() -> None:
    numpy = pytest.importorskip("numpy")
    one, two = numpy.array([1, 2]), numpy.array([1, 3])
    assert same(one, one.copy())
    assert not same(one, two)
    assert not same(one, one.astype("float64"))
    assert not same(one, one.reshape(2, 1))


# --- nested changes ------------------------------------------------------------------------------


def test_a_path_is_written_as_the_codec_writes_it() -> None:
    a = {"order": {"lines": [Line("a", 1), Line("b", 2)]}}
    b = {"order": {"lines": [Line("a", 1), Line("b", 3)]}}
    (change,) = compare(a, b).paths()
    assert change.text == '["order"]["lines"][1].price'
    assert change.path == ("order", "lines", 1, "price")
    assert (change.kind, change.a, change.b) == (ChangeKind.CHANGED, 2, 3)


def test_each_kind_of_change_is_told_apart() -> None:
    a = {"gone": 1, "type": 1, "value": 1, "same": 1}
    b = {"type": True, "value": 2, "same": 1, "new": None}
    changes = compare({"x": a}, {"x": b}).paths()
    assert [(change.path[-1], change.kind, change.a, change.b) for change in changes] == [
        ("gone", ChangeKind.REMOVED, 1, ABSENT),
        ("type", ChangeKind.TYPE_CHANGED, 1, True),
        ("value", ChangeKind.CHANGED, 1, 2),
        ("new", ChangeKind.ADDED, ABSENT, None),
    ]


def test_top_level_keys_on_one_side_are_changes_too() -> None:
    changes = compare({"gone": 1}, {"new": 2}).paths()
    assert [(change.text, change.kind) for change in changes] == [
        ('["gone"]', "removed"),
        ('["new"]', "added"),
    ]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [0, 1, 2, 3], [("[0]", "added")]),
        ([1, 2, 3], [1, 2, 3, 4], [("[3]", "added")]),
        ([1, 2, 3], [2, 3], [("[0]", "removed")]),
        ([1, 2, 3], [1, 9, 3], [("[1]", "changed")]),
        ([1, 2, 3], [1, 2.0, 3], [("[1]", "type_changed")]),
        ([1, 2, 3, 4, 5], [2, 3, 9, 5], [("[0]", "removed"), ("[2]", "changed")]),
        ([1, 2, 3, 4, 5, 6], [1, 8, 3, 4, 9, 5, 6], [("[1]", "changed"), ("[4]", "added")]),
        ([], [1, 2], [("[0]", "added"), ("[1]", "added")]),
        ([{"k": 1}, {"k": 2}], [{"k": 2}], [("[0]", "removed")]),
        (
            [{"k": 1}, 7, {"k": 2}],
            [{"k": 1}, 0, 7, {"k": 3}],
            [("[1]", "added"), ('[3]["k"]', "changed")],
        ),
        ((1, 2), (1, 3), [("[1]", "changed")]),
        (deque([1, 2]), deque([2]), [("[0]", "removed")]),
        ({1, 2}, {2, 3}, [("", "changed")]),
        (Shade.DARK, Shade.LIGHT, [("", "changed")]),
        ({1: "a"}, {True: "a"}, [("[1]", "removed"), ("[True]", "added")]),
        ({1: "a"}, {1: "b"}, [("[1]", "changed")]),
        (Plain({"k": 1}), Plain({"k": 2}), [('.price["k"]', "changed")]),
        (Plain(1), Slotted(1), [("", "type_changed")]),
        ([1], (1,), [("", "type_changed")]),
        (Broken(), Broken(), [("", "changed")]),
    ],
    ids=type_name,
)
def test_nested_changes_are_as_few_as_they_should_be(
    a: Any, b: Any, expected: list[tuple[str, str]]
) -> None:
    assert paths(a, b) == expected


def test_a_value_in_two_places_is_reported_in_both() -> None:
    before, after = [1], [2]
    assert paths({"p": before, "q": before}, {"p": after, "q": after}) == [
        ('["p"][0]', "changed"),
        ('["q"][0]', "changed"),
    ]


def test_too_many_changes_are_cut_off_and_said_to_be() -> None:
    a, b = list(range(100)), list(range(100, 200))
    diff = compare({"x": a}, {"x": b})
    assert len(diff.paths(limit=10)) == 10
    assert diff.paths(limit=10).truncated
    assert len(diff.paths(limit=100)) == 100
    assert not diff.paths(limit=100).truncated


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="ask for at least 1"):
        compare({}, {}).paths(limit=0)


@pytest.mark.parametrize(
    ("last", "changes"), [(20, 1 + 11), (2 * MOST_EDITS, 1 + 2 * MOST_EDITS + 1)]
)
def test_lists_with_too_many_edits_are_compared_by_position(last: int, changes: int) -> None:
    numbers = list(range(last + 1))
    odd_ones_kept = ["new", *(number if number % 2 else -1 - number for number in numbers)]
    assert len(paths(numbers, odd_ones_kept)) == changes


def test_neither_text_nor_name_of_a_diff_shows_values() -> None:
    diff = compare({"card": {"number": "4111"}}, {"card": {"number": "4222"}})
    assert repr(diff) == "<Diff ['card']>"
    assert "4111" not in repr(diff.paths())
    assert '["card"]["number"]' in repr(diff.paths())


# --- size and shape ------------------------------------------------------------------------------


def nested(depth: int, innermost: object) -> tuple[Any, Any, Any]:
    lists: Any = innermost
    dicts: Any = innermost
    objects: Any = innermost
    for _ in range(depth):
        lists, dicts, objects = [0, lists, 1], {"k": dicts, "l": [1]}, Plain(objects)
    return lists, dicts, objects


@pytest.mark.parametrize("shape", [0, 1, 2], ids=["lists", "dicts", "objects"])
def test_depth_is_no_limit(shape: int) -> None:
    a, twin, b = (nested(10_000, leaf)[shape] for leaf in (1, 1, 2))
    assert not compare({"x": a}, {"x": twin})
    (change,) = compare({"x": a}, {"x": b}).paths()
    assert len(change.path) == 10_001
    assert (change.a, change.b) == (1, 2)


def test_deeply_nested_keys_are_no_obstacle() -> None:
    key: Any = ()
    twin: Any = ()
    for _ in range(10_000):
        key, twin = (key,), (twin,)
    assert same({key: 1}, {key: 1})
    diff = compare({"x": {key: 1}}, {"x": {twin: 2}})
    assert len(diff.paths()) >= 1


def circular(value: object) -> dict[str, Any]:
    state: dict[str, Any] = {"items": [1, {}]}
    state["items"][1]["again"] = state
    state["value"] = value
    return state


def test_values_that_contain_themselves_come_to_an_end() -> None:
    assert not compare(circular(1), circular(1))
    diff = compare(circular(1), circular(2))
    assert list(diff) == ["items", "value"]
    assert diff.paths()[-1].text == '["value"]'


def test_shared_values_do_not_make_the_walk_explode() -> None:
    a: Any = [1]
    b: Any = [1]
    for _ in range(60):
        a, b = [a, a], [b, b]
    assert same(a, b)
    for _ in range(60):
        a, b = {"l": a, "r": a}, {"l": b, "r": b}
    assert paths({"y": a, "z": 1}, {"y": b, "z": 2}) == [('["z"]', "changed")]


# --- properties ----------------------------------------------------------------------------------

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, NAN, math.inf]),
    st.sampled_from([Decimal("1"), Decimal("1.0"), Decimal("NaN")]),
    st.sampled_from(["", "a", "b", b"a", Colour.RED, "red"]),
)
keys = st.one_of(
    st.sampled_from(["a", "b", "c", Colour.RED, "red"]), st.integers(0, 2), st.booleans()
)
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.frozensets(st.one_of(st.integers(0, 2), st.booleans(), st.text("ab")), max_size=3),
        st.builds(Line, st.sampled_from("ab"), inner),
        st.builds(Plain, inner),
    ),
    max_leaves=12,
)
states = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def written(value: Any) -> str:
    """An independent account of what a value is: equal texts for values that are the same."""
    name = type(value).__name__
    match value:
        case dict():
            return f"{name}{sorted((written(key), written(value[key])) for key in value)}"
        case list() | tuple():
            return f"{name}{[written(element) for element in value]}"
        case frozenset():
            return f"{name}{sorted(written(element) for element in value)}"
        case Line() | Plain():
            return f"{name}{written(vars(value))}"
        case _:
            return f"{name}{value!r}"


def found_at(state: Any, change: Change) -> Any:
    for step in change.path:
        if isinstance(state, Line | Plain):
            state = getattr(state, step)
        elif isinstance(state, dict):
            (state,) = [
                value for key, value in state.items() if key == step and type(key) is type(step)
            ]
        else:
            state = state[step]
    return state


@given(states)
def test_a_copy_has_an_empty_diff(state: dict[str, Any]) -> None:
    twin = copy.deepcopy(state)
    assert not compare(state, twin)
    assert not compare(state, twin).paths()


@given(values, values)
def test_two_values_are_the_same_exactly_when_they_are_written_alike(a: Any, b: Any) -> None:
    assert same(a, b) == (written(a) == written(b))


@given(states, states)
def test_both_directions_name_the_same_keys(a: dict[str, Any], b: dict[str, Any]) -> None:
    there, back = compare(a, b), compare(b, a)
    assert set(there) == set(back)
    for key, sides in there.items():
        assert {side: written(value) for side, value in sides.items()} == {
            {"a": "b", "b": "a"}[side]: written(value) for side, value in back[key].items()
        }


@given(states, states)
def test_setting_the_keys_that_differ_makes_the_states_equal(
    a: dict[str, Any], b: dict[str, Any]
) -> None:
    patched = dict(a)
    for key, sides in compare(a, b).items():
        patched.pop(key, None)
        if "b" in sides:
            patched[key] = sides["b"]
    assert written(patched) == written(b)


@given(states, states)
def test_every_reported_path_really_differs(a: dict[str, Any], b: dict[str, Any]) -> None:
    diff = compare(a, b)
    changes = diff.paths()
    assert {change.path[0] for change in changes} == set(diff)
    for change in changes:
        if change.kind is not ChangeKind.REMOVED:
            assert written(found_at(b, change)) == written(change.b)
        if change.kind in (ChangeKind.CHANGED, ChangeKind.TYPE_CHANGED):
            assert written(change.a) != written(change.b)
            assert (type(change.a) is type(change.b)) == (change.kind is ChangeKind.CHANGED)
    texts = [change.text for change in changes if change.kind is not ChangeKind.REMOVED]
    assert len(texts) == len(set(texts))


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_what_is_not_reported_of_two_lists_is_common_to_both(a: list[int], b: list[int]) -> None:
    pairs = list(aligned(a, b))
    left, right = {i for i, _ in pairs}, {j for _, j in pairs}
    assert [x for i, x in enumerate(a) if i not in left] == [
        y for j, y in enumerate(b) if j not in right
    ]
    assert all(a[i] != b[j] for i, j in pairs if i is not None and j is not None)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_lists_are_aligned_with_as_few_edits_as_possible(a: list[int], b: list[int]) -> None:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    kept = len(a) - sum(1 for i, _ in aligned(a, b) if i is not None)
    assert kept == table[-1][-1]


@given(states)
def test_states_read_from_json_can_be_compared(state: dict[str, Any]) -> None:
    text = json.dumps(json.loads(json.dumps(state, default=repr, skipkeys=True)))
    assert not compare(json.loads(text), json.loads(text))
