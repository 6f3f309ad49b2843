"""The shop's pages. Ordering is there three times: in a sync view, in an async one, and watched."""

from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from example_project.orders.forms import CardForm, OrderForm
from example_project.orders.models import Order, Product
from example_project.orders.payments import CardDeclinedError
from example_project.orders.pipelines import OutOfStockError
from fluxio_django import pipelines, services
from fluxio_django.models import Run
from fluxio_django.views import PipelineFormView

REFUSALS = (CardDeclinedError, OutOfStockError)
"""Failures that belong to business: the run has recorded them, and the order's page shows them."""


@require_GET
def shop(request: HttpRequest) -> HttpResponse:
    """What there is, an order form, and what was ordered."""
    return _shop_page(request, OrderForm())


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Take an order and check it out, in a sync view."""
    form = _taken(request.POST)
    if not form.is_valid():
        return _shop_page(request, form)
    order = form.instance
    with suppress(*REFUSALS):
        pipelines["orders.checkout"].invoke_sync(
            {"order_id": order.pk}, run_id=order.run_id, on_conflict="return"
        )
    return redirect(order)


@require_POST
async def place_order_async(request: HttpRequest) -> HttpResponse:
    """Take an order and check it out, in an async view."""
    form = await sync_to_async(_taken)(request.POST)
    if not form.is_valid():
        return await sync_to_async(_shop_page)(request, form)
    order = form.instance
    with suppress(*REFUSALS):
        await pipelines["orders.checkout"].invoke(
            {"order_id": order.pk}, run_id=order.run_id, on_conflict="return"
        )
    return redirect(order)


class LiveCheckout(PipelineFormView):
    """Take an order and show its checkout while a worker does it."""

    pipeline = "orders.checkout"
    form_class = OrderForm
    base_template = "orders/base.html"
    shows = ("handling", "total")
    refresh_seconds = 1

    def get_run_id(self, form: OrderForm) -> str:
        """Save the order; its run is known by its number."""
        return form.save().run_id

    def initial_context(self, form: OrderForm) -> dict[str, Any]:
        """The order alone; all else is read from it."""
        return {"order_id": form.instance.pk}


@require_GET
def order_page(request: HttpRequest, pk: int) -> HttpResponse:
    """How an order stands: its run, step by step."""
    order = get_object_or_404(Order.objects.select_related("product"), pk=pk)
    run = Run.objects.filter(run_id=order.run_id).first()
    history = services.history(order.run_id) if run is not None else []
    steps = [entry for entry in history if entry.step]
    page = {"order": order, "run": run, "steps": steps, "card_form": CardForm(instance=order)}
    return render(request, "orders/order.html", page)


@require_POST
def change_card(request: HttpRequest, pk: int) -> HttpResponse:
    """Give an unpaid order another card; its run is resumed in the admin."""
    order = get_object_or_404(Order, pk=pk, paid_at=None)
    form = CardForm(request.POST, instance=order)
    if form.is_valid():
        form.save()
    return redirect(order)


def _taken(data: QueryDict) -> OrderForm:
    """The form; saved as a new order when it is valid."""
    form = OrderForm(data)
    if form.is_valid():
        form.save()
    return form


def _shop_page(request: HttpRequest, form: OrderForm) -> HttpResponse:
    orders = Order.objects.select_related("product")[:8]
    runs = Run.objects.in_bulk([order.run_id for order in orders], field_name="run_id")
    page = {
        "form": form,
        "products": Product.objects.all(),
        "orders": [(order, runs.get(order.run_id)) for order in orders],
    }
    return render(request, "orders/shop.html", page, status=422 if form.errors else 200)
