"""How long one attempt of a stage may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from fluxio.errors import StageTimeoutError
from fluxio.nodes import NodeType, Stage


class TimeLimit:
    """The time of one attempt.

    That of a plain stage runs once it is called in its thread, which may still be busy with an
    attempt that was given up.
    """

    def __init__(self, stage: Stage, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def hold(self, work: Awaitable[Any]) -> Any:
        """Wait for the work of the attempt.

        Raises:
            StageTimeoutError: the time was over before.
        """
        try:
            async with self._timeout:
                if self._stage.node_type is not NodeType.SYNC:
                    self._start()
                return await work
        except TimeoutError:
            if not self._timeout.expired():
                raise
            raise StageTimeoutError(
                f"Stage {self._stage.name!r} took longer than its timeout of {self._seconds:g} s.",
                stage=self._stage.name,
                timeout=self._seconds,
            ) from None

    def begin(self) -> None:
        """Let the time run, from any thread; once it runs, this changes nothing."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if self._timeout.when() is None:
            with suppress(RuntimeError):  # the attempt is over
                self._timeout.reschedule(self._loop.time() + self._seconds)
