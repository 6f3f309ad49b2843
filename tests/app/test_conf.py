"""The FLUXIO setting: lazy, typed, and never the reason for a crash."""

import pytest
from django.test import override_settings

from fluxio import BaseCallback, InMemoryStore
from fluxio.codec import Limits
from fluxio.errors import ConfigurationError
from fluxio_django import DjangoStore
from fluxio_django.conf import Settings, default_store, problems, settings
from fluxio_django.rules import MOST_BYTES
from tests.shown import shown

STORE = InMemoryStore()


class NeedsArguments(InMemoryStore):
    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place


GOOD = {
    "STORE": ("fluxio.InMemoryStore", STORE),
    "DATABASE": ("default", "elsewhere"),
    "LEASE_SECONDS": (30, 0.5, 10**9),
    "SWEEP_SECONDS": (1, 2.5),
    "MAX_TAKEOVERS": (1, 100),
    "MAX_PAYLOAD_BYTES": (1, 10 * 1024 * 1024),
    "DISPATCHER": ("inline", "eager", "celery", "tasks"),
    "QUEUES": (["default", "slow"], ("a.b-c",)),
    "REDACT": ([], ["iban"], ("password", "iban")),
    "HEALTH_TOKEN": (None, "a-long-random-secret"),
    "HEALTH_WAIT_SECONDS": (30, 0.5),
    "CALLBACKS": ([], ["fluxio.LoggingCallback"], (BaseCallback(),)),
}

BAD = {
    "STORE": (None, 7, "", "without_a_dot", InMemoryStore),
    "DATABASE": (None, "", 7),
    "LEASE_SECONDS": (0, -1, "30", None, True, float("nan"), float("inf"), 10**400),
    "SWEEP_SECONDS": (0, -1, "10", None, 10**9 + 1),
    "STREAM_SECONDS": (0, "300", 10**400),
    "MAX_TAKEOVERS": (0, -1, 2.0, "5", True),
    "MAX_PAYLOAD_BYTES": (0, 1.5, "1MB", 10 * 1024 * 1024 + 1),
    "DISPATCHER": ("post", None, [], "INLINE"),
    "HEALTH_TOKEN": ("", "fifteen letters", "with spaces in between", b"a-long-random-secret"),
    "HEALTH_WAIT_SECONDS": (0, "30", None, 10**400),
    "CALLBACKS": ("fluxio.LoggingCallback", ["nowhere"], [7], [BaseCallback]),
    "QUEUES": ("default", [], [""], ["two words"], [7], None),
}


def each(values: dict[str, tuple[object, ...]]) -> list[tuple[str, object]]:
    return [(key, value) for key, several in values.items() for value in several]


def test_every_key_has_a_default() -> None:
    with override_settings(FLUXIO={}):
        assert settings() == Settings()
        assert problems() == ()
    assert settings().lease_seconds == 30.0
    assert settings().max_takeovers == 5


@pytest.mark.parametrize(("key", "value"), each(GOOD), ids=shown)
def test_a_value_that_fits_is_taken_over(key: str, value: object) -> None:
    with override_settings(FLUXIO={key: value}):
        assert getattr(settings(), key.lower()) == value
        assert problems() == ()


@pytest.mark.parametrize(("key", "value"), each(BAD), ids=shown)
def test_a_value_that_does_not_fit_leaves_the_default_and_is_told(key: str, value: object) -> None:
    with override_settings(FLUXIO={key: value}):
        assert settings() == Settings()
        (problem,) = problems()
    assert problem.key == key
    assert repr(key) in problem.message
    assert problem.hint.startswith("Give ")


def test_a_secret_that_does_not_fit_is_not_repeated() -> None:
    with override_settings(FLUXIO={"HEALTH_TOKEN": "hunter2"}):
        (problem,) = problems()
    assert "hunter2" not in problem.message + problem.hint
    with override_settings(FLUXIO={"HEALTH_TOKEN": "hunter2-hunter2-hunter2"}):
        assert "hunter2" not in repr(settings())


def test_an_unknown_key_is_told_with_the_known_ones() -> None:
    with override_settings(FLUXIO={"LEASE": 30, "DATABASE": "elsewhere"}):
        assert settings().database == "elsewhere"
        (problem,) = problems()
    assert "'LEASE'" in problem.message
    assert "LEASE_SECONDS" in problem.hint


@pytest.mark.parametrize("value", [None, [], "inline", 7], ids=shown)
def test_a_setting_that_is_no_dict_is_told(value: object) -> None:
    with override_settings(FLUXIO=value):
        assert settings() == Settings(retention=None)
        (problem,) = problems()
    assert "not a dict" in problem.message


def test_settings_are_read_again_when_a_test_changes_them() -> None:
    with override_settings(FLUXIO={"LEASE_SECONDS": 1}):
        assert settings().lease_seconds == 1
        with override_settings(FLUXIO={"LEASE_SECONDS": 2}):
            assert settings().lease_seconds == 2
        assert settings().lease_seconds == 1


def test_the_default_store_is_ours_and_is_built_once() -> None:
    with override_settings(FLUXIO={}):
        store = default_store()
        assert isinstance(store, DjangoStore)
        assert default_store() is store


def test_the_default_store_may_be_given_as_an_object_or_a_path() -> None:
    with override_settings(FLUXIO={"STORE": STORE}):
        assert default_store() is STORE
    with override_settings(FLUXIO={"STORE": "fluxio.InMemoryStore"}):
        assert isinstance(default_store(), InMemoryStore)
    with override_settings(FLUXIO={"STORE": f"{__name__}.STORE"}):
        assert default_store().__class__ is InMemoryStore


@pytest.mark.parametrize("path", ["nowhere.Store", "fluxio.Nothing", "fluxio.Pipeline", "os.sep"])
def test_a_path_that_leads_to_no_store_is_refused_with_the_remedy(path: str) -> None:
    with (
        override_settings(FLUXIO={"STORE": path}),
        pytest.raises(ConfigurationError, match=r"fluxio_django\.DjangoStore"),
    ):
        default_store()


def test_a_row_may_be_as_large_as_the_codec_takes_it() -> None:
    assert Limits().max_bytes == MOST_BYTES
