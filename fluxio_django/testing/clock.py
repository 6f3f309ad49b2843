"""A clock that tests move by hand, for the runtime and the database alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from django.db import connections

from fluxio.runtime.environment import default_environment, set_default_environment
from fluxio.testing.clock import ManualClock
from fluxio_django.clock import moved
from fluxio_django.conf import settings


class DurableClock(ManualClock):
    """Time for everything that fluxio does on this thread, while the `with` block lasts.

    `advance(3600)` makes leases expire, countdowns end and gates open, since the statements that
    ask the database for the time are told a later one; and whatever waits in the runtime (the pause
    before a retry, a rate limit) goes on. Waiting itself moves the clock, so that a retry with a
    delay of a minute takes no time; `auto_advance=False` leaves all moving to `advance`.

    Args:
        using: the database alias; FLUXIO["DATABASE"] where None.
        auto_advance: whether waiting moves the time.
    """

    def __init__(self, using: str | None = None, *, auto_advance: bool = True) -> None:
        super().__init__(datetime.now(UTC), auto_advance=auto_advance)
        self._using = using
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        before = default_environment()
        self._undo.callback(set_default_environment, before)
        set_default_environment(replace(before, clock=self))
        connection = connections[self._using or settings().database]
        self._undo.enter_context(connection.execute_wrapper(self._execute))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _execute(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        told = moved(sql, self.monotonic(), context["connection"].vendor)
        return execute(told, params, many, context)
