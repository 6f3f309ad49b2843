"""Tells the standard library's logging what happens in runs."""

from __future__ import annotations

import logging
from typing import Any

from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    RunEvent,
    StepEnded,
    StepEvent,
    StepFailed,
    StepStarted,
    StepStreamed,
)
from fluxio.observability.base import BaseCallback
from fluxio.types import RunStatus

_LONGEST_ERROR = 1000


class LoggingCallback(BaseCallback):
    """Logs every event of a run: a sentence for people, fields for machines.

    The fields are attributes of the log record, flat and with the prefix `fluxio_`, so that any
    format string can name them and JSON formatters write them out by themselves: `fluxio_event`
    (the class of the event), `fluxio_run_id` and `fluxio_pipeline` always, and where they apply
    `fluxio_step`, `fluxio_stage`, `fluxio_branch`, `fluxio_version`, `fluxio_attempt`,
    `fluxio_resumed`, `fluxio_status`, `fluxio_duration` (seconds), `fluxio_tries`, `fluxio_route`,
    `fluxio_fork`, `fluxio_background`, `fluxio_sequence`, `fluxio_size` (bytes), `fluxio_index`,
    `fluxio_fatal`, `fluxio_error_type` and `fluxio_error`.

    Values of the context are never logged. What an exception says may repeat them, so only its type
    is logged unless `error_messages` is set.

    Args:
        logger: a logger or its name.
        level: for runs, finished steps and routes.
        detail_level: for what comes in numbers: starts of steps, chunks, branches, checkpoints.
        error_level: for failures.
        error_messages: log messages and tracebacks of exceptions too.
    """

    def __init__(
        self,
        logger: logging.Logger | str = "fluxio.runs",
        *,
        level: int = logging.INFO,
        detail_level: int = logging.DEBUG,
        error_level: int = logging.ERROR,
        error_messages: bool = False,
    ) -> None:
        self.logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self.level = level
        self.detail_level = detail_level
        self.error_level = error_level
        self.error_messages = error_messages

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Log that the run begins or goes on."""
        sentence = "Run %s of %s goes on" if event.resumed else "Run %s of %s begins"
        fields = {"version": event.version, "attempt": event.attempt, "resumed": event.resumed}
        self._log(self.level, event, fields, sentence, event.run_id, event.pipeline)

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Log how the run ended."""
        has_failed = event.status in (RunStatus.FAILED, RunStatus.DEAD)
        fields = {"status": str(event.status), "duration": event.duration}
        self._log(
            self.error_level if has_failed else self.level,
            event,
            fields | self._error(event.error),
            "Run %s of %s ended: %s after %.3g s",
            event.run_id,
            event.pipeline,
            event.status,
            event.duration,
        )

    async def on_step_start(self, event: StepStarted) -> None:
        """Log that a stage is about to run."""
        self._log_step(self.detail_level, event, {}, "starts")

    async def on_step_end(self, event: StepEnded) -> None:
        """Log that a stage succeeded, how long it took and how often it was tried."""
        fields = {"duration": event.duration, "tries": event.tries}
        sentence = "succeeded after %.3g s (tries: %d)"
        self._log_step(self.level, event, fields, sentence, event.duration, event.tries)

    async def on_step_stream(self, event: StepStreamed) -> None:
        """Log the number of a chunk, not the chunk."""
        self._log_step(
            self.detail_level, event, {"index": event.index}, "yielded chunk %d", event.index
        )

    async def on_branch(self, event: BranchOpened) -> None:
        """Log that a branch was opened."""
        fields = {"fork": event.fork, "branch": event.branch, "background": event.background}
        sentence = "Run %s: %s opened branch %s"
        self._log(
            self.detail_level, event, fields, sentence, event.run_id, event.fork, event.branch
        )

    async def on_route(self, event: RouteTaken) -> None:
        """Log which route was taken."""
        self._log_step(self.level, event, {"route": event.route}, "chose route %r", event.route)

    async def on_error(self, event: StepFailed) -> None:
        """Log that a stage failed for good, and with which type of error."""
        fields = {"tries": event.tries, "fatal": event.fatal, **self._error(event.error)}
        self._log_step(
            self.error_level,
            event,
            fields,
            "failed with %s (tries: %d)%s",
            type(event.error).__name__,
            event.tries,
            "" if event.fatal else "; the run goes on",
        )

    async def on_checkpoint(self, event: CheckpointSaved) -> None:
        """Log the number and the size of a checkpoint, not what it holds."""
        self._log(
            self.detail_level,
            event,
            {"sequence": event.sequence, "size": event.size, "step": event.step},
            "Run %s: checkpoint %d is durable (%d bytes)",
            event.run_id,
            event.sequence,
            event.size,
        )

    def _log_step(
        self, level: int, event: StepEvent, fields: dict[str, Any], sentence: str, *values: object
    ) -> None:
        where = {"step": event.step, "stage": event.stage, "branch": event.branch}
        full = f"Run %s: step %s {sentence}"
        self._log(level, event, where | fields, full, event.run_id, event.step, *values)

    def _log(
        self, level: int, event: RunEvent, fields: dict[str, Any], sentence: str, *values: object
    ) -> None:
        if not self.logger.isEnabledFor(level):
            return
        known = {"event": type(event).__name__, "run_id": event.run_id, "pipeline": event.pipeline}
        extra = {f"fluxio_{name}": value for name, value in (known | fields).items()}
        error = event.error if isinstance(event, StepFailed) and self.error_messages else None
        self.logger.log(level, sentence, *values, exc_info=error, extra=extra)

    def _error(self, error: BaseException | None) -> dict[str, Any]:
        if error is None:
            return {}
        kind = {"error_type": type(error).__name__}
        return kind | {"error": str(error)[:_LONGEST_ERROR]} if self.error_messages else kind
