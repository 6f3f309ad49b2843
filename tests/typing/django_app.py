"""What type checkers see of `fluxio_django` in the code of users; never executed."""

from collections.abc import Iterator
from typing import Any, assert_type

from django.http import HttpRequest, JsonResponse
from django.test import TestCase

from fluxio import Context, FinalContext, Pipeline, RunStatus, stage
from fluxio.runtime.history import HistoryEntry
from fluxio.testing.survivals import Survival
from fluxio_django import DjangoStore, Limits, pipelines, register
from fluxio_django.handles import RunHandle
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.testing import (
    DurableClock,
    InlineRuns,
    PipelineTestMixin,
    every_crash_sync,
    recorded,
)


@stage(transactional=True)
def reserve(ctx: Context) -> Context:
    return ctx.set("reserved", True)


@register("orders.checkout")
def checkout() -> Pipeline:
    return Pipeline([reserve], durable=True)


@register("orders.limited", limits=Limits(priority=5))
def limited() -> Pipeline:
    return Pipeline([reserve], durable=True, checkpoint_store=DjangoStore(using="default"))


assert_type(register("orders.given", Pipeline([reserve])), Pipeline)
assert_type(checkout(), Pipeline)
assert_type(pipelines["orders.checkout"], DjangoPipeline)
assert_type("orders.checkout" in pipelines, bool)
assert_type(pipelines.names(), list[str])


def view(request: HttpRequest) -> JsonResponse:
    pipeline = pipelines["orders.checkout"]
    order = pipeline.invoke_sync({"sku": "A1"}, run_id="order-42")
    assert_type(order, FinalContext)
    assert_type(pipeline.resume_sync("order-42"), FinalContext)
    assert_type(pipeline.history_sync("order-42"), list[HistoryEntry])
    for chunk in pipeline.stream_sync({"sku": "A1"}, resume=False):
        assert_type(chunk, Any)
    handle = pipeline.enqueue_sync({"sku": "A1"}, "order-43", countdown=60, priority=1)
    assert_type(handle, RunHandle)
    assert_type(handle.status(), RunStatus)
    assert_type(handle.result(timeout=1), FinalContext)
    return JsonResponse({"receipt": order["receipt"]})


async def async_view(request: HttpRequest) -> JsonResponse:
    order = await pipelines["orders.checkout"].invoke({"sku": "A1"})
    handle = await pipelines["orders.checkout"].enqueue({"sku": "A1"})
    assert_type(await handle.astatus(), RunStatus)
    assert_type(await handle.aresult(), FinalContext)
    return JsonResponse({"run": order.run_id})


class CheckoutTests(PipelineTestMixin, TestCase):
    def test_it(self) -> None:
        assert_type(self.inline, InlineRuns)
        assert_type(self.clock, DurableClock)
        assert_type(self.every_crash(pipelines["orders.checkout"]), Iterator[Survival])
        self.recorded("order-42").assert_steps("reserve")


def test_it(fluxio_inline: InlineRuns, fluxio_clock: DurableClock) -> None:
    fluxio_clock.advance(60)
    fluxio_inline.sweep()
    for survival in every_crash_sync(pipelines["orders.checkout"], {"sku": "A1"}):
        assert_type(survival.final, FinalContext)
    assert_type(recorded("order-42").steps, list[str])
