"""What the tests of middleware share: a clock that remembers its sleepers, and a way to call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fluxio.context import Context
from fluxio.nodes import Send, Stage
from fluxio.runtime.middleware import Middleware
from fluxio.runtime.step import Step, enter_step, leave_step
from fluxio.testing.clock import ManualClock
from fluxio.types import Next


class SleepingClock(ManualClock):
    """A clock that moves on by itself when somebody sleeps, and remembers for how long."""

    def __init__(self) -> None:
        super().__init__(auto_advance=True)
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await super().sleep(seconds)


async def settle() -> None:
    """Let every task go on as far as it can without time passing."""
    for _ in range(30):
        await asyncio.sleep(0)


async def call(
    middleware: Middleware,
    stage: Stage,
    values: Mapping[str, Any] | Context,
    *,
    next: Next | None = None,
    step: Step | None = None,
) -> Context | Send:
    """Call a stage through one middleware, as the runtime does: inside of a step."""
    here = step or Step(run_id="run", key=stage.name, pipeline="orders", version="v1")
    context = values if isinstance(values, Context) else Context.create(values)
    token = enter_step(here)
    try:
        return await middleware(stage, context, next or stage.function)
    finally:
        leave_step(token)
