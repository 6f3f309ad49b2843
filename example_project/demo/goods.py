"""Fills the shop, so that there is something to look at."""

from contextlib import suppress
from decimal import Decimal

from example_project.orders.models import Card, Country, Order, Product
from example_project.orders.payments import CardDeclinedError
from fluxio_django import pipelines

PRODUCTS = (
    ("Atlas of airports", "28,282 of them, on 1,100 pages.", "79.00", 40),
    ("Windsock", "Orange and white, 90 cm, to be seen from afar.", "34.50", 25),
    ("Chocks", "A pair, of rubber, for wheels up to 50 cm.", "18.90", 60),
    ("Model of a tail dragger", "Made of lime wood, unpainted.", "129.00", 12),
)

# Product, quantity, express, card: a parcel, a courier, one for review, and one that fails.
ORDERS = (
    ("Windsock", 1, False, Card.GOOD),
    ("Chocks", 2, True, Card.GOOD),
    ("Model of a tail dragger", 10, False, Card.GOOD),
    ("Atlas of airports", 1, False, Card.DECLINED),
)


def fill_the_shop() -> None:
    """Add the products that are missing and, in a new shop, a few orders: the last one fails."""
    for name, description, price, stock in PRODUCTS:
        Product.objects.get_or_create(
            name=name,
            defaults={"description": description, "price": Decimal(price), "stock": stock},
        )
    if not Order.objects.exists():
        for order in ORDERS:
            _place(*order)


def _place(name: str, quantity: int, express: bool, card: Card) -> None:
    order = Order.objects.create(
        product=Product.objects.get(name=name),
        quantity=quantity,
        express=express,
        card=card,
        country=Country.DE,
        email="amelia@example.com",
    )
    with suppress(CardDeclinedError):
        pipelines["orders.checkout"].invoke_sync({"order_id": order.pk}, run_id=order.run_id)
