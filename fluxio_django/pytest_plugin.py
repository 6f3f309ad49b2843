"""The pytest plugin: coroutine tests inside the test's transaction, and what they can ask for.

It is loaded wherever this distribution is installed, so it imports nothing of Django until a test
wants something of it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

try:
    from asgiref.sync import async_to_sync
except ImportError:  # pragma: no cover - asgiref comes with Django
    bridge: Callable[..., Callable[..., Any]] | None = None
else:
    bridge = async_to_sync

if TYPE_CHECKING:
    from fluxio.testing.clock import ManualClock
    from fluxio_django.testing import InlineRuns

# Tests marked so, or that use this fixture, belong to other plugins.
OTHER_MARKERS = ("anyio", "asyncio", "trio", "twisted")
OTHER_FIXTURES = frozenset({"anyio_backend", "event_loop"})


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run a coroutine test that no other plugin claims; leave every other test alone.

    Returns:
        True when the test was run here; None passes it on, as pytest's hooks agree.
    """
    if _belongs_to_another_plugin(pyfuncitem):
        return None
    function = pyfuncitem.obj
    # Hypothesis calls its inner test many times from a plain function: give it a plain one.
    given = getattr(function, "hypothesis", None)
    if given is not None:
        if inspect.iscoroutinefunction(given.inner_test):
            given.inner_test = _made_plain(given.inner_test)
        return None
    if not inspect.iscoroutinefunction(function):
        return None
    arguments = {
        name: pyfuncitem.funcargs[name]
        for name in inspect.signature(function).parameters
        if name in pyfuncitem.funcargs
    }
    _made_plain(function)(**arguments)
    return True


def _belongs_to_another_plugin(pyfuncitem: pytest.Function) -> bool:
    return not OTHER_FIXTURES.isdisjoint(pyfuncitem.fixturenames) or any(
        pyfuncitem.get_closest_marker(marker) for marker in OTHER_MARKERS
    )


def _made_plain(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(function)
    def plain(*positional: Any, **named: Any) -> None:
        if bridge is None:
            asyncio.run(function(*positional, **named))
        else:
            # Thread-sensitive work, as the ORM's is, comes back to the thread that waits here:
            # the one that holds the test's connection and its open transaction.
            bridge(function)(*positional, **named)

    return plain


@pytest.fixture
def fluxio_inline(db: None) -> Iterator[InlineRuns]:
    """Executes what is enqueued within the test's own transaction; `sweep()` sweeps.

    Needs pytest-django, whose fixture `db` it asks for. See `fluxio_django.testing.InlineRuns`.
    """
    from fluxio_django.testing import InlineRuns

    with InlineRuns() as runs:
        yield runs


@pytest.fixture
def fluxio_clock() -> Iterator[ManualClock]:
    """The clock of everything that fluxio does in this test; `advance(seconds)` moves it.

    In a Django project the database's clock moves along (`fluxio_django.testing.DurableClock`).
    """
    with _durable_clock() if _is_django_ready() else _plain_clock() as clock:
        yield clock


def _is_django_ready() -> bool:
    try:
        from django.apps import apps
    except ImportError:
        return False
    return apps.ready and apps.is_installed("fluxio_django")


def _durable_clock() -> AbstractContextManager[ManualClock]:
    from fluxio_django.testing import DurableClock

    return DurableClock()


@contextmanager
def _plain_clock() -> Iterator[ManualClock]:
    from fluxio.runtime import environment
    from fluxio.testing.clock import ManualClock

    before = environment.default_environment()
    clock = ManualClock(auto_advance=True)
    environment.set_default_environment(replace(before, clock=clock))
    try:
        yield clock
    finally:
        environment.set_default_environment(before)
