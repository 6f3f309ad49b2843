"""The pytest plugin: runs `async def` tests where Django's connections and transactions are."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

try:
    from asgiref.sync import async_to_sync
except ImportError:  # pragma: no cover - asgiref comes with Django
    bridge: Callable[..., Callable[..., Any]] | None = None
else:
    bridge = async_to_sync

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
