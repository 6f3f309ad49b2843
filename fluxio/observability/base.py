"""The hooks that watch a run; each does nothing until it is overridden."""

from __future__ import annotations

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


class BaseCallback:
    """Watches runs. Override any hook, as `async def` or as plain `def`.

    Hooks are called in order, beside the run: they may raise, hang or be slow without changing it.
    A failure is logged. A hook that takes longer than `timeout` seconds is given up.
    """

    timeout: float = 5.0

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """A run begins, or goes on after a resume or replay."""

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """The run ended: once per execution, whatever the outcome."""

    async def on_step_start(self, event: StepStarted) -> None:
        """A stage is about to run."""

    async def on_step_end(self, event: StepEnded) -> None:
        """A stage succeeded and its checkpoint is durable."""

    async def on_step_stream(self, event: StepStreamed) -> None:
        """A STREAM stage yielded a chunk."""

    async def on_branch(self, event: BranchOpened) -> None:
        """A branch of a Parallel was opened."""

    async def on_route(self, event: RouteTaken) -> None:
        """A router's decision is durable."""

    async def on_error(self, event: StepFailed) -> None:
        """A stage failed for good; its error checkpoint is durable."""

    async def on_checkpoint(self, event: CheckpointSaved) -> None:
        """A row of the log is durable."""
