"""A secret is stored and used like its value, and shown nowhere."""

import copy
import json
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import pytest

from fluxio.codec import DEFAULT_CODEC, Secret
from fluxio.errors import EncodingError

CANARY = "hunter2-canary"


@pytest.mark.parametrize("value", [CANARY, b"bytes", Decimal("1.50"), (1, {2}), None, Secret(1)])
def test_a_secret_comes_back_a_secret_with_the_value_and_its_type(value: Any) -> None:
    back = DEFAULT_CODEC.decode(DEFAULT_CODEC.encode({"a": Secret(value)}))["a"]
    assert type(back) is Secret
    assert back == Secret(value)
    assert type(back.reveal()) is type(value)


@pytest.mark.security(15)
def test_no_way_of_showing_a_secret_shows_its_value() -> None:
    secret = Secret(CANARY)

    @dataclass
    class Holder:
        token: Secret[str]

    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret:>40}",
        "%s %r" % (secret, secret),  # noqa: UP031
        "{}".format(secret),  # noqa: UP032
        repr({"token": [secret]}),
        repr(Holder(secret)),
        repr(asdict(Holder(secret))),
        str(dir(secret)),
        logging.makeLogRecord({"msg": "token %s", "args": (secret,)}).getMessage(),
    ]
    assert not [text for text in shown if CANARY in text]
    assert repr(secret) == str(secret) == f"{secret:x}" == "Secret(***)"
    assert not hasattr(secret, "__dict__")


def test_a_secret_cannot_be_pickled_or_written_as_json_by_accident() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps({"a": Secret(CANARY)}, protocol)
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))


def test_an_error_about_a_secret_does_not_show_it() -> None:
    class Token(str):
        __slots__ = ()

    with pytest.raises(EncodingError) as caught:
        DEFAULT_CODEC.encode({"a": Secret(Token(CANARY))})
    assert caught.value.path == 'ctx["a"].reveal()'
    text = "".join(traceback.format_exception(caught.value))
    assert "is of type" in text
    assert CANARY not in text


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (Secret("a"), Secret("a"), True),
        (Secret("é\ud800"), Secret("é\ud800"), True),
        (Secret("a"), Secret("b"), False),
        (Secret("a"), Secret(b"a"), False),
        (Secret(b"a"), Secret(b"a"), True),
        (Secret(b"a"), Secret(b"ab"), False),
        (Secret(1), Secret(1), True),
        (Secret(1), Secret(1.0), False),
        (Secret(1), Secret(True), False),
        (Secret("a"), "a", False),
    ],
)
def test_equality_is_that_of_type_and_value(left: Any, right: Any, equal: bool) -> None:
    assert (left == right) is equal
    assert (left != right) is not equal
    if equal:
        assert hash(left) == hash(right)


def test_a_secret_cannot_be_changed() -> None:
    secret = Secret(CANARY)
    with pytest.raises(AttributeError, match="immutable"):
        secret.value = "other"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="immutable"):
        del secret._Secret__value  # type: ignore[attr-defined]


def test_a_deep_copy_shares_no_value_that_could_be_changed() -> None:
    secret = Secret([1])
    deep = copy.deepcopy(secret)
    deep.reveal().append(2)
    assert secret.reveal() == [1]
    assert copy.copy(secret) is secret
