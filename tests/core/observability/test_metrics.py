"""Metrics count runs and steps by pipeline, stage and status, and never by run or value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fluxio import Context, InMemoryStore, Pipeline, RetryPolicy, stage
from fluxio.events import RunEvent
from fluxio.types import RunStatus
from tests.core.observability.story import CANARY, Story, caught, tell

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from fluxio.observability.metrics import MetricsCallback

SHOP = {"fluxio.pipeline": "orders.checkout"}
CHARGE = SHOP | {"fluxio.stage": "charge"}


class Collector:
    """A provider of its own, and what can be read from it."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        self.callback = MetricsCallback(self.provider)

    def metrics(self) -> dict[str, Any]:
        found = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (found.resource_metrics if found is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def counts(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """The attributes and the value of each series: of a histogram, its count."""
        metric = self.metrics().get(name)
        return [
            (dict(point.attributes), getattr(point, "value", getattr(point, "count", None)))
            for point in (metric.data.data_points if metric is not None else ())
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()
    yield collected
    collected.provider.shutdown()


async def test_runs_are_counted_by_pipeline_and_by_how_they_began_and_ended(
    collector: Collector,
) -> None:
    first, second = Story("run-1"), Story("run-2")
    await tell(collector.callback, first.begins(), second.begins())
    await tell(collector.callback, first.ends(), second.ends(RunStatus.FAILED))
    await tell(collector.callback, second.begins(resumed=True), second.ends())
    assert collector.counts("fluxio.runs.started") == [
        (SHOP | {"fluxio.run.resumed": False}, 2),
        (SHOP | {"fluxio.run.resumed": True}, 1),
    ]
    by_status = [
        (SHOP | {"fluxio.run.status": "succeeded"}, 2),
        (SHOP | {"fluxio.run.status": "failed"}, 1),
    ]
    assert collector.counts("fluxio.runs.ended") == by_status
    assert collector.counts("fluxio.run.duration") == by_status


async def test_steps_are_timed_by_stage_in_seconds(collector: Collector) -> None:
    story = Story()
    await tell(collector.callback, story.step_ends(), story.step_ends("fan_out/mail/send"))
    metric = collector.metrics()["fluxio.step.duration"]
    assert metric.unit == "s"
    first = metric.data.data_points[0]
    assert (dict(first.attributes), first.sum) == (CHARGE, 0.25)
    # A quarter of a second is told apart from a tenth and from a minute.
    assert first.explicit_bounds[:2] == (0.005, 0.01)
    assert {0.25, 60} <= set(first.explicit_bounds)


async def test_failures_and_retries_are_counted(collector: Collector) -> None:
    story = Story()
    error = caught(ConnectionError(CANARY))
    await tell(
        collector.callback,
        story.step_ends(tries=1),
        story.step_ends(tries=3),
        story.step_fails(error, tries=2),
        story.step_fails(error, tries=1, fatal=False),
    )
    about = CHARGE | {"error.type": "ConnectionError"}
    assert collector.counts("fluxio.steps.failed") == [
        (about | {"fluxio.step.fatal": True}, 1),
        (about | {"fluxio.step.fatal": False}, 1),
    ]
    assert collector.counts("fluxio.step.retries") == [(CHARGE, 3)]


async def test_checkpoints_are_measured_in_bytes(collector: Collector) -> None:
    await tell(collector.callback, Story().saves(), Story("run-2").saves())
    metric = collector.metrics()["fluxio.checkpoint.size"]
    assert metric.unit == "By"
    assert [point.sum for point in metric.data.data_points] == [240]


async def test_no_run_and_no_value_is_in_a_metric(collector: Collector) -> None:
    events: list[RunEvent] = []
    for number in range(3):
        events += Story(f"run-{number}").all()
    await tell(collector.callback, *events)  # type: ignore[arg-type]
    told = repr(collector.metrics())
    assert CANARY not in told
    assert "run-" not in told


async def test_a_real_run_is_measured_over_its_crash_and_resume(collector: Collector) -> None:
    broken = [TimeoutError(), TimeoutError()]

    @stage
    async def read(ctx: Context) -> Context:
        return ctx.set("lines", 3)

    @stage(retry=RetryPolicy(max_attempts=2, base_delay=0.0))
    async def send(ctx: Context) -> Context:
        if broken:
            raise broken.pop()
        return ctx.set("sent", True)

    pipeline = Pipeline(
        [read, send],
        name="orders.checkout",
        callbacks=[collector.callback],
        checkpoint_store=InMemoryStore(),
        durable=True,
    )
    async with pipeline:
        with pytest.raises(TimeoutError):
            await pipeline.invoke({}, run_id="run-1")
        await pipeline.invoke({}, run_id="run-1", resume=True)
    assert dict(map(repr_of, collector.counts("fluxio.runs.ended"))) == {
        "failed": 1,
        "succeeded": 1,
    }
    assert collector.counts("fluxio.step.retries") == [(SHOP | {"fluxio.stage": "send"}, 1)]
    assert [about["fluxio.stage"] for about, _ in collector.counts("fluxio.step.duration")] == [
        "read",
        "send",
    ]


def repr_of(series: tuple[dict[str, Any], float]) -> tuple[str, float]:
    about, value = series
    return about["fluxio.run.status"], value
