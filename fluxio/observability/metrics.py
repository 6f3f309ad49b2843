"""Counts and times runs and steps as OpenTelemetry metrics, which Prometheus can scrape."""

from __future__ import annotations

from fluxio.events import (
    CheckpointSaved,
    PipelineEnded,
    PipelineStarted,
    StepEnded,
    StepEvent,
    StepFailed,
)
from fluxio.observability.base import BaseCallback

_missing: ImportError | None = None
try:
    from opentelemetry import metrics
except ImportError as error:
    _missing = error

# OpenTelemetry's own boundaries are made for milliseconds; stages take from those to an hour.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_BYTES = tuple(4**power for power in range(4, 13))  # 256 bytes to 16 MiB


class MetricsCallback(BaseCallback):
    """Counts runs and steps and measures how long they take, for dashboards and alerts.

    The instruments, with their units and attributes:

    - `fluxio.runs.started`, a counter: `fluxio.pipeline`, `fluxio.run.resumed`.
    - `fluxio.runs.ended`, a counter: `fluxio.pipeline`, `fluxio.run.status`. An execution that lost
      its run to another one counts as "running".
    - `fluxio.run.duration`, a histogram of seconds per execution: as above.
    - `fluxio.step.duration`, a histogram of seconds, retries included: `fluxio.pipeline`,
      `fluxio.stage`. Steps that succeeded.
    - `fluxio.steps.failed`, a counter: those two, `fluxio.step.fatal` and `error.type`.
    - `fluxio.step.retries`, a counter of tries beyond the first one: `fluxio.pipeline`,
      `fluxio.stage`.
    - `fluxio.checkpoint.size`, a histogram of bytes: `fluxio.pipeline`.

    Run ids and values of the context are never among the attributes, so the number of series stays
    that of the pipelines and stages there are. One object may watch any number of pipelines.

    Args:
        meter_provider: where metrics go; None takes the global one, even where it is set later.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        if _missing is not None:
            raise ImportError(
                "MetricsCallback needs OpenTelemetry. "
                "Install it with: pip install 'fluxio-django[opentelemetry]'"
            ) from _missing
        meter = metrics.get_meter("fluxio", meter_provider=meter_provider)
        self._started = meter.create_counter(
            "fluxio.runs.started", "{run}", "Executions of runs that began or went on."
        )
        self._ended = meter.create_counter(
            "fluxio.runs.ended", "{run}", "Executions of runs that are over, by what the run is."
        )
        self._run_seconds = meter.create_histogram(
            "fluxio.run.duration",
            "s",
            "How long executions of runs took.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._step_seconds = meter.create_histogram(
            "fluxio.step.duration",
            "s",
            "How long steps took that succeeded.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._failed = meter.create_counter(
            "fluxio.steps.failed", "{step}", "Steps that failed for good."
        )
        self._retries = meter.create_counter(
            "fluxio.step.retries", "{try}", "Tries of steps beyond the first one."
        )
        self._bytes = meter.create_histogram(
            "fluxio.checkpoint.size",
            "By",
            "How large the stored rows of runs are.",
            explicit_bucket_boundaries_advisory=_BYTES,
        )

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Count the execution."""
        self._started.add(
            1, {"fluxio.pipeline": event.pipeline, "fluxio.run.resumed": event.resumed}
        )

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Count how it ended, and note how long it took."""
        about = {"fluxio.pipeline": event.pipeline, "fluxio.run.status": event.status.value}
        self._ended.add(1, about)
        self._run_seconds.record(event.duration, about)

    async def on_step_end(self, event: StepEnded) -> None:
        """Note how long the step took."""
        self._step_seconds.record(event.duration, _stage_of(event))
        self._count_retries(event, event.tries)

    async def on_error(self, event: StepFailed) -> None:
        """Count the failure."""
        kind = type(event.error).__qualname__
        about: dict[str, str | bool] = {"fluxio.step.fatal": event.fatal, "error.type": kind}
        self._failed.add(1, _stage_of(event) | about)
        self._count_retries(event, event.tries)

    async def on_checkpoint(self, event: CheckpointSaved) -> None:
        """Note how large the row is."""
        self._bytes.record(event.size, {"fluxio.pipeline": event.pipeline})

    def _count_retries(self, event: StepEvent, tries: int) -> None:
        if tries > 1:
            self._retries.add(tries - 1, _stage_of(event))


def _stage_of(event: StepEvent) -> dict[str, str | bool]:
    return {"fluxio.pipeline": event.pipeline, "fluxio.stage": event.stage}
