"""What the runtime takes from its surroundings: time, ids, threads; all injected."""

from __future__ import annotations

import asyncio
import contextvars
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Protocol, TypeVar

from fluxio.redaction import Redaction
from fluxio.surroundings import set_up

Result = TypeVar("Result")


class Clock(Protocol):
    """Time as the runtime sees it."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)


class SyncCaller(Protocol):
    """How plain functions are called from the event loop without blocking it."""

    async def call(self, function: Callable[..., Result], /, *args: Any) -> Result:
        """Call `function(*args)` elsewhere, with the contextvars of the caller."""

    def close(self) -> None:
        """Free the threads; calling again later is allowed."""


class ThreadPoolCaller:
    """Calls plain functions in a pool of threads that is made at first use.

    `max_workers` is the pool's size; None takes the size that `ThreadPoolExecutor` chooses.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    async def call(self, function: Callable[..., Result], /, *args: Any) -> Result:
        """Call `function(*args)` in the pool, with the contextvars of the caller."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor(), context.run, function, *args)

    def close(self) -> None:
        """Wait for the functions in flight and free the threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._max_workers, "fluxio-stage")
            return self._pool


def random_run_id() -> str:
    """A run id of 128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def debugging() -> bool:
    """Whether stages are watched for in-place changes: under pytest, or with FLUXIO_DEBUG=1."""
    return "PYTEST_CURRENT_TEST" in os.environ or os.environ.get("FLUXIO_DEBUG", "0") not in (
        "",
        "0",
    )


Scrub = Callable[[str, Mapping[str, Any]], str]
"""Takes the text of an error and the context it is about; gives the text without secrets."""

default_scrub: Scrub = Redaction().text


Fetch = Callable[[Iterable[Mapping[str, Any]]], None]
"""Takes the contexts that stages, or the caller, are about to get; completes what they refer to."""


def nothing_elsewhere() -> AbstractContextManager[Fetch]:
    """Where contexts hold all they need."""
    return nullcontext(lambda contexts: None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The ports through which the runtime reaches its surroundings.

    `fetching` surrounds the decoding of contexts that will be worked with, on the thread that
    `SyncCaller` chooses; what is only looked at is decoded outside of it. `leave_thread` is called
    at the end of each thread in which a callback was called.
    """

    clock: Clock = field(default_factory=SystemClock)
    new_run_id: Callable[[], str] = random_run_id
    make_caller: Callable[[int | None], SyncCaller] = ThreadPoolCaller
    debugging: Callable[[], bool] = debugging
    lease_seconds: Callable[[], float] = lambda: 30.0
    scrub: Scrub = field(default=default_scrub)
    fetching: Callable[[], AbstractContextManager[Fetch]] = nothing_elsewhere
    leave_thread: Callable[[], None] = lambda: None


_default = Environment()


def default_environment() -> Environment:
    """The environment of pipelines that were given none."""
    set_up()
    return _default


def set_default_environment(environment: Environment) -> None:
    """Choose it, once, while the process starts."""
    global _default
    set_up()  # or it would be replaced by what waits
    _default = environment


class EnvironmentClock:
    """The clock of the default environment, whichever it is at the moment of the call."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return default_environment().clock.now()

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return default_environment().clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await default_environment().clock.sleep(seconds)
