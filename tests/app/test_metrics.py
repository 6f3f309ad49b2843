"""Gauges of the queues come from the database, in whichever thread they are collected."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import override_settings
from django.utils import timezone

from fluxio_django.models import Run

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from fluxio_django.metrics import observe_queues


@pytest.fixture
def reader(database: str) -> Iterator[InMemoryMetricReader]:
    found = InMemoryMetricReader()
    provider = MeterProvider([found])
    observe_queues(provider)
    with override_settings(FLUXIO={"DATABASE": database, "QUEUES": ["default", "slow"]}):
        yield found
    provider.shutdown()


def gauges(reader: InMemoryMetricReader) -> dict[tuple[str, ...], Any]:
    """The value of each series, by the name of its metric and its attributes."""
    data = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ()
    return {
        (metric.name, *map(str, dict(point.attributes).values())): getattr(point, "value", None)
        for metric in metrics
        for point in metric.data.data_points
    }


def test_they_say_what_waits_what_runs_and_what_got_stuck(
    reader: InMemoryMetricReader, database: str
) -> None:
    now = timezone.now()
    for number in range(3):
        Run.objects.using(database).create(
            run_id=f"q{number}", pipeline="p", available_at=now - timedelta(seconds=100 * number)
        )
    for run_id, lease in (("alive", 60), ("gone", -60)):
        Run.objects.using(database).create(
            run_id=run_id,
            pipeline="p",
            queue="slow",
            status="running",
            lease_expires_at=now + timedelta(seconds=lease),
        )
    found = gauges(reader)
    assert 200 <= found.pop(("fluxio.queue.wait",)) < 260
    assert found == {
        ("fluxio.queue.runs", "default", "queued"): 3,
        ("fluxio.queue.runs", "default", "running"): 0,
        ("fluxio.queue.runs", "slow", "queued"): 0,
        ("fluxio.queue.runs", "slow", "running"): 2,
        ("fluxio.runs.lapsed",): 1,
    }


def test_a_thread_of_the_exporter_keeps_no_connection(reader: InMemoryMetricReader) -> None:
    def collect() -> list[object]:
        assert gauges(reader)
        return [each for each in connections.all(initialized_only=True) if each.connection]

    with ThreadPoolExecutor(1) as exporter:
        assert exporter.submit(collect).result() == []


def test_a_connection_of_somebody_else_stays_open(
    reader: InMemoryMetricReader, database: str
) -> None:
    connections[database].ensure_connection()
    assert gauges(reader)
    assert connections[database].connection is not None


@pytest.mark.filterwarnings("ignore")
def test_a_database_that_is_away_leaves_gaps_and_breaks_nothing(
    reader: InMemoryMetricReader, database: str
) -> None:
    def fail(*call: object) -> None:
        raise OperationalError("the server is gone")

    with connections[database].execute_wrapper(fail):
        assert gauges(reader) == {}
    assert ("fluxio.runs.lapsed",) in gauges(reader)
