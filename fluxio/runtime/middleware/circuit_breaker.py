"""Stops calling a stage that keeps failing, and lets one call find out whether it works again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol, runtime_checkable

from fluxio.context import Context
from fluxio.errors import CircuitOpenError
from fluxio.nodes import Send, Stage
from fluxio.options import check_number, check_whole_number
from fluxio.runtime.environment import Clock, EnvironmentClock
from fluxio.runtime.middleware.base import Middleware
from fluxio.runtime.middleware.retry import PERMANENT_ERRORS
from fluxio.runtime.step import current_step
from fluxio.types import Next

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerState:
    """What is known about one stage; the empty state is a closed breaker.

    `failures` counts the failures in a row while the breaker is closed. `opened_at` is when it was
    opened, None while it is closed. `probe_at` is when the call started that finds out whether the
    stage works again, None where no such call is on its way. Times are seconds by the clock that
    all who share the state agree on.
    """

    failures: int = 0
    opened_at: float | None = None
    probe_at: float | None = None


CLOSED = BreakerState()


@runtime_checkable
class BreakerBackend(Protocol):
    """Where the state of breakers lives; an unknown key reads as `CLOSED`."""

    async def load(self, key: str) -> BreakerState:
        """The state kept under this key."""

    async def swap(self, key: str, expected: BreakerState, state: BreakerState) -> bool:
        """Keep `state` if the key still has `expected`, atomically; say whether it had."""


class InMemoryBreakerBackend:
    """Breaker states of this process, for all its threads and event loops."""

    def __init__(self) -> None:
        self._states: dict[str, BreakerState] = {}
        self._lock = Lock()

    async def load(self, key: str) -> BreakerState:
        """The state kept under this key."""
        return self._states.get(key, CLOSED)

    async def swap(self, key: str, expected: BreakerState, state: BreakerState) -> bool:
        """Keep `state` if the key still has `expected`."""
        with self._lock:
            if self._states.get(key, CLOSED) != expected:
                return False
            if state == CLOSED:
                self._states.pop(key, None)
            else:
                self._states[key] = state
            return True


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakerRules:
    """When a breaker opens and closes: pure functions of a state and the time, in seconds.

    The automaton is the one of Nygard, "Release It!" (2007): closed, open, half-open. Half-open is
    not stored; it is an open breaker whose `recovery_timeout` is over. `probe_timeout` is after how
    long a silent probe counts as lost; None where a probe always says how it ended.
    """

    failure_threshold: int
    recovery_timeout: float
    probe_timeout: float | None

    def wait(self, state: BreakerState, now: float) -> float | None:
        """Seconds until a call may be let through, None where it may pass now."""
        if state.opened_at is None:
            return None
        if state.probe_at is None:
            rest = state.opened_at + self.recovery_timeout - now
        elif self.probe_timeout is None:
            return self.recovery_timeout
        else:
            rest = state.probe_at + self.probe_timeout - now
        # A time far in the future comes from a clock that is wrong: it must not lock the stage out.
        longest = max(self.recovery_timeout, self.probe_timeout or 0.0)
        return min(rest, longest) if 0 < rest <= 2 * longest else None

    def admitted(self, state: BreakerState, now: float) -> BreakerState:
        """The state once a call was let through: if the breaker is open, the call is its probe."""
        return state if state.opened_at is None else replace(state, probe_at=now)

    def succeeded(self, state: BreakerState, mine: BreakerState) -> BreakerState:
        """The state after the success of a call that was let through into the state `mine`."""
        if mine.opened_at is not None:
            return CLOSED if state == mine else state
        return CLOSED if state.opened_at is None else state

    def failed(self, state: BreakerState, mine: BreakerState, now: float) -> BreakerState:
        """The state after the failure of such a call."""
        if mine.opened_at is not None:
            return replace(mine, opened_at=now, probe_at=None) if state == mine else state
        if state.opened_at is not None:
            return state
        failures = state.failures + 1
        opened_at = now if failures >= self.failure_threshold else None
        return BreakerState(failures=failures, opened_at=opened_at)

    def withdrawn(self, state: BreakerState, mine: BreakerState) -> BreakerState:
        """The state after such a call ended without telling anything about the stage."""
        is_probe = mine.opened_at is not None and state == mine
        return replace(state, probe_at=None) if is_probe else state


class CircuitBreakerMiddleware(Middleware):
    """Refuses calls of a stage for a while after too many failures in a row.

    Every stage of every pipeline has a state of its own. After `recovery_timeout` one call is let
    through as a probe: its success closes the breaker, its failure opens it again, and if it is
    cancelled the next call is the probe. `PERMANENT_ERRORS` and cancellation are neither a success
    nor a failure.

    A shared backend is a hint: while it fails, calls pass and the log says so. There, a probe that
    was not heard of for `recovery_timeout` (or the stage's `timeout`, if that is longer) counts as
    dead with its process, and states are timed by the time of day, the only clock that processes
    share.

    Args:
        failure_threshold: failures in a row that open the breaker, at least 1.
        recovery_timeout: seconds from opening to the probe.
        clock: what times are read from.
        backend: where the states live; in this object where None.

    Raises:
        TypeError, ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 30.0,
        *,
        clock: Clock | None = None,
        backend: BreakerBackend | None = None,
    ) -> None:
        check_whole_number("failure_threshold", failure_threshold, "failures")
        check_number("recovery_timeout", recovery_timeout, "seconds")
        if not recovery_timeout > 0:
            raise ValueError(f"recovery_timeout is {recovery_timeout}; give more than 0 seconds.")
        if backend is not None and not isinstance(backend, BreakerBackend):
            raise TypeError(f"backend is {backend!r}; give what can `load` and `swap` states.")
        self._failure_threshold = failure_threshold
        self._recovery_timeout = recovery_timeout
        self._clock = clock or EnvironmentClock()
        self._is_shared = backend is not None
        self._backend: BreakerBackend = backend or InMemoryBreakerBackend()

    async def __call__(self, stage: Stage, ctx: Context, next: Next) -> Context | Send:
        """Run the stage, or refuse to.

        Raises:
            CircuitOpenError: the breaker of this stage is open.
        """
        # No stage name has a slash in it, so two stages can never get the same key.
        key = f"{current_step().pipeline}/{stage.name}"
        rules = self._rules(stage)
        mine = await self._admit(key, rules, stage)
        try:
            result = await next(ctx)
        except BaseException as error:
            now = self._now()
            if isinstance(error, Exception) and not isinstance(error, PERMANENT_ERRORS):
                await self._record(key, lambda state: rules.failed(state, mine, now))
            else:
                await self._record(key, lambda state: rules.withdrawn(state, mine))
            raise
        await self._record(key, lambda state: rules.succeeded(state, mine))
        return result

    async def _admit(self, key: str, rules: BreakerRules, stage: Stage) -> BreakerState:
        while True:
            now = self._now()
            try:
                state = await self._backend.load(key)
                wait = rules.wait(state, now)
                admitted = rules.admitted(state, now)
                if wait is None and (
                    admitted == state or await self._backend.swap(key, state, admitted)
                ):
                    return admitted
            except Exception as error:  # noqa: BLE001 - a shared backend is a hint
                _report(key, error)
                return CLOSED
            if wait is not None:
                raise CircuitOpenError(
                    f"The circuit of stage {stage.name!r} is open after repeated failures. "
                    f"Try again in {wait:.3g} s.",
                    stage=stage.name,
                    retry_after=wait,
                )

    async def _record(self, key: str, change: Callable[[BreakerState], BreakerState]) -> None:
        try:
            while True:
                state = await self._backend.load(key)
                changed = change(state)
                if changed == state or await self._backend.swap(key, state, changed):
                    return
        except Exception as error:  # noqa: BLE001 - a shared backend is a hint
            _report(key, error)

    def _rules(self, stage: Stage) -> BreakerRules:
        longest = max(self._recovery_timeout, stage.timeout or 0.0)
        return BreakerRules(
            failure_threshold=self._failure_threshold,
            recovery_timeout=self._recovery_timeout,
            probe_timeout=longest if self._is_shared else None,
        )

    def _now(self) -> float:
        return self._clock.now().timestamp() if self._is_shared else self._clock.monotonic()


def _report(key: str, error: Exception) -> None:
    logger.warning("The breaker of %r cannot reach its backend; calls pass.", key, exc_info=error)
