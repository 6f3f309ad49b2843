"""Types that users add travel under stable names, and only where somebody registered them."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest

from fluxio.codec import (
    DEFAULT_CODEC,
    Secret,
    isolated_types,
    register_type,
    registered_types,
)
from fluxio.codec.registry import advise, current_types
from fluxio.errors import ConfigurationError, DecodingError, EncodingError

OF_THE_APP = frozenset(registered_types())


@pytest.fixture(autouse=True)
def _own_types() -> Iterator[None]:
    with isolated_types():
        yield


def added() -> dict[str, type[Any]]:
    """The types beside those that the Django app registers while it starts."""
    return {name: cls for name, cls in registered_types().items() if name not in OF_THE_APP}


class Money:
    def __init__(self, amount: Decimal, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Coin(Money):
    pass


def register_money(**options: Any) -> None:
    register_type(
        Money,
        name="money",
        encode=lambda money: (money.amount, money.currency),
        decode=lambda pair: Money(*pair),
        **options,
    )


def round_trip(value: Any) -> Any:
    return DEFAULT_CODEC.decode(DEFAULT_CODEC.encode({"value": value}))["value"]


def test_a_registered_class_comes_back_equal() -> None:
    register_money()
    back = round_trip([Money(Decimal("1.50"), "EUR")])
    assert back == [Money(Decimal("1.50"), "EUR")]
    assert type(back[0].amount) is Decimal


def test_the_decorator_gives_the_class_back_with_and_without_arguments() -> None:
    @register_type
    @dataclass
    class Plain:
        x: int

    @register_type(name="named")
    @dataclass
    class Named:
        x: int

    assert round_trip(Plain(1)) == Plain(1)
    assert round_trip(Named(1)) == Named(1)
    assert added() == {
        f"{__name__}.{Plain.__qualname__}": Plain,
        "named": Named,
    }


def test_the_stored_text_names_the_type_by_its_registered_name_only() -> None:
    register_money()
    text = DEFAULT_CODEC.encode_value(Money(Decimal(1), "EUR"))
    assert text == '{"$:money":{"$tuple":[{"$decimal":"1"},"EUR"]}}'


def test_a_registered_name_never_meets_a_tag_of_the_codec() -> None:
    @register_type(name="tuple")
    @dataclass
    class Tuple:
        x: int

    assert round_trip((Tuple(1),)) == (Tuple(1),)


def test_a_subclass_is_not_stored_as_its_registered_base() -> None:
    register_money()
    with pytest.raises(EncodingError, match=r"Coin.*storing|Coin, which has no stored form"):
        DEFAULT_CODEC.encode_value(Coin(Decimal(1), "EUR"))


def test_a_subclass_of_a_dataclass_is_not_stored_as_its_registered_base() -> None:
    @register_type(name="base")
    @dataclass
    class Base:
        x: int

    class Derived(Base):
        pass

    with pytest.raises(EncodingError, match="Derived, which has no stored form"):
        DEFAULT_CODEC.encode_value(Derived(1))


def test_a_refusal_gives_the_advice_for_the_nearest_class() -> None:
    class Base:
        pass

    class Derived(Base):
        pass

    advise(Base, "Take the base away.")
    advise(Derived, "Take it away.")
    for value, remedy in ((Base(), "Take the base away"), (Derived(), "Take it away")):
        with pytest.raises(EncodingError, match=rf"has no stored form\. {remedy}\.$"):
            DEFAULT_CODEC.encode({"a": value})
    register_type(Derived, name="derived", encode=lambda _: None, decode=lambda _: Derived())
    DEFAULT_CODEC.encode({"a": Derived()})


def test_a_family_of_classes_travels_under_one_name_when_asked_for() -> None:
    kinds = {"Money": Money, "Coin": Coin}
    register_type(
        Money,
        name="money",
        encode=lambda money: [type(money).__name__, money.amount, money.currency],
        decode=lambda payload: kinds[payload[0]](*payload[1:]),
        subclasses=True,
    )
    back = round_trip([Coin(Decimal(1), "EUR"), Money(Decimal(2), "EUR")])
    assert [type(money) for money in back] == [Coin, Money]


def test_a_subclass_with_a_registration_of_its_own_does_not_use_the_family() -> None:
    register_money(subclasses=True)
    register_type(Coin, name="coin", encode=vars, decode=lambda fields: Coin(**fields))
    assert '"$:coin"' in DEFAULT_CODEC.encode_value(Coin(Decimal(1), "EUR"))


def test_registered_objects_may_hold_each_other() -> None:
    register_money()

    @register_type(name="order")
    @dataclass
    class Order:
        total: Money
        lines: dict[int, Any]

    order = Order(Money(Decimal(3), "EUR"), {1: (Order(Money(Decimal(1), "EUR"), {}),)})
    assert round_trip(order) == order


@pytest.mark.parametrize(
    "cls", [int, str, dict, tuple, type(None), Decimal, PurePosixPath, Secret, object]
)
def test_a_type_the_codec_knows_cannot_be_registered(cls: type) -> None:
    with pytest.raises(ConfigurationError, match="cannot be registered"):
        register_type(cls, name="mine", encode=str, decode=lambda payload: payload)


def test_a_class_is_registered_once() -> None:
    register_money()
    with pytest.raises(ConfigurationError, match="registered already, as 'money'"):
        register_type(Money, name="cash", encode=vars, decode=lambda payload: Money(**payload))
    assert added() == {"money": Money}


def test_a_name_belongs_to_one_class() -> None:
    register_money()
    with pytest.raises(ConfigurationError, match=r"'money' is taken by .*Money"):
        register_type(Coin, name="money", encode=vars, decode=lambda payload: Coin(**payload))


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a\\b", "é", "a\n", "x" * 201, 7])
def test_a_name_that_cannot_be_stored_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a registered type"):
        register_type(Money, name=name, encode=vars, decode=lambda payload: Money(**payload))


@pytest.mark.parametrize("direction", [{"encode": vars}, {"decode": Money}])
def test_one_direction_alone_is_refused(direction: Any) -> None:
    with pytest.raises(ConfigurationError, match="together, or neither"):
        register_type(Money, name="money", **direction)


def test_a_class_without_fields_needs_both_directions() -> None:
    with pytest.raises(ConfigurationError, match=r"register_type\(Money, name='money', encode"):
        register_type(Money, name="money")


def test_a_family_needs_both_directions() -> None:
    @dataclass
    class Base:
        x: int

    with pytest.raises(ConfigurationError, match="would come back as the base"):
        register_type(Base, name="base", subclasses=True)


def test_only_classes_are_registered() -> None:
    with pytest.raises(ConfigurationError, match="takes a class, not str"):
        register_type("money")  # type: ignore[call-overload]


def test_a_failing_encode_is_reported_at_the_key_without_the_value() -> None:
    register_type(
        Money, name="money", encode=lambda money: money.missing, decode=lambda payload: payload
    )
    with pytest.raises(EncodingError, match="encode of 'money' raised AttributeError") as caught:
        DEFAULT_CODEC.encode({"total": [Money(Decimal(1), "secret")]})
    assert caught.value.path == 'ctx["total"][0]'
    assert isinstance(caught.value.__cause__, AttributeError)


def test_what_encode_gives_has_to_be_encodable_itself() -> None:
    register_type(
        Money, name="money", encode=lambda money: {"raw": object()}, decode=lambda payload: payload
    )
    with pytest.raises(EncodingError) as caught:
        DEFAULT_CODEC.encode({"total": Money(Decimal(1), "EUR")})
    assert caught.value.path == 'ctx["total"]<money>["raw"]'


def test_an_encode_that_gives_the_object_itself_is_found() -> None:
    register_type(Money, name="money", encode=lambda money: money, decode=lambda payload: payload)
    with pytest.raises(EncodingError, match="holds itself"):
        DEFAULT_CODEC.encode({"total": Money(Decimal(1), "EUR")})


def test_a_failing_decode_is_reported_at_the_key() -> None:
    register_type(Money, name="money", encode=lambda money: 1, decode=lambda payload: payload / 0)
    text = DEFAULT_CODEC.encode({"a": [0, Money(Decimal(1), "EUR")]})
    with pytest.raises(DecodingError, match="decode of 'money' raised ZeroDivisionError") as caught:
        DEFAULT_CODEC.decode(text)
    assert caught.value.path == 'ctx["a"][1]'


@pytest.mark.parametrize("wrong", [1, None, Coin(Decimal(1), "EUR")])
def test_a_decode_that_gives_another_type_is_an_error(wrong: Any) -> None:
    register_type(Money, name="money", encode=lambda money: 1, decode=lambda payload: wrong)
    text = DEFAULT_CODEC.encode({"a": Money(Decimal(1), "EUR")})
    with pytest.raises(DecodingError, match=f"gave {type(wrong).__name__} instead of Money"):
        DEFAULT_CODEC.decode(text)


def test_an_isolated_registration_is_forgotten_even_after_an_error() -> None:
    with contextlib.suppress(KeyError), isolated_types():
        register_money()
        raise KeyError
    assert added() == {}


def test_types_registered_before_are_known_inside_an_isolated_block() -> None:
    register_money()
    with isolated_types():
        assert round_trip(Money(Decimal(1), "EUR")) == Money(Decimal(1), "EUR")


def test_a_registration_in_the_middle_of_another_one_is_kept() -> None:
    others: list[threading.Thread] = []

    def register_another() -> None:
        register_type(Enum(f"Kind{len(others)}", "A"), name=f"kind-{len(others)}")

    class Interrupting(type):
        """Its classes have another thread register something whenever they are looked up."""

        def __hash__(cls) -> int:
            if threading.current_thread() is threading.main_thread():
                others.append(threading.Thread(target=register_another))
                others[-1].start()
                others[-1].join(timeout=0.05)
            return type.__hash__(cls)

    class Interrupted(metaclass=Interrupting):
        pass

    register_type(Interrupted, name="interrupted", encode=vars, decode=lambda payload: payload)
    for thread in others:
        thread.join()
    assert len(added()) == 1 + len(others) > 2
    for cls in added().values():
        with pytest.raises(ConfigurationError, match="registered already"):
            register_type(cls, name="again", encode=vars, decode=lambda payload: payload)


def test_what_is_kept_elsewhere_may_come_back_as_a_reference_of_its_own_class() -> None:
    kept = {7: Money(Decimal(1), "EUR")}

    @dataclass(frozen=True)
    class Ticket:
        number: int

    register_type(
        Money,
        name="money",
        encode=lambda value: value.number if isinstance(value, Ticket) else 7,
        decode=Ticket,
        stand_in=Ticket,
    )
    assert round_trip(kept[7]) == Ticket(7)
    assert DEFAULT_CODEC.encode_value(Ticket(7)) == DEFAULT_CODEC.encode_value(kept[7])
    assert current_types().refer(DEFAULT_CODEC.encode_value([kept[7]]))
    assert not current_types().refer(DEFAULT_CODEC.encode_value(['"$:money":', "$:money"]))
