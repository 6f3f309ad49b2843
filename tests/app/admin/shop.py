"""A small shop whose runs the admin's tests look at: its bank can be told to decline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fluxio import Context, Pipeline, stage
from fluxio_django import pipelines, register
from fluxio_django.models import Run
from fluxio_django.services import find_run

CHECKOUT = "shop.checkout"


class CardDeclinedError(Exception):
    """The bank says no."""


@dataclass
class Shop:
    """What the stages ask, and what they did."""

    declines: bool = False
    message: str = "the card ending in 4242 was declined"
    done: list[str] = field(default_factory=list)

    def nodes(self) -> list[object]:
        """The stages of the checkout."""

        @stage(version="1")
        def price(ctx: Context) -> Context:
            self.done.append("price")
            return ctx.set("total", Decimal("12.50") * ctx["quantity"])

        @stage(version="1")
        def charge(ctx: Context) -> Context:
            self.done.append("charge")
            if self.declines:
                raise CardDeclinedError(self.message)
            return ctx.set("receipt", {"amount": ctx["total"], "paid": True})

        @stage(version="1")
        def ship(ctx: Context) -> Context:
            self.done.append("ship")
            return ctx.set("parcel", f"parcel of {ctx['quantity']}")

        return [price, charge, ship]

    def buy(self, run_id: str, **values: object) -> Run:
        """Run a checkout to its end, which is a failure where the bank declines."""
        try:
            pipelines[CHECKOUT].invoke_sync({"quantity": 2, **values}, run_id=run_id)
        except CardDeclinedError:
            assert self.declines
        self.done.clear()
        return find_run(run_id)

    def fail(self, run_id: str, **values: object) -> Run:
        """Run a checkout that the bank declines once."""
        self.declines = True
        run = self.buy(run_id, **values)
        self.declines = False
        return run

    def change_last_stage(self, **options: Any) -> None:
        """Register code of which only the last stage is another one."""

        @stage(version="2")
        def ship(ctx: Context) -> Context:
            return ctx.set("parcel", "another parcel")

        pipelines.remove(CHECKOUT)
        register(CHECKOUT, Pipeline([*self.nodes()[:2], ship], durable=True, **options))

    def change_code(self) -> None:
        """Register other code under the same name, as a deployment would."""

        @stage(version="2")
        def price(ctx: Context) -> Context:
            return ctx.set("total", 1)

        pipelines.remove(CHECKOUT)
        register(CHECKOUT, Pipeline([price, *self.nodes()[2:]], durable=True))


@contextmanager
def open_shop() -> Iterator[Shop]:
    """A shop whose pipeline is registered as long as it is open."""
    shop = Shop()
    register(CHECKOUT, Pipeline(shop.nodes(), durable=True))
    try:
        yield shop
    finally:
        pipelines.remove(CHECKOUT)
