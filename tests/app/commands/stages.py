"""Stages for the tests of the commands; what they do is steered by the context."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from fluxio import Context, Secret, Send, current_step, stage

HOSTILE = "\x1b[31mred\x1b[0m \x07 \u202egnp.exe \udc80"
"""An escape sequence, a bell, a text that runs backwards, a lone surrogate."""


class CardDeclinedError(Exception):
    """The payment failed."""


@stage(version="1")
async def price(ctx: Context) -> Context:
    return ctx.set("total", Decimal("12.50")).set("due", date(2026, 11, 23))


@stage(version="1")
def count(ctx: Context) -> Context:
    for done in range(1, 4):
        current_step().progress(done, 3, "rows")
    return ctx.set("rows", 3)


@stage(version="1")
async def choose(ctx: Context) -> Send:
    return Send("big" if ctx["rows"] > 2 else "small")


@stage(version="1")
async def note(ctx: Context) -> Context:
    return ctx.set("noted", True)


@stage(version="1")
async def keep(ctx: Context) -> Context:
    return ctx.set("password", Secret("hunter2"))


@stage(version="1")
async def speak(ctx: Context) -> Context:
    return ctx.set(HOSTILE, HOSTILE)


class Charge:
    """A stage that fails until it is told to work, and counts its calls."""

    def __init__(self, message: str = "no funds") -> None:
        self.message = message
        self.works = False
        self.calls = 0

    def stage(self) -> Any:
        async def charge(ctx: Context) -> Context:
            self.calls += 1
            if not self.works:
                raise CardDeclinedError(self.message)
            return ctx.set("charged", True)

        return stage(name="charge", version="1")(charge)
