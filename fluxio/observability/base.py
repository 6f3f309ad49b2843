"""The hooks that watch a run; each does nothing until it is overridden."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, TypeAlias

from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    StepEnded,
    StepFailed,
    StepStarted,
    StepStreamed,
)

Heard: TypeAlias = Awaitable[None] | None
"""What a hook returns: an `async def` something to wait for, a plain `def` nothing."""


class _Nothing:
    """Done as soon as it is awaited, so that `await super().on_error(event)` is fine."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_NOTHING = _Nothing()


class BaseCallback:
    """Watches runs. Override any hook, as `async def` or as plain `def`.

    Hooks are called in order, beside the run: they may raise, hang or be slow without changing it.
    A failure is logged. A hook that takes longer than `timeout` seconds is given up.
    """

    timeout: float = 5.0

    def on_pipeline_start(self, event: PipelineStarted) -> Heard:
        """A run begins, or goes on after a resume or replay."""
        return _NOTHING

    def on_pipeline_end(self, event: PipelineEnded) -> Heard:
        """The run ended: once per execution, whatever the outcome."""
        return _NOTHING

    def on_step_start(self, event: StepStarted) -> Heard:
        """A stage is about to run."""
        return _NOTHING

    def on_step_end(self, event: StepEnded) -> Heard:
        """A stage succeeded and its checkpoint is durable."""
        return _NOTHING

    def on_step_stream(self, event: StepStreamed) -> Heard:
        """A STREAM stage yielded a chunk."""
        return _NOTHING

    def on_branch(self, event: BranchOpened) -> Heard:
        """A branch of a Parallel was opened."""
        return _NOTHING

    def on_route(self, event: RouteTaken) -> Heard:
        """A router's decision is durable."""
        return _NOTHING

    def on_error(self, event: StepFailed) -> Heard:
        """A stage failed for good; its error checkpoint is durable."""
        return _NOTHING

    def on_checkpoint(self, event: CheckpointSaved) -> Heard:
        """A row of the log is durable."""
        return _NOTHING
