"""What happens in a run, as frozen records that are handed to callbacks and signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluxio.context import Context
from fluxio.types import RunStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class RunEvent:
    """Common to all events: which run of which pipeline."""

    run_id: str
    pipeline: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineStarted(RunEvent):
    """A run begins, or goes on: `resumed` tells which; `attempt` grows with every replay."""

    context: Context
    version: str
    attempt: int
    resumed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineEnded(RunEvent):
    """The one terminal event of an execution; `duration` is in seconds."""

    context: Context
    status: RunStatus
    duration: float
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEvent(RunEvent):
    """Common to the events of one step; `branch` is "" outside of any Parallel."""

    step: str
    stage: str
    branch: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStarted(StepEvent):
    """A stage is about to run, its checkpoint being durable; `context` is what it is given."""

    context: Context


@dataclass(frozen=True, kw_only=True, slots=True)
class StepEnded(StepEvent):
    """A stage succeeded and its result is durable; `duration` is in seconds.

    `context` is what the stage was given plus what it wrote; `context.writes` is just the latter.
    """

    context: Context
    tries: int
    duration: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepStreamed(StepEvent):
    """A STREAM stage yielded `chunk`; `index` counts from 0."""

    chunk: Any
    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BranchOpened(RunEvent):
    """A Parallel opened this branch."""

    fork: str
    branch: str
    background: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteTaken(StepEvent):
    """A router's decision is recorded."""

    route: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFailed(StepEvent):
    """A stage gave up; `fatal` is False for FIRE_FORGET branches, which never fail the run."""

    context: Context
    error: BaseException
    tries: int
    fatal: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSaved(RunEvent):
    """A row of the run's log is durable; `size` is in bytes."""

    sequence: int
    step: str | None
    size: int
    error: bool


Event = (
    PipelineStarted
    | PipelineEnded
    | StepStarted
    | StepEnded
    | StepStreamed
    | BranchOpened
    | RouteTaken
    | StepFailed
    | CheckpointSaved
)
