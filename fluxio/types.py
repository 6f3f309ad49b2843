"""Small shared vocabulary: closed sets and aliases that every room may use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fluxio.context import Context
    from fluxio.nodes import Send, Stage


class RunStatus(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"

    @property
    def is_open(self) -> bool:
        """Whether the run still has a worker, or is due to get one."""
        return self in _OPEN

    def can_become(self, other: RunStatus) -> bool:
        """Whether the one transition table allows `self -> other`."""
        return other in _TRANSITIONS[self]


_OPEN = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING})

# Anything may be claimed again (resume, replay, restart), so RUNNING follows every status.
_TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.DEAD}),
    RunStatus.RUNNING: frozenset(RunStatus),
    RunStatus.WAITING: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.SUCCEEDED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.CANCELLED: frozenset({RunStatus.QUEUED, RunStatus.RUNNING}),
    RunStatus.DEAD: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLED}),
}


class OnConflict(StrEnum):
    """What `invoke` does when the run id is already recorded and nobody executes it."""

    RESTART = "restart"
    RESUME = "resume"
    RETURN = "return"
    REJECT = "reject"


Next = Callable[["Context"], Awaitable["Context | Send"]]
"""What a middleware calls to go on: takes the context, gives the result of the stage."""


class StageMiddleware(Protocol):
    """Anything that can stand around a stage attempt."""

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send: ...
