"""Tries a stage again after an error that may pass."""

from __future__ import annotations

import logging
import random as randomness
from collections.abc import Callable
from typing import assert_never

from fluxio.context import Context
from fluxio.errors import (
    CheckpointVersionError,
    CircuitOpenError,
    CompilationError,
    ConfigurationError,
    CorruptCheckpointError,
    EncodingError,
    LeaseLostError,
    MutationError,
    RoutingError,
    StageResultError,
    StoreError,
    ValidationError,
)
from fluxio.nodes import Backoff, NodeType, RetryPolicy, Send, Stage
from fluxio.runtime.environment import Clock, EnvironmentClock
from fluxio.runtime.middleware.base import Middleware
from fluxio.types import Next

logger = logging.getLogger(__name__)

PERMANENT_ERRORS: tuple[type[Exception], ...] = (
    CheckpointVersionError,
    CircuitOpenError,
    CompilationError,
    ConfigurationError,
    CorruptCheckpointError,
    EncodingError,
    LeaseLostError,
    MutationError,
    RoutingError,
    StageResultError,
    ValidationError,
)
"""Errors that tell of the code, the set-up or the run itself, so that another try is in vain."""

# Beyond this the wait is longer than any run, and a float would overflow later on.
_MOST_DOUBLINGS = 60


class RetryMiddleware(Middleware):
    """Tries a stage up to `max_attempts` times, waiting longer and longer in between.

    Each try is a step's own attempt: `current_step().attempt` counts it, the history records the
    number, and the stage's `timeout` starts anew. The last error is raised as it is. STREAM stages
    are not tried again, since their chunks are with the consumer already, nor are transactional
    ones whose store failed, since they may have been committed: a resume finds out.

    Args:
        max_attempts: tries in all, at least 1.
        backoff: how the waits grow, see `RetryPolicy`.
        base_delay: seconds before the second try.
        exceptions: the errors that are worth another try. `PERMANENT_ERRORS` are not, unless they
            are named here themselves. Cancellation never is.
        retry_if: has the last word on an error that is an instance of `exceptions`.
        clock: where the waits are spent.
        random: gives numbers from 0 to 1, for "jitter".

    Raises:
        TypeError, ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        backoff: Backoff = "exponential",
        base_delay: float = 0.1,
        exceptions: tuple[type[Exception], ...] = (Exception,),
        *,
        retry_if: Callable[[Exception], bool] | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.policy = RetryPolicy(
            max_attempts=max_attempts,
            backoff=backoff,
            base_delay=base_delay,
            exceptions=_kinds(exceptions),
            retry_if=retry_if,
        )
        self._clock = clock or EnvironmentClock()
        self._random = random
        self._asked_for = tuple(
            kind for kind in self.policy.exceptions if issubclass(kind, PERMANENT_ERRORS)
        )

    @classmethod
    def from_policy(
        cls,
        policy: RetryPolicy,
        *,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> RetryMiddleware:
        """The middleware that follows a policy, as `@stage(retry=...)` has one."""
        return cls(
            max_attempts=policy.max_attempts,
            backoff=policy.backoff,
            base_delay=policy.base_delay,
            exceptions=policy.exceptions,
            retry_if=policy.retry_if,
            clock=clock,
            random=random,
        )

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        """Give the result of the first try that succeeds, or raise the error of the last one."""
        if stage.node_type is NodeType.STREAM:
            return await next(ctx)
        for attempt in range(1, self.policy.max_attempts):
            try:
                return await next(ctx)
            except Exception as error:
                in_doubt = stage.transactional and isinstance(error, StoreError)
                if in_doubt or not self._is_worth_another_try(error):
                    raise
                delay = self._delay(attempt)
                logger.info(
                    "Try %d of %d of stage %r failed with %s; the next one is in %.3g s.",
                    attempt,
                    self.policy.max_attempts,
                    stage.name,
                    type(error).__name__,
                    delay,
                )
            # Outside of `except`, so that a waiting run does not keep the error's frames alive.
            await self._clock.sleep(delay)
        return await next(ctx)

    def _is_worth_another_try(self, error: Exception) -> bool:
        if not isinstance(error, self.policy.exceptions):
            return False
        if self.policy.retry_if is not None:
            return self.policy.retry_if(error)
        return isinstance(error, self._asked_for) or not isinstance(error, PERMANENT_ERRORS)

    def _delay(self, attempt: int) -> float:
        """Seconds to wait after the failed try with this number, counted from 1."""
        doubled = self.policy.base_delay * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS)
        match self.policy.backoff:
            case "fixed":
                return self.policy.base_delay
            case "exponential":
                return doubled
            case "jitter":
                return self._random() * doubled
            case unknown:
                assert_never(unknown)


def _kinds(exceptions: object) -> tuple[type[Exception], ...]:
    kinds = exceptions if isinstance(exceptions, tuple) else (exceptions,)
    if all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        return kinds
    raise TypeError(
        f"exceptions is a tuple of Exception classes, e.g. (OSError,); {exceptions!r} is not. "
        "Cancellation and exits are never retried."
    )
