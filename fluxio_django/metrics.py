"""Gauges of queues and of runs that got stuck, as OpenTelemetry metrics read from the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from django.db import connections

from fluxio.types import RunStatus
from fluxio_django import health, services
from fluxio_django.conf import settings
from fluxio_django.tables import Tables, let_go

_missing: ImportError | None = None
try:
    from opentelemetry import metrics
    from opentelemetry.metrics import CallbackOptions, Observation
except ImportError as error:
    _missing = error


def observe_queues(meter_provider: metrics.MeterProvider | None = None) -> None:
    """Have OpenTelemetry read from the database, at every collection, how the queues stand.

    - `fluxio.queue.runs`, a gauge: runs that wait and that are executed, by `fluxio.queue` and
      `fluxio.run.status` ("queued" or "running").
    - `fluxio.queue.wait`, a gauge of seconds: for how long the run has waited that waits longest,
      of those that a worker may begin with; 0 where none does.
    - `fluxio.runs.lapsed`, a gauge: runs whose worker is gone, and that nobody took over yet.

    Every process that calls it reports the same figures: call it in one, or take the maximum.

    Args:
        meter_provider: where metrics go; None takes the global one, even where it is set later.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """
    if _missing is not None:
        raise ImportError(
            "observe_queues needs OpenTelemetry. "
            "Install it with: pip install 'fluxio-django[opentelemetry]'"
        ) from _missing
    meter = metrics.get_meter("fluxio", meter_provider=meter_provider)
    for name, unit, says, read in (
        ("fluxio.queue.runs", "{run}", "Runs that wait or are executed, by queue.", _runs),
        ("fluxio.queue.wait", "s", "How long a run has waited for a worker at most.", _wait),
        ("fluxio.runs.lapsed", "{run}", "Runs whose worker is gone.", _lapsed),
    ):
        meter.create_observable_gauge(name, [_reading(read)], unit, says)


def _runs() -> Iterator[Observation]:
    for queue in services.queues():
        for status, count in (
            (RunStatus.QUEUED, queue.queued),
            (RunStatus.RUNNING, queue.running),
        ):
            about = {"fluxio.queue": queue.name, "fluxio.run.status": status.value}
            yield Observation(count, about)


def _wait() -> Iterator[Observation]:
    yield Observation(health.oldest_wait(Tables(settings().database)) or 0.0)


def _lapsed() -> Iterator[Observation]:
    yield Observation(health.lapsed_runs(Tables(settings().database)))


def _reading(
    read: Callable[[], Iterable[Observation]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        # The exporter has a thread of its own, whose connections nobody else would close.
        in_use = any(each.connection for each in connections.all(initialized_only=True))
        try:
            return list(read())
        finally:
            if not in_use:
                let_go()

    return observe
