"""Whatever the codec accepts comes back equal and of the same type, from pure ASCII text."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxio.codec import DEFAULT_CODEC, Codec, Secret
from fluxio.codec.encoding import HANDLERS, Walk
from fluxio.codec.limits import Limits
from fluxio.codec.registry import CLOSED_TYPES, Types
from fluxio.errors import DecodingError

ROOT = Path(__file__).resolve().parents[3]
BERLIN = ZoneInfo("Europe/Berlin")


def same_zone(left: tzinfo | None, right: tzinfo | None) -> bool:
    if type(left) is ZoneInfo and type(right) is ZoneInfo:
        return left is right
    if type(left) is timezone and type(right) is timezone:
        return left == right and left.tzname(None) == right.tzname(None)
    return left is right is None


def same(left: Any, right: Any) -> bool:
    """Equality that sees types, order, signs, folds and names; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    match left:
        case float():
            return (
                math.isnan(left) and math.isnan(right)
                if left != right
                else math.copysign(1, left) == math.copysign(1, right)
            )
        case complex():
            return same(left.real, right.real) and same(left.imag, right.imag)
        case Decimal():
            return left.as_tuple() == right.as_tuple()
        case datetime() | time():
            return (
                left.replace(tzinfo=None, fold=0) == right.replace(tzinfo=None, fold=0)
                and left.fold == right.fold
                and same_zone(left.tzinfo, right.tzinfo)
            )
        case tzinfo():
            return same_zone(left, right)
        case list() | tuple():
            return len(left) == len(right) and all(map(same, left, right))
        case dict():
            return same(list(left), list(right)) and same([*left.values()], [*right.values()])
        case set() | frozenset():
            return len(left) == len(right) and all(
                any(same(one, other) for other in right) for one in left
            )
        case Secret():
            return same(left.reveal(), right.reveal())
        case _:
            return bool(left == right)


def round_trip(value: Any) -> Any:
    text = DEFAULT_CODEC.encode({"value": value})
    assert text.isascii()
    return DEFAULT_CODEC.decode(text)["value"]


ANY_TEXT = st.text(st.characters(exclude_categories=()))
SURROGATE_PAIRS = st.sampled_from(["\ud83d\ude00", "\ude00\ud83d", "\ud800", "a\udfffé", "😀"])
ZONES = (
    st.none()
    | st.timezones()
    | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
    | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), ANY_TEXT)
)
FOLDS = st.integers(0, 1)
DATETIMES = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, FOLDS
)
TIMES = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.times(), ZONES, FOLDS
)
HASHABLE_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.builds(
        lambda sign, bits: sign * 2**bits, st.sampled_from([-1, 1]), st.integers(1000, 20000)
    )
    | st.floats()
    | ANY_TEXT
    | SURROGATE_PAIRS
    | st.binary()
    | st.decimals()
    | st.fractions()
    | st.complex_numbers(allow_nan=True)
    | st.uuids()
    | st.dates()
    | TIMES
    | DATETIMES
    | st.timedeltas()
    | ZONES
    | st.builds(range, st.integers(), st.integers(), st.integers(1))
    | st.builds(PurePosixPath, ANY_TEXT)
    | st.builds(PureWindowsPath, ANY_TEXT)
    | st.builds(Path, ANY_TEXT)
)
# Comparing or hashing a signalling NaN raises, which is what it is for.
HASHABLE = st.recursive(
    HASHABLE_LEAVES.filter(lambda value: not (type(value) is Decimal and value.is_snan())),
    lambda items: st.lists(items, max_size=4).map(tuple) | st.frozensets(items, max_size=4),
    max_leaves=6,
)
TAG_LIKE = st.sampled_from(["$", "$$", "$tuple", "$$tuple", "$:money", "$int", "é$"])
VALUES = st.recursive(
    HASHABLE_LEAVES | st.builds(bytearray, st.binary()) | st.just(Decimal("-sNaN12")),
    lambda items: (
        st.lists(items, max_size=5)
        | st.lists(items, max_size=5).map(tuple)
        | st.dictionaries(ANY_TEXT | TAG_LIKE | SURROGATE_PAIRS, items, max_size=5)
        | st.dictionaries(HASHABLE, items, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.frozensets(HASHABLE, max_size=4)
        | st.builds(Secret, items)
    ),
    max_leaves=12,
)


# Drawing such values takes longer than hypothesis likes on a busy machine.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(UNHURRIED, max_examples=300)
@given(VALUES)
def test_every_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@settings(UNHURRIED, max_examples=100_000)
@given(VALUES)
def test_a_hundred_thousand_values_come_back_equal(value: Any) -> None:
    assert same(round_trip(value), value)


@settings(UNHURRIED, max_examples=150)
@given(st.dictionaries(ANY_TEXT | TAG_LIKE, VALUES, max_size=5))
def test_encoding_what_was_decoded_gives_the_same_text(context: dict[str, Any]) -> None:
    text = DEFAULT_CODEC.encode(context)
    assert DEFAULT_CODEC.encode(DEFAULT_CODEC.decode(text)) == text
    # What the walk counts is never more than what the text takes.
    assert Codec(limits=Limits(max_bytes=len(text))).encode(context) == text


JSON_LIKE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abcäß$ \0"),
    lambda items: st.lists(items) | st.dictionaries(st.text("abcä", min_size=1), items),
    max_leaves=20,
)


@settings(UNHURRIED, max_examples=200)
@given(JSON_LIKE)
def test_values_that_json_keeps_are_not_copied_and_need_no_tag(value: Any) -> None:
    walk = Walk(Limits(), Types())
    assert walk.encode(value, 1) is value
    assert DEFAULT_CODEC.encode_value(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        -(10**5000),
        2**1024,
        2**1024 - 1,
        1e22,
        -0.0,
        5e-324,
        math.nan,
        math.inf,
        -math.inf,
        "\0",
        "\ud83d\ude00",
        "😀",
        "é",
        Decimal("1E+5"),
        Decimal("100000"),
        Decimal("1.50"),
        Decimal("-0"),
        Decimal("sNaN"),
        Decimal("-NaN7"),
        Decimal("-Infinity"),
        Decimal("1e999999"),
        Fraction(-(10**4500), 7),
        complex(-0.0, math.inf),
        range(0, 10**400, 3),
        bytearray(b"\0\xff"),
        UUID(int=0),
        date.min,
        time(1, 2, fold=1),
        time(1, 2, tzinfo=BERLIN),
        datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2024, 10, 27, 2, 30, fold=0, tzinfo=BERLIN),
        datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=-1, microseconds=5))),
        datetime(1, 1, 1, fold=1, tzinfo=UTC),
        timedelta.max,
        timedelta.min,
        timezone(timedelta(hours=5), "\ud800"),
        BERLIN,
        Path("a/\udcff"),
        PureWindowsPath("C:/a"),
        {1: "int", "1": "str", 1.5: "float", None: 0, (1, "a"): [], frozenset({2}): ()},
        {True: "bool"},
        {"$tuple": [1]},
        {"$": 1, "$$": 2, "a": 3},
        {"$dict": [[1, 2]]},
        {"\ud83d\ude00": 1, "$b": 2},
        {"b": 1, "a": 2, "$c": 3, "0": 4},
        {1: {"$x": (1,)}},
        (),
        ((),),
        set(),
        frozenset({frozenset(), frozenset({()})}),
        [(1, [2, {"x": (3,)}])],
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_difficult_values_come_back_exactly(value: Any) -> None:
    assert same(round_trip(value), value)


def test_a_mapping_of_any_kind_is_encoded_like_a_dict() -> None:
    assert DEFAULT_CODEC.encode(MappingProxyType({"a": 1})) == '{"a":1}'


def test_encoding_never_changes_the_value_it_was_given() -> None:
    context = {"items": [1, (2,)], "by_id": {1: "a"}, "$key": {3}}
    DEFAULT_CODEC.encode(context)
    assert same(context, {"items": [1, (2,)], "by_id": {1: "a"}, "$key": {3}})


def test_decoded_values_share_nothing_with_each_other() -> None:
    shared: list[int] = []
    first, second = round_trip([shared, shared])
    first.append(1)
    assert second == []


def test_large_ints_survive_the_lowest_digit_limit_python_can_have() -> None:
    program = (
        "import sys; sys.set_int_max_str_digits(640)\n"
        "from fluxio.codec import DEFAULT_CODEC as codec\n"
        "for value in (10**308, -(10**309), 10**640, 1 << 100_000):\n"
        "    assert codec.decode_value(codec.encode_value(value)) == value\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_equal_sets_have_equal_texts_whatever_the_hash_seed() -> None:
    program = (
        "from fluxio.codec import DEFAULT_CODEC as codec\n"
        "print(codec.encode_value({'a', 'b', 'c', ('d',), None, 1, frozenset('xyz')}))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(texts) == 1


def test_decimals_do_not_depend_on_the_context_of_the_thread() -> None:
    with localcontext() as context:
        context.prec = 2
        assert same(round_trip(Decimal("3.14159265358979")), Decimal("3.14159265358979"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"user": 42, "name": "Ada"}, '{"user":42,"name":"Ada"}'),
        ((1, 2), '{"$tuple":[1,2]}'),
        (Decimal("1.50"), '{"$decimal":"1.50"}'),
        ({3, 1, 2}, '{"$set":[1,2,3]}'),
        ({"$a": 1}, '{"$$a":1}'),
        ({1: "a"}, '{"$dict":[[1,"a"]]}'),
        (math.inf, '{"$float":"inf"}'),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), '{"$datetime":"2024-01-02T03:04:05+00:00"}'),
        (
            datetime(2024, 1, 2, tzinfo=BERLIN),
            '{"$datetime":["2024-01-02T00:00:00",0,"Europe/Berlin"]}',
        ),
        (b"\xff", '{"$bytes":"/w=="}'),
        (PurePosixPath("/a"), '{"$pure_posix_path":"/a"}'),
        (Secret("x"), '{"$secret":"x"}'),
    ],
    ids=str,
)
def test_the_stored_text_stays_what_earlier_releases_wrote(value: Any, text: str) -> None:
    assert DEFAULT_CODEC.encode_value(value) == text
    assert same(DEFAULT_CODEC.decode_value(text), value)


def test_the_table_of_types_that_cannot_be_registered_is_the_table_the_walk_uses() -> None:
    assert HANDLERS.keys() == CLOSED_TYPES


@pytest.mark.parametrize("concrete", [PurePath, Path])
def test_a_path_keeps_its_class(concrete: Callable[[str], PurePath]) -> None:
    assert type(round_trip(concrete("a/b"))) is type(concrete("a/b"))


def test_a_decoded_text_must_hold_a_mapping_where_one_is_expected() -> None:
    with pytest.raises(DecodingError, match="holds list instead of a mapping"):
        DEFAULT_CODEC.decode("[1]")


def test_codecs_with_equal_limits_are_equal() -> None:
    assert Codec() == DEFAULT_CODEC
