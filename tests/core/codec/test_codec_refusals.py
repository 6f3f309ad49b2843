"""What cannot be stored without loss fails at once, and the error leads to the one value."""

import collections
import enum
import io
import pickle
import struct
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from fluxio.codec import DEFAULT_CODEC, Codec, Limits, Secret, isolated_types, register_type
from fluxio.errors import ConfigurationError, DecodingError, EncodingError


class Unknown:
    """A class nobody registered; its text must never be asked for."""

    def __repr__(self) -> str:
        raise AssertionError("a value was shown")

    __str__ = __repr__


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Word(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int


@dataclass
class Line:
    price: Any
    parts: list[Any] | None = field(default_factory=list)


class Elsewhere(tzinfo):
    """A time zone that has no name to find it by."""


@pytest.fixture(autouse=True)
def _own_types() -> Any:
    with isolated_types():
        register_type(Line, name="line")
        yield


def refusal(value: Any, root: str = "ctx") -> EncodingError:
    with pytest.raises(EncodingError) as caught:
        DEFAULT_CODEC.encode_value(value, root)
    assert caught.value.path in str(caught.value)
    return caught.value


BAD = Unknown()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (BAD, "ctx"),
        ({"a": BAD}, 'ctx["a"]'),
        ({"order": {"lines": [1, 2, 3, Line(BAD)]}}, 'ctx["order"]["lines"][3].price'),
        ([0, BAD], "ctx[1]"),
        ((0, (0, BAD)), "ctx[1][1]"),
        ({"a": {1: BAD}}, 'ctx["a"][1]'),
        ({"a": {None: BAD}}, 'ctx["a"][None]'),
        ({"a": {1.5: [BAD]}}, 'ctx["a"][1.5][0]'),
        ({"a": {(1, 2): BAD}}, 'ctx["a"][<tuple>]'),
        ({"a": {2**300: BAD}}, 'ctx["a"][<int of 301 bits>]'),
        ({"a": {1: 2, BAD: 1}}, 'ctx["a"].keys()[1]'),
        ({"a": {1: 2, (0, BAD): 1}}, 'ctx["a"].keys()[1][1]'),
        ({"$x": BAD}, 'ctx["$x"]'),
        ({"a": frozenset({BAD})}, 'ctx["a"]{member}'),
        ({"a": {BAD}}, 'ctx["a"]{member}'),
        ({"token": Secret([BAD])}, 'ctx["token"].reveal()[0]'),
        ({"l": Line(1, [Line(1, [BAD])])}, 'ctx["l"].parts[0].parts[0]'),
        ({'a"\n\\é': BAD}, 'ctx["a\\"\\n\\\\\\u00e9"]'),
        ({"k" * 61: BAD}, 'ctx["' + "k" * 60 + '..."]'),
        ({"a": {Colour.RED: 1}}, 'ctx["a"].keys()[0]'),
        ({Word("a"): 1}, "ctx.keys()[0]"),
    ],
)
def test_the_key_path_leads_to_the_value(value: Any, path: str) -> None:
    assert refusal(value).path == path


def test_the_root_of_a_key_path_is_what_the_caller_calls_it() -> None:
    assert refusal({"a": BAD}, "patch").path == 'patch["a"]'


def test_a_very_long_key_path_is_shortened_in_the_middle() -> None:
    value: Any = BAD
    for _ in range(90):
        value = {"some_long_key": value}
    path = refusal(value).path
    assert len(path) < 301
    assert path.startswith('ctx["some_long_key"]["some_long_key"]')
    assert " ... " in path
    assert refusal({"a": BAD}, "r" * 295).path == "r" * 295 + '["a"]'
    assert len(refusal({"a": BAD}, "r" * 296).path) < 301


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Level.HIGH, "int"),
        (Word("a"), "str"),
        (Point(1), "tuple"),
        (collections.OrderedDict(a=1), "dict"),
        (collections.defaultdict(int), "dict"),
        (type("Flags", (frozenset,), {})(), "frozenset"),
        (type("Moment", (datetime,), {})(2024, 1, 1), "datetime"),
    ],
)
def test_a_subclass_is_never_stored_as_its_base(value: Any, base: str) -> None:
    assert f"storing it as {base} would lose its type" in str(refusal({"a": value}))


@pytest.mark.parametrize(
    ("value", "call"),
    [
        (BAD, 'register_type(Unknown, name="...", encode=..., decode=...)'),
        (Colour.RED, 'register_type(Colour, name="...")'),
        (Point(1), 'register_type(Point, name="...")'),
        (
            collections.OrderedDict(),
            'register_type(OrderedDict, name="...", encode=..., decode=...)',
        ),
    ],
    ids=["class", "enum", "named tuple", "dict subclass"],
)
def test_the_error_of_an_unregistered_type_says_how_to_register_it(value: Any, call: str) -> None:
    assert call in str(refusal({"a": value}))


@pytest.mark.parametrize(
    "value", [Unknown, len, lambda: 1, iter([]), {}.keys(), object(), ..., memoryview(b"a"), sys]
)
def test_values_without_a_stored_form_are_refused(value: Any) -> None:
    assert refusal({"a": value}).path == 'ctx["a"]'


@pytest.mark.security(16)
def test_no_refusal_shows_the_value() -> None:
    error = refusal({"a": [Line(type("Password", (str,), {})("hunter2"))]})
    assert "hunter2" not in str(error) + repr(error.__cause__) + repr(error.__dict__)


def test_a_time_zone_without_a_name_is_refused_with_the_remedy() -> None:
    error = refusal({"at": datetime(2024, 1, 1, tzinfo=Elsewhere())})
    assert error.path == 'ctx["at"]'
    assert "zoneinfo.ZoneInfo" in str(error)


def test_a_time_zone_this_machine_does_not_know_by_name_is_refused() -> None:
    # The smallest file there is: version 1, one type, UTC (RFC 8536).
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    data = b"TZif" + bytes(16) + counts + bytes(6) + b"UTC\0"
    zone = ZoneInfo.from_file(io.BytesIO(data), key="Atlantis/Capital")
    assert "Atlantis/Capital" in str(refusal(zone))
    nameless = ZoneInfo.from_file(io.BytesIO(data))
    assert "cannot be found again by name" in str(refusal(nameless))


def _list_in_itself() -> Any:
    value: list[Any] = [1]
    value.append({"again": value})
    return value


def _dict_in_itself() -> Any:
    value: dict[Any, Any] = {}
    value["self"] = value
    return value


def _object_in_itself() -> Any:
    parts: list[Any] = []
    parts.append(Line(1, parts))
    return parts[0]


def _odd_dict_in_itself() -> Any:
    value: dict[Any, Any] = {}
    value[1] = (value,)
    return value


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (_list_in_itself, 'ctx["x"][1]["again"]'),
        (_dict_in_itself, 'ctx["x"]["self"]'),
        (_object_in_itself, 'ctx["x"].parts[0]'),
        (_odd_dict_in_itself, 'ctx["x"][1][0]'),
    ],
)
def test_a_value_that_holds_itself_is_found_after_one_round(
    make: Callable[[], Any], path: str
) -> None:
    error = refusal({"x": make()})
    assert "holds itself" in str(error)
    assert error.path == path


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: list[Callable[[Any], Any]] = [
    lambda value: [value],
    lambda value: (value,),
    lambda value: {"a": value},
    lambda value: {1: value},
    lambda value: {"$": value},
    lambda value: frozenset({value}),
    Secret,
    lambda value: Line(value, None),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_deepest_allowed_value_comes_back_and_one_more_is_refused(
    wrap: Callable[[Any], Any],
) -> None:
    text = DEFAULT_CODEC.encode_value(nested(100, wrap))
    assert DEFAULT_CODEC.encode_value(DEFAULT_CODEC.decode_value(text)) == text
    error = refusal(nested(101, wrap))
    assert "more than 100 levels" in str(error)
    assert "max_depth" in str(error)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_depth_bomb_never_becomes_a_recursion_error(wrap: Callable[[Any], Any]) -> None:
    assert refusal({"x": nested(100_000, wrap)}).path.startswith('ctx["x"]')


@pytest.mark.parametrize("wrap", [WRAPS[0], WRAPS[3]], ids=["lists", "pairs"])
def test_a_stack_that_is_nearly_full_gives_a_clear_error(wrap: Callable[[Any], Any]) -> None:
    codec = Codec(limits=Limits(max_depth=150))
    value = nested(150, wrap)
    text = codec.encode_value(value)
    outcomes: set[str] = set()

    def descend(left: int) -> None:
        if left:
            descend(left - 1)
            return
        try:
            codec.encode_value(value, "ctx")
            codec.decode_value(text)
            outcomes.add("fits")
        except (EncodingError, DecodingError) as error:
            outcomes.add("too deep" if "deep" in str(error) else str(error))

    def at_every_height() -> None:
        for height in range(sys.getrecursionlimit() - 60):
            descend(height)

    thread = threading.Thread(target=at_every_height)
    thread.start()
    thread.join()
    assert outcomes == {"fits", "too deep"}


def test_a_text_over_the_limit_is_refused_at_its_largest_key() -> None:
    codec = Codec(limits=Limits(max_bytes=1_000))
    with pytest.raises(EncodingError, match="over 1000 bytes") as caught:
        codec.encode({"small": "a" * 100, "large": "ä" * 180, "tiny": 1})
    assert caught.value.path == 'ctx["large"]'
    assert "max_bytes" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [[1] * 9, ("a",), {1, 2}, "é", b"x", 12345, 1.5, True, None, 1 + 2j],
    ids=lambda value: type(value).__name__,
)
def test_the_limit_is_exact_for_a_value_that_is_no_mapping(value: Any) -> None:
    size = len(DEFAULT_CODEC.encode_value(value))
    Codec(limits=Limits(max_bytes=size)).encode_value(value)
    with pytest.raises(EncodingError, match=f"over {size - 1} bytes") as caught:
        Codec(limits=Limits(max_bytes=size - 1)).encode_value(value)
    assert caught.value.path == "value"


LONG = "k" * 900


@pytest.mark.parametrize(
    "value",
    [
        {"a": "b" * 92, "$c": [1]},
        {LONG: 1},
        {LONG: 1, "$": LONG},
        {LONG: 1, "é": (LONG,)},
        {LONG: 1, 1: LONG},
        {LONG: {LONG}, (LONG, 1): b"k" * 900},
        {"a": [LONG, 10**5000, Line(LONG)]},
    ],
    ids=["mixed", "key", "escaped", "accents", "pairs", "tuple key", "nested"],
)
def test_the_limit_is_exact(value: Any) -> None:
    size = len(DEFAULT_CODEC.encode(value))
    Codec(limits=Limits(max_bytes=size)).encode(value)
    with pytest.raises(EncodingError):
        Codec(limits=Limits(max_bytes=size - 1)).encode(value)


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * 2_000},
        {"a": b"x" * 2_000},
        {"a": [0] * 2_000},
        {"k" * 2_000: 1},
        {"$" + "k" * 2_000: 1},
        {"a": {(index,): 0 for index in range(1_000)}},
        {"a": Line("x" * 2_000)},
        [1] * 2_000,
    ],
)
def test_every_kind_of_oversize_is_refused(value: Any) -> None:
    with pytest.raises(EncodingError, match="over 1000 bytes"):
        Codec(limits=Limits(max_bytes=1_000)).encode_value(value)


def test_a_small_graph_that_unfolds_to_a_huge_text_is_refused_at_once() -> None:
    value: Any = [0]
    for _ in range(30):
        value = [value] * 10
    assert "over 10485760 bytes" in str(refusal(value))


@pytest.mark.parametrize(
    "part",
    [
        ["x" * 2_000],
        {"k" * 2_000: 1},
        {"k": "x" * 2_000},
        {"é" * 2_000: 1},
        {1: "x" * 2_000},
        [b"x" * 2_000],
        ("x" * 2_000,),
        {"x" * 2_000},
        Line("x" * 2_000),
    ],
    ids=["list", "key", "dict", "accents", "pairs", "bytes", "tuple", "set", "fields"],
)
def test_a_text_that_would_be_too_large_is_never_built(part: Any) -> None:
    value = [part] * 50_000
    tracemalloc.start()
    error = refusal(value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "over 10485760 bytes" in str(error)
    assert peak < 3 * 10_485_760


def test_a_change_by_another_thread_in_the_middle_is_an_error_with_a_path() -> None:
    class Meddler:
        pass

    items: dict[str, Any] = {"a": Meddler(), "b": 1}

    def meddle(value: Meddler) -> int:
        items["c"] = 1
        return 1

    register_type(Meddler, name="meddler", encode=meddle, decode=lambda payload: Meddler())
    error = refusal({"items": items})
    assert "was changed by another thread" in str(error)
    assert error.path.startswith('ctx["items"]')


def test_checking_a_value_raises_what_encoding_it_would_raise() -> None:
    DEFAULT_CODEC.check({"a": (1,)})
    with pytest.raises(EncodingError) as caught:
        DEFAULT_CODEC.check({"a": BAD}, "ctx")
    assert caught.value.path == 'ctx["a"]'


def test_an_encoding_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(refusal({"a": BAD})))
    assert error.path == 'ctx["a"]'


@pytest.mark.parametrize(
    "bounds", [{"max_bytes": 0}, {"max_depth": 201}, {"max_depth": True}, {"max_bytes": 1.5}]
)
def test_limits_that_make_no_sense_are_refused(bounds: Any) -> None:
    with pytest.raises(ConfigurationError, match="Choose a"):
        Limits(**bounds)


def test_the_utc_singleton_comes_back_itself() -> None:
    assert DEFAULT_CODEC.decode_value(DEFAULT_CODEC.encode_value(datetime.now(UTC))).tzinfo is UTC
