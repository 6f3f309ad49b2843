"""The checkout, as a pipeline. Its input is `order_id`; everything else is read from the order."""

from decimal import ROUND_HALF_UP, Decimal

from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import timezone

from example_project.orders.models import Country, Order, Product, StockMovement
from example_project.orders.payments import take_money
from fluxio import Context, Parallel, Pipeline, Send, current_step, stage
from fluxio_django import register

TAX = {
    Country.AT: Decimal("0.20"),
    Country.CH: Decimal("0.081"),
    Country.DE: Decimal("0.19"),
    Country.FR: Decimal("0.20"),
}
CENT = Decimal("0.01")
SUSPICIOUS_SCORE = 60


class OutOfStockError(Exception):
    """Others were faster."""


@stage(transactional=True)
def reserve_stock(ctx: Context) -> Context:
    """Take the goods from the shelf: together with the checkpoint, or not at all."""
    order = Order.objects.select_related("product").get(pk=ctx["order_id"])
    taken = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity).update(
        stock=F("stock") - order.quantity
    )
    if not taken:
        raise OutOfStockError(
            f"There are no {order.quantity} pieces of {order.product} left for order {order.pk}."
        )
    StockMovement.objects.create(product=order.product, order=order, quantity=-order.quantity)
    return ctx.set("subtotal", order.subtotal)


@stage
async def check_fraud(ctx: Context) -> Context:
    """Give the order a score from 0 (fine) to 100."""
    order = await Order.objects.aget(pk=ctx["order_id"])
    score = 40 if order.quantity >= 10 else 0
    score += 40 if ctx["subtotal"] >= 1000 else 0
    score += 20 if order.email.endswith(".invalid") else 0
    return ctx.set("fraud_score", score)


@stage
async def quote_tax(ctx: Context) -> Context:
    """Ask what the state wants."""
    order = await Order.objects.aget(pk=ctx["order_id"])
    tax = ctx["subtotal"] * TAX[Country(order.country)]
    return ctx.set("tax", tax.quantize(CENT, ROUND_HALF_UP))


@stage
async def choose_handling(ctx: Context) -> Send:
    """Look at suspicious orders before they leave, and hurry where it was asked for."""
    order = await Order.objects.aget(pk=ctx["order_id"])
    if ctx["fraud_score"] >= SUSPICIOUS_SCORE:
        return Send("review")
    return Send("express" if order.express else "standard")


@stage
def book_courier(ctx: Context) -> Context:
    """It leaves today."""
    return ctx.update({"handling": "courier", "shipping": Decimal("14.90")})


@stage
def book_parcel(ctx: Context) -> Context:
    """It leaves with the next collection."""
    return ctx.update({"handling": "parcel", "shipping": Decimal("4.90")})


@stage
def hold_back(ctx: Context) -> Context:
    """It is paid for, but leaves only after somebody looked at it."""
    return ctx.update({"handling": "held for review", "shipping": Decimal("4.90")})


@stage
def charge(ctx: Context) -> Context:
    """Take the money; asking twice with the same key takes it once."""
    order = Order.objects.get(pk=ctx["order_id"])
    payment = take_money(
        key=current_step().idempotency_key,
        reference=order.run_id,
        amount=ctx["subtotal"] + ctx["tax"] + ctx["shipping"],
        card=order.card,
    )
    return ctx.update({"total": payment.amount, "paid_at": payment.taken_at})


@stage
def notify(ctx: Context) -> Context:
    """Note the result in the order and write to the customer."""
    orders = Order.objects.filter(pk=ctx["order_id"])
    orders.update(handling=ctx["handling"], total=ctx["total"], paid_at=ctx["paid_at"])
    order = orders.select_related("product").get()
    EmailMessage(
        subject=f"Your {order}",
        body=f"Thank you. We took {order.total} EUR; delivery: {order.handling}.",
        to=[order.email],
        # A mail that is sent again after a crash is recognised as the same one.
        headers={"Message-ID": f"<{current_step().idempotency_key}@shop.example.com>"},
    ).send()
    return ctx.set("notified_at", timezone.now())


@register("orders.checkout")
def checkout() -> Pipeline:
    """Build the pipeline."""
    return Pipeline(
        [
            reserve_stock,
            Parallel([check_fraud, quote_tax], name="assess"),
            choose_handling,
            {"express": book_courier, "standard": book_parcel, "review": hold_back},
            charge,
            notify,
        ],
        durable=True,
    )
