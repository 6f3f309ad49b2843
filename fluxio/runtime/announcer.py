"""Words for what the driver did: builds the events of one execution and publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluxio.context import Context
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
from fluxio.nodes import ForkMode
from fluxio.program import Call, CompiledPipeline, Fork
from fluxio.runtime.outcomes import Failed, Succeeded
from fluxio.runtime.publisher import Publisher
from fluxio.store.base import Commit, RowKind
from fluxio.types import RunStatus


class Announcer:
    """Publishes events about one run; does nothing where nobody listens."""

    def __init__(self, run_id: str, program: CompiledPipeline, publisher: Publisher) -> None:
        self._run = {"run_id": run_id, "pipeline": program.name}
        self._program = program
        self._publisher = publisher
        self.active = publisher.active

    def started(self, context: Context, attempt: int, resumed: bool) -> None:
        """The execution begins."""
        if self.active:
            self._publisher.publish(
                PipelineStarted(
                    **self._run,
                    context=context,
                    version=self._program.version,
                    attempt=attempt,
                    resumed=resumed,
                )
            )

    async def ended(
        self, context: Context, status: RunStatus, duration: float, error: BaseException | None
    ) -> None:
        """The execution is over; returns when every callback has heard all it will."""
        if self.active:
            self._publisher.publish(
                PipelineEnded(
                    **self._run, context=context, status=status, duration=duration, error=error
                )
            )
            await self._publisher.close()

    def step_started(self, call: Call, context: Context) -> None:
        """A stage is about to run."""
        if self.active:
            self._publisher.publish(StepStarted(**self._about(call), context=context))

    def chunk(self, call: Call, chunk: Any, index: int) -> None:
        """A STREAM stage yielded."""
        if self.active:
            self._publisher.publish(StepStreamed(**self._about(call), chunk=chunk, index=index))

    def succeeded(self, outcome: Succeeded, context: Context) -> None:
        """A step is durable; `context` is that of its lane afterwards."""
        if not self.active:
            return
        about = self._about(self._call(outcome.ip))
        self._publisher.publish(
            StepEnded(**about, context=context, tries=outcome.tries, duration=outcome.duration)
        )
        if outcome.route is not None:
            self._publisher.publish(RouteTaken(**about, route=outcome.route))

    def failed(self, failure: Failed, context: Context, *, fatal: bool) -> None:
        """A step failed for good. A merge conflict is told under the key of its Parallel."""
        if not self.active:
            return
        at = self._program.instructions[failure.ip]
        self._publisher.publish(
            StepFailed(
                **self._run,
                step=at.key,
                stage=at.stage.name if isinstance(at, Call) else at.key,
                branch=self._program.lanes[at.lane].path,
                context=context,
                error=failure.error,
                tries=failure.tries,
                fatal=fatal,
            )
        )

    def committed(self, commit: Commit) -> None:
        """Rows are durable."""
        if self.active:
            for row in commit.rows:
                self._publisher.publish(
                    CheckpointSaved(
                        **self._run,
                        sequence=row.sequence,
                        step=row.step or None,
                        size=row.size,
                        error=row.kind is RowKind.ERROR,
                    )
                )

    def opened(self, forks: Sequence[int]) -> None:
        """Parallels opened their branches."""
        if not self.active:
            return
        for ip in forks:
            fork = self._program.instructions[ip]
            assert isinstance(fork, Fork)
            for branch in fork.branches:
                self._publisher.publish(
                    BranchOpened(
                        **self._run,
                        fork=fork.key,
                        branch=branch.name,
                        background=fork.mode is ForkMode.FIRE_FORGET,
                    )
                )

    def _call(self, ip: int) -> Call:
        call = self._program.instructions[ip]
        assert isinstance(call, Call)
        return call

    def _about(self, call: Call) -> dict[str, Any]:
        branch = self._program.lanes[call.lane].path
        return {**self._run, "step": call.key, "stage": call.stage.name, "branch": branch}
