"""Enums, dataclasses, attrs classes, pydantic models and named tuples travel field by field."""

import dataclasses
import enum
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import pydantic
import pytest

from fluxio.codec import DEFAULT_CODEC, isolated_types, register_type
from fluxio.errors import ConfigurationError, DecodingError, EncodingError
from tests.shown import shown

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _own_types() -> Iterator[None]:
    with isolated_types():
        yield


def round_trip(value: Any) -> Any:
    return DEFAULT_CODEC.decode(DEFAULT_CODEC.encode({"value": value}))["value"]


class Colour(enum.Enum):
    RED = Decimal(1)
    CRIMSON = RED
    BLUE = ("b", object())


class Level(enum.IntEnum):
    HIGH = 1


class Word(enum.StrEnum):
    YES = enum.auto()


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Mode(enum.IntFlag):
    A = 1
    B = 2


@pytest.mark.parametrize(
    "member",
    [
        Colour.RED,
        Colour.CRIMSON,
        Colour.BLUE,
        Level.HIGH,
        Word.YES,
        Right.READ,
        Right.READ | Right.WRITE,
        Right(0),
        Mode.A | Mode.B,
        Mode(8),
    ],
    ids=shown,
)
def test_an_enum_member_comes_back_as_the_very_same_member(member: enum.Enum) -> None:
    register_type(type(member), name="kind")
    back = round_trip(member)
    assert back is member or (type(back) is type(member) and back == member)
    assert round_trip({member: member}) == {member: member}


def test_an_enum_member_that_is_gone_is_an_error_that_names_the_enum() -> None:
    register_type(Colour, name="colour")
    with pytest.raises(DecodingError, match="no member of Colour"):
        DEFAULT_CODEC.decode('{"a":{"$:colour":"GREEN"}}')


@dataclasses.dataclass
class Plain:
    x: Any
    y: Any = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    x: Any
    items: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Computed:
    x: int
    double: int = dataclasses.field(init=False)
    factor: dataclasses.InitVar[int] = 2

    def __post_init__(self, factor: int) -> None:
        self.double = self.x * factor
        self.x += 100

    @cached_property
    def heavy(self) -> int:
        return self.x


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Point(NamedTuple):
    x: Any
    y: Any = 0


@attrs.define
class Slotted:
    x: Any
    _hidden: Any = 1


@attrs.frozen(slots=False, cache_hash=True)
class Hashed:
    x: int = attrs.field(converter=int)


@attrs.frozen(cache_hash=True)
class SlottedHashed:
    x: int
    y: int = attrs.Factory(lambda self: self.x + 1, takes_self=True)


def test_dataclasses_attrs_and_named_tuples_come_back_equal() -> None:
    values = [
        Plain(1, [Plain(2)]),
        Frozen(x=(1,), items=[Decimal(1)]),
        Box[int](1),
        Point(1, (Point(2),)),
        Slotted(1, {2}),
        Hashed(1),
        SlottedHashed(1),
    ]
    for value in values:
        register_type(type(value), name=type(value).__name__)
    back = round_trip(values)
    assert back == values
    assert [type(value) for value in back] == [type(value) for value in values]


@pytest.mark.parametrize("value", [Hashed(1), SlottedHashed(1)])
def test_an_attrs_class_that_caches_its_hash_can_still_be_hashed(value: Any) -> None:
    register_type(type(value), name="hashed")
    hash(value)
    assert hash(round_trip(value)) == hash(value)


def test_rebuilding_does_not_run_the_initialiser_again() -> None:
    register_type(Computed, name="computed")
    value = Computed(1, 3)
    assert (value.x, value.double, value.heavy) == (101, 3, 101)
    back = round_trip(value)
    assert (back.x, back.double) == (101, 3)


def evolved(old: Any, new: Any, value: Any) -> Any:
    """What a value stored under one class is under the next version of that class."""
    with isolated_types():
        register_type(old, name="thing")
        text = DEFAULT_CODEC.encode({"value": value})
    with isolated_types():
        register_type(new, name="thing")
        return DEFAULT_CODEC.decode(text)["value"]


def test_a_new_field_with_a_default_is_filled_in() -> None:
    @dataclasses.dataclass
    class WithList:
        x: int
        more: list[int] = dataclasses.field(default_factory=list)
        y: int = 5

    @attrs.define
    class WithFactory:
        x: int
        y: int
        more: list[int] = attrs.Factory(list)
        double: int = attrs.Factory(lambda self: self.x * 2, takes_self=True)
        last: int = 9

    class WithDefault(NamedTuple):
        x: int
        y: int
        z: int = 3

    class Model(pydantic.BaseModel):
        x: int
        y: int
        more: list[int] = pydantic.Field(default_factory=list)
        last: int = 9

    assert evolved(Plain, WithList, Plain(1, 2)) == WithList(1, [], 2)
    assert evolved(Plain, WithFactory, Plain(4, 2)) == WithFactory(4, 2, [], 8, 9)
    assert evolved(Plain, WithDefault, Plain(1, 2)) == WithDefault(1, 2, 3)
    model = evolved(Plain, Model, Plain(1, 2))
    assert model == Model(x=1, y=2)
    assert model.model_fields_set == {"x", "y"}


def test_a_new_field_without_a_default_is_an_error_that_names_it() -> None:
    @dataclasses.dataclass
    class Later:
        x: int
        y: int
        needed: int

    class Model(pydantic.BaseModel):
        x: int
        y: int
        needed: int

    for later in (Later, Model):
        with pytest.raises(DecodingError, match=r"without the field 'needed' of .* a default"):
            evolved(Plain, later, Plain(1))


def test_a_field_the_class_has_lost_is_an_error_that_names_it() -> None:
    @dataclasses.dataclass
    class Later:
        x: int

    class Model(pydantic.BaseModel):
        x: int

    for later in (Later, Model):
        with pytest.raises(DecodingError, match="has the field 'y', which") as caught:
            evolved(Plain, later, Plain(1))
        assert caught.value.path == 'ctx["value"]'


class Base:
    __slots__ = ("kept_apart",)


@dataclasses.dataclass
class OnSlots(Base):
    x: int


def test_an_attribute_that_is_no_field_is_refused_rather_than_lost() -> None:
    register_type(Plain, name="plain")
    register_type(OnSlots, name="slots")
    plain = Plain(1)
    plain.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(EncodingError, match="attribute 'extra', which is no field of Plain"):
        DEFAULT_CODEC.encode({"a": plain})
    assert round_trip(OnSlots(1)) == OnSlots(1)
    slotted = OnSlots(1)
    slotted.kept_apart = 1
    with pytest.raises(EncodingError, match="attribute 'kept_apart'"):
        DEFAULT_CODEC.encode({"a": slotted})


@dataclasses.dataclass
class Titled(dict[str, int]):
    title: str = ""


@dataclasses.dataclass
class Failure(Exception):
    code: int


@pytest.mark.parametrize("cls", [Titled, Failure])
def test_fields_on_a_builtin_base_are_not_the_whole_state_and_are_refused(cls: type) -> None:
    with pytest.raises(ConfigurationError, match="without a builtin base"):
        register_type(cls, name="x")


class Item(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    price: Decimal
    alias: str = pydantic.Field("", alias="Alias")
    note: str | None = None


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    items: list[Any]
    _seen: int = pydantic.PrivateAttr(default=0)
    _made: list[int] = pydantic.PrivateAttr(default_factory=list)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @cached_property
    def count(self) -> int:
        return len(self.items)


class Names(pydantic.RootModel[list[str]]):
    pass


@pydantic.dataclasses.dataclass
class Checked:
    x: int


def opened() -> Open:
    model = Open(items=[Item(price=Decimal("1.50"), Alias="a")], other=(1, 2))
    model._seen = 3
    assert model.count == 1
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: Item(price=Decimal("1.50")),
        lambda: Item(price=Decimal("1.50"), Alias="x", note="n"),
        opened,
        lambda: Open(items=[]),
        lambda: Names(["a"]),
        lambda: Checked(1),
    ],
)
def test_pydantic_models_come_back_equal_with_their_set_extra_and_private_values(
    make: Callable[[], Any],
) -> None:
    for cls in (Item, Open, Names, Checked):
        register_type(cls, name=cls.__name__)
    model = make()
    back = round_trip(model)
    assert back == model
    assert type(back) is type(model)
    for fact in ("model_fields_set", "model_extra", "__pydantic_private__"):
        assert getattr(back, fact, None) == getattr(model, fact, None)


def test_a_model_is_rebuilt_without_validating_it_again() -> None:
    register_type(Item, name="item")
    model = Item.model_construct(price="not a number", alias="")
    assert round_trip(model).price == "not a number"


def test_the_path_to_a_field_of_a_model_reads_like_python() -> None:
    register_type(Open, name="open")
    for model, path in (
        (Open(items=[object()]), 'ctx["a"].items[0]'),
        (Open(items=[], more=object()), 'ctx["a"].__pydantic_extra__["more"]'),
    ):
        with pytest.raises(EncodingError) as caught:
            DEFAULT_CODEC.encode({"a": model})
        assert caught.value.path == path


@pytest.mark.parametrize(("cls", "name"), [(Plain, "plain"), (Item, "item"), (Point, "point")])
@pytest.mark.parametrize("payload", ["[1,2]", '"x"', "null", "3"])
def test_an_object_whose_fields_are_no_mapping_is_refused(
    cls: type[Any], name: str, payload: str
) -> None:
    register_type(cls, name=name)
    with pytest.raises(DecodingError, match="holds no fields of a") as caught:
        DEFAULT_CODEC.decode(f'{{"a":{{"$:{name}":{payload}}}}}')
    assert caught.value.path == 'ctx["a"]'


def test_a_damaged_field_is_found_by_its_path_too() -> None:
    register_type(Plain, name="plain")
    text = '{"a":{"$:plain":{"x":{"$tuple":[1,{"$:gone":1}]},"y":2}}}'
    with pytest.raises(DecodingError) as caught:
        DEFAULT_CODEC.decode(text)
    assert caught.value.path == 'ctx["a"].x[1]'
