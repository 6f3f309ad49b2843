"""What FLUXIO["REDACT"] hides is hidden in every room that shows values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from io import StringIO
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest
from django.core.management import call_command

from fluxio import Context, Pipeline, Secret, register_type, stage
from fluxio.codec import isolated_types
from fluxio.errors import ConfigurationError
from fluxio_django import pipelines, register, services
from fluxio_django.admin.rendering import Renderer
from fluxio_django.log import read_page
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text, shown_values
from fluxio_django.values import json_values, short
from tests.shown import shown as shown_as

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "c4n4ry"


class Sealed:
    """A registered type whose stored form has a telling key, and whose repr() tells all."""

    def __init__(self, inside: str) -> None:
        self.inside = inside

    def __repr__(self) -> str:
        return f"Sealed({self.inside})"


class Pair(NamedTuple):
    user: str
    password: str


@attrs.frozen
class Account:
    user: str
    password: str


class Login(pydantic.BaseModel):
    user: str
    password: str
    sealed: Any

    def __repr__(self) -> str:
        return f"<{self.user} {self.password}>"

    __str__ = __repr__


@pytest.fixture
def run() -> Iterator[Run]:
    @stage
    def log_in(ctx: Context) -> Context:
        ctx = ctx.set("session", {"token": CANARY, "sealed": Sealed(CANARY)})
        ctx = ctx.set("login", Login(user="ada", password=CANARY, sealed=Sealed(CANARY)))
        return ctx.set("others", {Account("ada", CANARY), Pair("ada", CANARY)})

    @stage
    def fail(ctx: Context) -> Context:
        sealed = ctx["session"]["sealed"]
        raise ValueError(f"refused {ctx['login'].password}, {sealed}, {ctx['plain'].reveal()}")

    with isolated_types():
        register_type(
            Sealed,
            name="sealed",
            encode=lambda sealed: {"password": sealed.inside},
            decode=lambda facts: Sealed(facts["password"]),
        )
        for number, cls in enumerate((Pair, Account, Login)):
            register_type(cls, name=f"fields.{number}")
        register("vault.login", Pipeline([log_in, fail], durable=True))
        given = {"password": CANARY, "plain": Secret(CANARY), "user": "ada"}
        with pytest.raises(ValueError, match="refused"):
            pipelines["vault.login"].invoke_sync(given, run_id="r")
        yield Run.objects.get(run_id="r")
        pipelines.remove("vault.login")


def told(*command: str) -> str:
    out = StringIO()
    call_command(*command, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.security(15)
def test_no_way_of_showing_a_run_gives_a_secret_away(run: Run) -> None:
    state = services.state("r")
    lines = read_page(run).lines
    channels = {
        "error": run.error,
        "text": [short(value) for value in state.values()],
        "json": json.dumps(json_values(state)),
        "state before a step": json.dumps(json_values(services.state("r", "fail"))),
        "tree": repr(Renderer().show_items(state)),
        "rows": repr([(Renderer().show_items(line.writes), line.error) for line in lines]),
        "history": [
            (json.dumps(json_values(entry.writes)), entry.error) for entry in services.history("r")
        ],
        "diff": services.diff("r", "r", at_a=0).paths(),
        "fluxio_show": told("fluxio_show", "r", "--values", "-v", "2"),
        "fluxio_show --json": told("fluxio_show", "r", "--values", "--json"),
        "fluxio_diff": told("fluxio_diff", "r", "r", "--at-a", "0", "--paths"),
        "fluxio_diff --json": told("fluxio_diff", "r", "r", "--at-a", "0", "--json"),
        "fluxio_runs": told("fluxio_runs"),
    }
    assert {name for name, shown in channels.items() if CANARY in repr(shown)} == set()
    assert "ada" in repr(channels["text"])


def test_the_run_itself_goes_on_with_the_real_values(run: Run) -> None:
    assert pipelines["vault.login"].state_sync("r")["password"] == CANARY


def test_the_project_chooses_the_keys(settings: Any) -> None:
    settings.FLUXIO = {"REDACT": ["iban"]}
    assert shown_values({"IBAN": 1, "password": 2}) == {"IBAN": Secret(1), "password": 2}
    assert shown_text("iban=DE1 password=x") == "iban=*** password=x"
    settings.FLUXIO = {"REDACT": []}
    assert shown_values({"IBAN": 1}) == {"IBAN": 1}


def test_a_value_that_was_not_looked_into_before_is_hidden_as_well() -> None:
    with isolated_types():
        register_type(Login, name="login")
        shown = Renderer().show(Login(user="ada", password=CANARY, sealed=1))
    assert [(item.label, item.value.text) for item in shown.items] == [
        ("user", "ada"),
        ("password", "Secret(***)"),
        ("sealed", "1"),
    ]


@dataclasses.dataclass
class Order:
    number: int
    note: str = dataclasses.field(default="internal", repr=False)


class Point(NamedTuple):
    x: int
    y: int


class Loose(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    size: int
    note: str = pydantic.Field(default="internal", repr=False)


@attrs.define
class Part:
    number: int
    note: str = attrs.field(default="internal", repr=False)


@pytest.mark.parametrize(
    "value",
    [
        [1, "two", b"3", None, (4.5,), (), [], {}, set(), frozenset()],
        {"a": {1: {2}}, ("b", 3): frozenset({4})},
        Secret(1),
        Order(7),
        Loose(size=1),
        Loose(size=1, colour=["red"]),  # type: ignore[call-arg]
        Part(7),
        Point(1, 2),
        Order.__new__,
        Sealed,
    ],
    ids=lambda value: type(value).__name__,
)
def test_short_texts_of_values_read_as_python_writes_them(value: Any) -> None:
    assert short(value) == repr(value)


def test_an_object_with_a_stored_form_shows_that_form(run: Run) -> None:
    assert short([Sealed(CANARY)]) == "[Sealed({'password': Secret(***)})]"


def test_short_texts_end_after_a_thousand_characters() -> None:
    assert short(["a" * 600, ["b" * 600]]) == f"['{'a' * 600}', ['{'b' * 393}..."


@pytest.mark.parametrize("patterns", [None, "iban", [""], ["a", 7], [" "]], ids=shown_as)
def test_keys_that_nobody_can_understand_are_no_reason_to_show_what_they_hide(
    settings: Any, patterns: object
) -> None:
    settings.FLUXIO = {"REDACT": patterns}
    for show in (shown_values, lambda values: shown_text("iban=DE1", values)):
        with pytest.raises(ConfigurationError, match=r"'REDACT'.* Give a list of parts of keys"):
            show({"iban": 1})


def test_a_failure_is_recorded_without_its_text_while_nobody_knows_what_to_hide(
    run: Run, settings: Any
) -> None:
    settings.FLUXIO = {"REDACT": "iban"}
    with pytest.raises(ValueError, match="refused"):
        pipelines["vault.login"].invoke_sync({"plain": Secret("p")}, run_id="other")
    other = Run.objects.get(run_id="other")
    assert other.status == "failed"
    assert "refused" not in other.error
    assert "Give a list of parts of keys" in other.error


def test_a_field_of_a_dataclass_is_hidden_by_its_name() -> None:
    @dataclasses.dataclass
    class Account:
        user: str
        api_key: str

    shown = Renderer().show_items({"account": Account("ada", CANARY)})
    assert CANARY not in repr(shown)
    assert "ada" in repr(shown)
