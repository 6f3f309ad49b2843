"""What the tests of callbacks share: the events of a run, told as the runtime tells them."""

from __future__ import annotations

from typing import Any

from fluxio.context import Context
from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    Event,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    StepEnded,
    StepFailed,
    StepStarted,
    StepStreamed,
)
from fluxio.observability.base import BaseCallback
from fluxio.types import RunStatus

CANARY = "4242-4242"
"""A value of the context, which must not turn up anywhere."""


class Story:
    """Makes the events of one run of "orders.checkout"."""

    def __init__(self, run_id: str = "run-1", pipeline: str = "orders.checkout") -> None:
        self.run: dict[str, Any] = {"run_id": run_id, "pipeline": pipeline}
        self.context = Context.create({"card": CANARY, "order": 7})

    def begins(self, *, resumed: bool = False, attempt: int = 1) -> PipelineStarted:
        return PipelineStarted(
            **self.run, context=self.context, version="abc123", attempt=attempt, resumed=resumed
        )

    def ends(
        self, status: RunStatus = RunStatus.SUCCEEDED, error: BaseException | None = None
    ) -> PipelineEnded:
        return PipelineEnded(
            **self.run, context=self.context, status=status, duration=1.5, error=error
        )

    def step_starts(self, step: str = "charge", branch: str = "") -> StepStarted:
        return StepStarted(**self._step(step, branch), context=self.context)

    def step_ends(self, step: str = "charge", branch: str = "", tries: int = 1) -> StepEnded:
        return StepEnded(
            **self._step(step, branch),
            context=self.context.set("paid", CANARY),
            tries=tries,
            duration=0.25,
        )

    def step_fails(
        self, error: BaseException, step: str = "charge", tries: int = 3, fatal: bool = True
    ) -> StepFailed:
        return StepFailed(
            **self._step(step, ""), context=self.context, error=error, tries=tries, fatal=fatal
        )

    def chunk(self, index: int, step: str = "charge") -> StepStreamed:
        return StepStreamed(**self._step(step, ""), chunk=CANARY, index=index)

    def branches(self, background: bool = False) -> BranchOpened:
        return BranchOpened(**self.run, fork="fan_out", branch="mail", background=background)

    def chooses(self, route: str = "premium", step: str = "charge") -> RouteTaken:
        return RouteTaken(**self._step(step, ""), route=route)

    def saves(self, sequence: int = 1, step: str | None = "charge") -> CheckpointSaved:
        return CheckpointSaved(**self.run, sequence=sequence, step=step, size=120, error=False)

    def all(self) -> list[Event]:
        """One event of each kind, in an order that happens."""
        return [
            self.begins(),
            self.saves(0, None),
            self.step_starts("ask"),
            self.chunk(0, "ask"),
            self.chunk(1, "ask"),
            self.saves(1, "ask"),
            self.step_ends("ask"),
            self.chooses("premium", "ask"),
            self.branches(),
            self.step_starts("charge"),
            self.saves(2, "charge"),
            self.step_fails(caught(ValueError(CANARY)), "charge"),
            self.ends(RunStatus.FAILED, caught(ValueError(CANARY))),
        ]

    def _step(self, step: str, branch: str) -> dict[str, Any]:
        stage = step.rpartition("/")[2].partition("#")[0]
        return {**self.run, "step": step, "stage": stage, "branch": branch}


def caught(error: BaseException) -> BaseException:
    """The error as it is after it was raised somewhere."""
    try:
        raise error
    except BaseException as problem:
        return problem


async def tell(callback: BaseCallback, *events: Event) -> None:
    """Call the hook that belongs to each event."""
    for event in events:
        match event:
            case PipelineStarted():
                await callback.on_pipeline_start(event)
            case PipelineEnded():
                await callback.on_pipeline_end(event)
            case StepStarted():
                await callback.on_step_start(event)
            case StepEnded():
                await callback.on_step_end(event)
            case StepStreamed():
                await callback.on_step_stream(event)
            case BranchOpened():
                await callback.on_branch(event)
            case RouteTaken():
                await callback.on_route(event)
            case StepFailed():
                await callback.on_error(event)
            case CheckpointSaved():
                await callback.on_checkpoint(event)
