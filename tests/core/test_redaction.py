"""What telling keys hide, in values and in texts."""

from __future__ import annotations

import dataclasses
import functools
from collections import OrderedDict, deque
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest

from fluxio import Context, InMemoryStore, Pipeline, Secret, register_type, stage
from fluxio.codec import isolated_types
from fluxio.diff import compare
from fluxio.redaction import Redaction

redaction = Redaction()
CANARY = "c4n4ry-value"


def _named(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "db_password", "apiKey", "X-Api-Key", "api key", "authorization"],
)
def test_a_telling_key_hides_its_value_however_it_is_written(key: str) -> None:
    assert redaction.hides(key)
    assert redaction.items({key: CANARY}) == {key: Secret(CANARY)}


@pytest.mark.parametrize("key", ["pass", "user", "", "keyboard", 7, None, ("password",)])
def test_other_keys_hide_nothing(key: Any) -> None:
    assert not redaction.hides(key)


@dataclasses.dataclass(frozen=True)
class Login:
    user: str
    password: str

    def __post_init__(self) -> None:
        assert isinstance(self.password, str)


class Pair(NamedTuple):
    user: str
    password: str


@attrs.frozen
class Account:
    user: str
    password: str


@attrs.define(slots=False)
class Keeper:
    user: str
    _password: str


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    user: str
    password: str = "-"
    _token: str = ""


class Hashable(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)

    password: str


class Derived(pydantic.BaseModel):
    password: str

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @functools.cached_property
    def address(self) -> str:
        return f"ftp:{self.password}"


def private(token: str) -> Model:
    model = Model(user="ada")
    model._token = token
    return model


def derived() -> Derived:
    model = Derived(password=CANARY)
    assert CANARY in model.address
    return model


FIELDS = [
    Pair("ada", CANARY),
    Account("ada", CANARY),
    Keeper("ada", CANARY),
    Model(user="ada", password=CANARY),
    Model(user="ada", api_key=CANARY),  # type: ignore[call-arg]
    derived(),
]


@pytest.mark.parametrize(
    "value",
    [
        {"token": CANARY},
        *FIELDS,
        {Login("ada", CANARY)},
        frozenset({Account("ada", CANARY)}),
        {Hashable(password=CANARY)},
        {Pair("ada", CANARY): 1},
        OrderedDict(password=CANARY),
        deque([Pair("ada", CANARY)]),
        [{"deep": ({"token": CANARY},)}],
        Login("ada", CANARY),
        {"logins": [Login("ada", CANARY)]},
        {"token": {"nested": [CANARY]}},
    ],
    ids=_named,
)
def test_what_is_hidden_deep_inside_is_found(value: Any) -> None:
    assert CANARY in repr(value)
    assert CANARY not in repr(redaction.value(value))


def test_what_hides_nothing_stays_the_same_object() -> None:
    value = {"a": [1, {"b": (2,)}], "login": Login("ada", "x").user}
    assert redaction.value(value) is value


@pytest.mark.parametrize("value", FIELDS, ids=_named)
def test_what_has_hidden_fields_keeps_its_type_and_the_others(value: Any) -> None:
    shown = redaction.value({"given": [value]})["given"][0]
    assert type(shown) is type(value)
    assert getattr(shown, "user", "ada") == "ada"
    assert redaction.value(shown) is shown


def test_private_attributes_of_a_model_are_hidden_by_their_names() -> None:
    assert redaction.value(private(CANARY))._token == Secret(CANARY)


def test_what_cannot_be_rebuilt_is_hidden_as_a_whole() -> None:
    @dataclasses.dataclass
    class LoginFailed(Exception):
        password: str

        def __str__(self) -> str:
            return self.password

    assert redaction.value({"a": LoginFailed(CANARY)})["a"] == Secret(LoginFailed(CANARY))


def test_hidden_values_still_differ_without_saying_how() -> None:
    a, b = redaction.items({"token": "one", "n": 1}), redaction.items({"token": "two", "n": 1})
    (change,) = compare(a, b).paths()
    assert (change.text, str(change.a), str(change.b)) == (
        '["token"]',
        "Secret(***)",
        "Secret(***)",
    )
    assert not compare(a, redaction.items({"token": "one", "n": 1}))


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"Login failed: {{'api_key': '{CANARY}', 'user': 'ada'}}",
        f'{{"token": "{CANARY} with spaces", "a": 1}}',
        f'"{{\\"token\\": \\"{CANARY}\\"}}"',
        f"ctx['secret'] = {CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"sent Bearer {CANARY}.",
        f"cannot reach postgres://ada:{CANARY}@host/db",
        f"--db-password => {CANARY}",
    ],
)
def test_a_text_loses_what_stands_beside_a_telling_key(text: str) -> None:
    assert CANARY not in redaction.text(text)


def test_a_text_loses_the_hidden_values_of_its_context_wherever_they_stand() -> None:
    values = {"login": {"password": CANARY}, "key": Secret(9_999_999), "user": "ada"}
    text = redaction.text(f"ada sent {CANARY} and 9999999", values)
    assert text == "ada sent *** and ***"


@pytest.mark.parametrize("value", [*FIELDS, private(CANARY), {Login("ada", CANARY): 1}], ids=_named)
def test_a_text_loses_what_hidden_fields_hold(value: Any) -> None:
    assert redaction.text(f"ada sent {CANARY}", {"login": [value]}) == "ada sent ***"


def test_a_text_loses_what_is_hidden_in_a_stored_form() -> None:
    class Sealed:
        pass

    with isolated_types():
        facts = {"password": CANARY}
        register_type(Sealed, name="sealed", encode=lambda _: facts, decode=lambda _: Sealed())
        assert redaction.text(f"sent {CANARY}", {"a": (Sealed(),)}) == "sent ***"


def test_plain_texts_stay_as_they_are() -> None:
    text = "Failed at 12:30: the card ending in 4242 was declined, see https://host/path?a=b"
    assert redaction.text(text, {"user": "card"}) == text


@pytest.mark.timeout(60)  # a quadratic search would take many minutes
@pytest.mark.parametrize(
    "piece", ["token", "token=", "a", "://", "://a:", 'token"', "token: '", "bearer ", "\\"]
)
def test_no_text_takes_long(piece: str) -> None:
    redaction.text(piece * (1_000_000 // len(piece)))


@pytest.mark.security(16)
async def test_an_error_is_recorded_without_the_secrets_of_its_run() -> None:
    @stage
    async def log_in(ctx: Context) -> Context:
        raise RuntimeError(f"no entry with {ctx['password']}")

    store = InMemoryStore()
    pipeline = Pipeline([log_in], checkpoint_store=store, durable=True)
    with pytest.raises(RuntimeError, match=CANARY):
        await pipeline.invoke({"password": CANARY}, run_id="r")
    error = (await pipeline.history("r"))[-1].error
    assert error is not None
    assert error.message == "no entry with ***"
    assert CANARY not in error.traceback
    journal = store.journal()
    assert journal is not None
    record = await journal.run("r")
    assert record is not None
    assert record.error == "RuntimeError: no entry with ***"


def test_a_hidden_number_of_any_size_is_no_obstacle_to_finding_the_others() -> None:
    values = {"token": [10**5000, 10**600, 123456], "flag": Secret(True)}
    assert (
        Redaction().text(f"it was 123456 or {10**600}, True", values) == "it was *** or ***, True"
    )
