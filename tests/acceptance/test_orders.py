"""The shop keeps its promises: views start checkouts, and a failed one goes on where it stopped."""

import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core import mail
from django.test import AsyncClient, Client, override_settings

from example_project.orders import pipelines as checkout
from example_project.orders.models import Card, Order, Payment, Product, StockMovement
from example_project.orders.payments import take_money
from fluxio.types import RunStatus
from fluxio_django import pipelines, services
from fluxio_django.models import Run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("example_project.urls"),
]


@pytest.fixture
def atlas() -> Product:
    """A product with ten pieces in stock."""
    return Product.objects.create(name="Atlas", price=Decimal("100.00"), stock=10)


def order_form(product: Product, **changes: Any) -> dict[str, Any]:
    """What the order form sends."""
    form = {
        "product": product.pk,
        "quantity": 2,
        "email": "ada@example.com",
        "country": "DE",
        "card": Card.GOOD,
    }
    return form | changes


def only_run() -> Run:
    """The one run there is."""
    return Run.objects.get()


def steps_of(run_id: str) -> list[str]:
    """The steps that a run recorded as done, in their order."""
    return [entry.step for entry in services.history(run_id) if entry.kind == "step"]


def link_in(page: str, *, to: str) -> str:
    """The address of the first link on a page that leads to such a place."""
    found = re.search(rf'href="([^"]*{to}[^"]*)"', page)
    assert found is not None, f"no link to {to}"
    return unescape(found[1])


def submit(client: Client, address: str, **typed: str) -> None:
    """Submit a page's form, with the values it hides."""
    page = client.get(address).content.decode()
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    hidden_values = {name: unescape(value) for name, value in hidden}
    answer = client.post(address, {**hidden_values, **typed})
    assert answer.status_code == 302


def assert_paid_once(order: Order, total: str) -> None:
    order.refresh_from_db()
    assert order.total == Decimal(total)
    assert [payment.amount for payment in Payment.objects.all()] == [Decimal(total)]
    assert [movement.quantity for movement in StockMovement.objects.all()] == [-order.quantity]
    assert [message.to for message in mail.outbox] == [[order.email]]
    assert only_run().status == RunStatus.SUCCEEDED


def test_an_order_placed_in_a_sync_view_is_checked_out(client: Client, atlas: Product) -> None:
    answer = client.post("/orders/", order_form(atlas), follow=True)

    assert_paid_once(Order.objects.get(), "242.90")
    assert "242.90 EUR" in answer.content.decode()
    atlas.refresh_from_db()
    assert atlas.stock == 8


async def test_an_order_placed_in_an_async_view_is_checked_out(
    async_client: AsyncClient, atlas: Product
) -> None:
    answer = await async_client.post("/orders/async/", order_form(atlas))

    order = await Order.objects.aget()
    assert (answer.status_code, answer["Location"]) == (302, order.get_absolute_url())
    assert await Payment.objects.acount() == 1
    assert (await Run.objects.aget()).status == RunStatus.SUCCEEDED


@pytest.mark.parametrize("address", ["/orders/", "/orders/async/"])
def test_a_form_that_makes_no_sense_starts_no_run(
    client: Client, atlas: Product, address: str
) -> None:
    answer = client.post(address, order_form(atlas, quantity=11))

    assert answer.status_code == 422
    assert "Only 10 of these are left." in answer.content.decode()
    assert not Order.objects.exists()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("changes", "handling"),
    [
        ({"express": "on"}, "courier"),
        ({}, "parcel"),
        ({"quantity": 10, "express": "on"}, "held for review"),
    ],
)
def test_an_order_takes_the_route_it_deserves(
    client: Client, atlas: Product, changes: dict[str, Any], handling: str
) -> None:
    client.post("/orders/", order_form(atlas, **changes))

    assert Order.objects.get().handling == handling


def test_a_declined_card_leaves_a_failed_run_that_charges_once_when_it_is_resumed(
    client: Client, atlas: Product
) -> None:
    client.post("/orders/", order_form(atlas, card=Card.DECLINED))
    order = Order.objects.get()
    page = client.get(order.get_absolute_url()).content.decode()
    before = steps_of(order.run_id)

    assert only_run().status == RunStatus.FAILED
    assert "was declined" in page
    assert not Payment.objects.exists()

    client.post(f"/orders/{order.pk}/card/", {"card": Card.GOOD})
    services.resume(order.run_id)

    assert_paid_once(order, "242.90")
    assert steps_of(order.run_id) == [*before, "charge", "notify"]


def test_a_run_that_failed_is_resumed_from_the_admin(admin_client: Client, atlas: Product) -> None:
    admin_client.post("/orders/", order_form(atlas, card=Card.DECLINED))
    order = Order.objects.get()
    admin_client.post(f"/orders/{order.pk}/card/", {"card": Card.GOOD})

    order_page = admin_client.get(order.get_absolute_url()).content.decode()
    run_page = admin_client.get(link_in(order_page, to="/change/")).content.decode()
    address = link_in(run_page, to="/resume/")
    with override_settings(FLUXIO={"DISPATCHER": "eager"}):
        submit(admin_client, address, reason="The customer gave another card.")

    assert_paid_once(order, "242.90")


def test_a_declined_card_fails_the_run_in_an_async_view_too(client: Client, atlas: Product) -> None:
    client.post("/orders/async/", order_form(atlas, card=Card.DECLINED))

    assert only_run().status == RunStatus.FAILED
    assert not Payment.objects.exists()


def test_money_is_taken_once_when_the_shop_crashes_right_after_it_was_taken(
    client: Client, atlas: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_money_and_crash(**facts: Any) -> Payment:
        take_money(**facts)
        raise ConnectionResetError("the answer of the provider was lost")

    with monkeypatch.context() as patch:
        patch.setattr(checkout, "take_money", take_money_and_crash)
        with pytest.raises(ConnectionResetError):
            client.post("/orders/", order_form(atlas))
    services.resume(only_run().run_id)

    assert_paid_once(Order.objects.get(), "242.90")
    assert Payment.objects.get().requests == 2


def test_stock_never_goes_below_zero(client: Client, atlas: Product) -> None:
    first, second = (
        Order.objects.create(product=atlas, quantity=6, email="ada@example.com") for _ in range(2)
    )
    services.start("orders.checkout", {"order_id": first.pk}, run_id=first.run_id)

    with pytest.raises(checkout.OutOfStockError):
        services.start("orders.checkout", {"order_id": second.pk}, run_id=second.run_id)

    atlas.refresh_from_db()
    assert atlas.stock == 4
    assert [movement.order for movement in StockMovement.objects.all()] == [first]


def test_one_order_is_never_checked_out_twice(atlas: Product) -> None:
    order = Order.objects.create(product=atlas, quantity=1, email="ada@example.com")
    for _ in range(2):
        pipelines["orders.checkout"].invoke_sync(
            {"order_id": order.pk}, run_id=order.run_id, on_conflict="return"
        )

    assert_paid_once(order, "123.90")
