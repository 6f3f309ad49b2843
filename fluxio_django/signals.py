"""Signals that tell a project what happens to runs, after it is durable."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.dispatch import Signal

from fluxio.events import PipelineEnded, PipelineStarted, StepEnded, StepFailed
from fluxio.observability.base import BaseCallback
from fluxio.types import RunStatus

logger = logging.getLogger("fluxio.signals")

run_started = Signal()
"""A run begins or goes on: `run_id, pipeline, attempt, resumed`."""

run_finished = Signal()
"""An execution is over, however it ended: `run_id, pipeline, status, duration, error`.

`status` is one of succeeded, failed, cancelled and dead, or running where the execution lost its
run to another one; `duration` is in seconds, None for a run that ended while nobody executed it,
and `error` the exception, None where there was none or where it is not at hand.
"""

run_failed = Signal()
"""After `run_finished`, with the same arguments, when a run failed or was given up."""

step_finished = Signal()
"""A step succeeded: `run_id, pipeline, step, duration, tries`."""

step_failed = Signal()
"""A step failed for good: `run_id, pipeline, step, error, tries, fatal`."""

SIGNALS = (run_started, run_finished, run_failed, step_finished, step_failed)


def anybody_listens() -> bool:
    """Whether a receiver is connected to any of the signals; runs are not slowed down otherwise."""
    return any(signal.receivers for signal in SIGNALS)


def send(signal: Signal, **facts: Any) -> None:
    """Send a signal from code that is not async; a receiver that raises is logged, and that is all.

    The sender is the model `Run`, as it is wherever a signal of ours comes from.
    """
    if signal.receivers:
        signal.send_robust(sender=_sender(), **facts)


def send_ended(run_id: str, pipeline: str, status: RunStatus) -> None:
    """Tell that a run ended while nobody executed it."""
    facts = {"run_id": run_id, "pipeline": pipeline, "status": status}
    send(run_finished, **facts, duration=None, error=None)
    if status in (RunStatus.FAILED, RunStatus.DEAD):
        send(run_failed, **facts, duration=None, error=None)


class SignalSender(BaseCallback):
    """Turns the events of an execution into signals.

    Plain receivers are called where Django's connections live, async ones in the event loop.
    """

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Send `run_started`."""
        await self._send(
            run_started,
            run_id=event.run_id,
            pipeline=event.pipeline,
            attempt=event.attempt,
            resumed=event.resumed,
        )

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Send `run_finished`, and `run_failed` after it."""
        facts = {
            "run_id": event.run_id,
            "pipeline": event.pipeline,
            "status": event.status,
            "duration": event.duration,
            "error": event.error,
        }
        await self._send(run_finished, **facts)
        if event.status is RunStatus.FAILED:
            await self._send(run_failed, **facts)

    async def on_step_end(self, event: StepEnded) -> None:
        """Send `step_finished`."""
        await self._send(
            step_finished,
            run_id=event.run_id,
            pipeline=event.pipeline,
            step=event.step,
            duration=event.duration,
            tries=event.tries,
        )

    async def on_error(self, event: StepFailed) -> None:
        """Send `step_failed`."""
        await self._send(
            step_failed,
            run_id=event.run_id,
            pipeline=event.pipeline,
            step=event.step,
            error=event.error,
            tries=event.tries,
            fatal=event.fatal,
        )

    async def _send(self, signal: Signal, **facts: Any) -> None:
        if signal.receivers:
            await signal.asend_robust(sender=_sender(), **facts)


def _sender() -> Any:
    return apps.get_model("fluxio_django", "Run")
