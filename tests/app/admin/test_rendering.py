"""Values as people read them: typed, bounded, and whatever they are, shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from fluxio import Secret, register_type
from fluxio.codec import isolated_types
from fluxio_django.admin.measures import duration_text, printable
from fluxio_django.admin.rendering import Bounds, Renderer, Shown


class Colour(Enum):
    RED = "r"


@dataclasses.dataclass
class Card:
    owner: str
    number: str = dataclasses.field(repr=False)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Rude:
    """Does everything it can to get in the way."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 1


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with isolated_types():
        register_type(Point, name="point", encode=lambda p: {"x": p.x}, decode=lambda d: Point(**d))
        register_type(Rude, name="rude", encode=lambda _: 1 / 0, decode=lambda _: Rude())
        yield


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "None", "None"),
        (True, "bool", "True"),
        (1, "int", "1"),
        (1.0, "float", "1.0"),
        (float("nan"), "float", "nan"),
        (Decimal("1.50"), "Decimal", "1.50"),
        ("text", "str", "text"),
        (b"\x00\xff", "bytes", "00ff"),
        (UUID(int=1), "UUID", "00000000-0000-0000-0000-000000000001"),
        (date(2026, 1, 2), "date", "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "datetime", "2026-01-02T03:00:00+00:00"),
        (timedelta(days=1), "timedelta", "1 day, 0:00:00"),
        (Colour.RED, "Colour", "RED"),
        (Secret("canary"), "Secret", "Secret(***)"),
        (User(pk=7, username="canary"), "auth.User", "pk=7"),
        (2**100_000, "int", "an integer of 100001 bits"),
        (object(), "object", "…"),
        (Rude(), "Rude", "cannot be shown (ZeroDivisionError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_with_its_type(value: Any, kind: str, text: str) -> None:
    shown = Renderer().show(value)
    assert (shown.kind, shown.text) == (kind, text)


def flat(shown: Shown) -> list[tuple[str, str]]:
    return [(item.label, item.value.text) for item in shown.items]


def test_containers_unfold_to_their_items() -> None:
    assert flat(Renderer().show({"a": 1, 2: "b"})) == [("a", "1"), ("2", "b")]
    assert flat(Renderer().show((5, 6))) == [("0", "5"), ("1", "6")]
    assert flat(Renderer().show({3, 1, 2})) == [("", "1"), ("", "2"), ("", "3")]
    assert flat(Renderer().show(Point(4))) == [("x", "4")]
    assert Renderer().show(Point(4)).kind == "Point"
    assert Renderer().show({}).note == "empty"


def test_a_field_that_is_kept_out_of_repr_is_kept_out_of_pages() -> None:
    shown = flat(Renderer().show(Card(owner="Ada", number="canary")))
    assert shown == [("owner", "Ada"), ("number", "Secret(***)")]


def test_everything_is_bounded() -> None:
    bounds = Bounds(nodes=50, depth=3, items=10, characters=20)
    wide = Renderer(bounds).show(list(range(1_000)))
    assert (len(wide.items), wide.more) == (10, 990)
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    assert "bottom" not in repr(Renderer(bounds).show(deep))
    assert Renderer(bounds).show("x" * 100).text == "x" * 20 + "… (100 characters)"
    shared = Renderer(bounds)
    many = [shared.show([1] * 10) for _ in range(100)]
    assert sum(len(shown.items) for shown in many) < 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.38, "380 ms"),
        (1.239, "1.24 s"),
        (192, "3 min 12 s"),
        (7_500, "2 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_read_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_invisible_characters_are_made_visible() -> None:
    assert printable("plain\ttext\n") == "plain\ttext\n"
    assert printable("a\u202eb\u200bc\x00d\ud800e\x1bf") == "a\\u202eb\\u200bc\\x00d\\ud800e\\x1bf"
