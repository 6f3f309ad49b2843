"""What the app gives the runtime, and what importing it costs."""

import subprocess
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest
from django.test import override_settings

import fluxio_django
from fluxio.runtime.environment import default_environment
from fluxio_django.environment import ThreadSensitiveCaller, debugging

ROOT = Path(__file__).resolve().parents[2]

word: ContextVar[str] = ContextVar("word", default="")


async def test_plain_stages_are_called_on_the_thread_of_the_caller() -> None:
    caller = default_environment().make_caller(None)
    assert await caller.call(threading.current_thread) is threading.main_thread()


async def test_plain_stages_see_the_context_variables_of_the_caller() -> None:
    word.set("seen")
    caller = ThreadSensitiveCaller()
    assert await caller.call(word.get) == "seen"
    caller.close()
    assert await caller.call(int, "7") == 7


def test_leases_last_as_long_as_the_settings_say() -> None:
    with override_settings(FLUXIO={"LEASE_SECONDS": 7}):
        assert default_environment().lease_seconds() == 7


def test_stages_are_watched_in_debug_and_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    assert debugging()
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setenv("FLUXIO_DEBUG", "0")
    assert not debugging()
    with override_settings(DEBUG=True):
        assert debugging()


def test_importing_the_package_imports_neither_django_nor_the_runtime() -> None:
    heavy = {"django", "fluxio.codec", "fluxio.runtime"}
    program = f"import sys, fluxio_django; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == []


def test_the_public_names_are_these() -> None:
    assert fluxio_django.__all__ == [
        "DjangoBreakerBackend",
        "DjangoCacheStore",
        "DjangoRateLimitBackend",
        "DjangoRedisStore",
        "DjangoStore",
        "Limits",
        "pipelines",
        "register",
    ]
    assert set(fluxio_django.__all__) <= set(dir(fluxio_django))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        fluxio_django.nothing  # noqa: B018
