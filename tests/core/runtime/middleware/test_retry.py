"""What passes is tried again, what lasts is not, and nobody waits longer than agreed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fluxio.context import Context
from fluxio.errors import (
    CircuitOpenError,
    EncodingError,
    LeaseLostError,
    MutationError,
    RoutingError,
    StageResultError,
    StageTimeoutError,
    ValidationError,
)
from fluxio.nodes import RetryPolicy, Stage, stage
from fluxio.runtime.middleware import RetryMiddleware
from fluxio.runtime.middleware.retry import PERMANENT_ERRORS
from fluxio.testing.clock import ManualClock
from tests.core.runtime.middleware.around import SleepingClock, call, settle


class Flaky:
    """A stage that raises these errors, one a try, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.tries = 0

        async def charge(ctx: Context) -> Context:
            self.tries += 1
            if self.errors:
                raise self.errors.pop(0)
            return ctx.set("tries", self.tries)

        self.stage: Stage = stage(charge)


async def test_a_stage_that_fails_twice_succeeds_at_the_third_try() -> None:
    flaky = Flaky(OSError(), OSError())
    result = await call(RetryMiddleware(clock=SleepingClock()), flaky.stage, {})
    assert isinstance(result, Context)
    assert result["tries"] == 3


async def test_the_last_error_is_raised_as_it_is_when_no_try_is_left() -> None:
    last = OSError("third")
    flaky = Flaky(OSError("first"), OSError("second"), last, OSError("never"))
    with pytest.raises(OSError, match="third") as caught:
        await call(RetryMiddleware(max_attempts=3, clock=SleepingClock()), flaky.stage, {})
    assert caught.value is last
    assert flaky.tries == 3


async def test_every_try_gets_the_context_that_the_first_one_got() -> None:
    seen: list[Context] = []

    @stage
    async def charge(ctx: Context) -> Context:
        seen.append(ctx)
        ctx.set("half", "done")
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        await call(RetryMiddleware(clock=SleepingClock()), charge, {"order": 7})
    assert len(seen) == 3
    assert all(context is seen[0] for context in seen)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        ("fixed", [0.5, 0.5, 0.5, 0.5]),
        ("exponential", [0.5, 1.0, 2.0, 4.0]),
        ("jitter", [0.05, 0.2, 0.6, 1.6]),
    ],
)
async def test_the_waits_grow_as_the_backoff_says(backoff: str, waits: list[float]) -> None:
    clock = SleepingClock()
    dice = iter([0.1, 0.2, 0.3, 0.4])
    retry = RetryMiddleware(
        max_attempts=5,
        backoff=backoff,  # type: ignore[arg-type]
        base_delay=0.5,
        clock=clock,
        random=lambda: next(dice),
    )
    await call(retry, Flaky(*[OSError() for _ in range(4)]).stage, {})
    assert clock.sleeps == pytest.approx(waits)


async def test_thousands_of_tries_do_not_overflow_the_wait() -> None:
    flaky = Flaky(*[OSError() for _ in range(2000)])
    await call(RetryMiddleware(max_attempts=2001, clock=SleepingClock()), flaky.stage, {})
    assert flaky.tries == 2001


async def test_the_next_try_waits_for_its_time() -> None:
    clock = ManualClock()
    flaky = Flaky(OSError())
    running = asyncio.ensure_future(
        call(RetryMiddleware(base_delay=2, clock=clock), flaky.stage, {})
    )
    await clock.until_sleeping()
    clock.advance(1.9)
    await settle()
    assert flaky.tries == 1
    clock.advance(0.1)
    await running
    assert flaky.tries == 2


async def test_only_the_listed_exceptions_are_tried_again() -> None:
    retry = RetryMiddleware(exceptions=(OSError,), clock=SleepingClock())
    flaky = Flaky(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await call(retry, flaky.stage, {})
    assert flaky.tries == 1
    await call(retry, Flaky(ConnectionError()).stage, {})


async def test_one_exception_class_may_stand_without_a_tuple() -> None:
    retry = RetryMiddleware(exceptions=OSError, clock=SleepingClock())  # type: ignore[arg-type]
    await call(retry, Flaky(OSError()).stage, {})


async def test_the_predicate_has_the_last_word_on_a_listed_exception() -> None:
    asked: list[Exception] = []

    def is_busy(error: Exception) -> bool:
        asked.append(error)
        return "busy" in str(error)

    retry = RetryMiddleware(exceptions=(OSError,), retry_if=is_busy, clock=SleepingClock())
    await call(retry, Flaky(OSError("busy")).stage, {})
    with pytest.raises(OSError, match="gone"):
        await call(retry, Flaky(OSError("gone")).stage, {})
    with pytest.raises(ValueError, match="busy"):
        await call(retry, Flaky(ValueError("busy")).stage, {})
    assert [str(error) for error in asked] == ["busy", "gone"]


@pytest.mark.parametrize(
    "kind",
    [
        CircuitOpenError,
        EncodingError,
        LeaseLostError,
        MutationError,
        RoutingError,
        StageResultError,
        ValidationError,
    ],
)
async def test_an_error_that_lasts_is_not_tried_again(kind: type[Exception]) -> None:
    flaky = Flaky(kind("no use"))
    with pytest.raises(kind):
        await call(RetryMiddleware(clock=SleepingClock()), flaky.stage, {})
    assert flaky.tries == 1


async def test_an_error_that_lasts_is_tried_again_when_it_is_asked_for_by_name() -> None:
    by_name = RetryMiddleware(exceptions=(OSError, ValidationError), clock=SleepingClock())
    flaky = Flaky(ValidationError("empty answer"))
    await call(by_name, flaky.stage, {})
    assert flaky.tries == 2
    by_predicate = RetryMiddleware(retry_if=lambda error: True, clock=SleepingClock())
    flaky = Flaky(ValidationError("empty answer"))
    await call(by_predicate, flaky.stage, {})
    assert flaky.tries == 2


async def test_a_timeout_of_one_attempt_is_tried_again() -> None:
    assert not issubclass(StageTimeoutError, PERMANENT_ERRORS)
    flaky = Flaky(StageTimeoutError("too slow", stage="charge", timeout=1.0))
    await call(RetryMiddleware(clock=SleepingClock()), flaky.stage, {})
    assert flaky.tries == 2


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_cancellation_and_exits_pass_through(kind: type[BaseException]) -> None:
    flaky = Flaky(kind())
    coroutine = call(RetryMiddleware(clock=SleepingClock()), flaky.stage, {})
    with pytest.raises(kind):
        coroutine.send(None)
    assert flaky.tries == 1


async def test_a_run_that_waits_for_its_next_try_can_be_cancelled() -> None:
    flaky = Flaky(OSError())
    clock = ManualClock()
    running = asyncio.ensure_future(call(RetryMiddleware(clock=clock), flaky.stage, {}))
    await clock.until_sleeping()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert flaky.tries == 1


async def test_a_stream_stage_is_tried_once() -> None:
    tries = 0

    @stage
    async def tokens(ctx: Context):  # type: ignore[no-untyped-def]
        yield "a"

    async def failing(ctx: Context) -> Context:
        nonlocal tries
        tries += 1
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        await call(RetryMiddleware(clock=SleepingClock()), tokens, {}, next=failing)
    assert tries == 1


async def test_a_policy_is_followed_in_every_point() -> None:
    policy = RetryPolicy(
        max_attempts=4,
        backoff="jitter",
        base_delay=3,
        exceptions=(OSError,),
        retry_if=lambda error: True,
    )
    clock = SleepingClock()
    retry = RetryMiddleware.from_policy(policy, clock=clock, random=lambda: 0.5)
    assert retry.policy == policy
    await call(retry, Flaky(OSError(), OSError(), OSError()).stage, {})
    assert clock.sleeps == [1.5, 3.0, 6.0]


async def test_runs_at_the_same_time_count_their_tries_apart() -> None:
    retry = RetryMiddleware(max_attempts=2, clock=SleepingClock())
    flaky = [Flaky(OSError()) for _ in range(20)]
    await asyncio.gather(*(call(retry, each.stage, {}) for each in flaky))
    assert [each.tries for each in flaky] == [2] * 20


async def test_the_log_names_stage_and_error_type_but_not_what_the_error_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "fluxio"):
        await call(RetryMiddleware(clock=SleepingClock()), Flaky(OSError("card 4242")).stage, {})
    assert caplog.messages == [
        "Try 1 of 3 of stage 'charge' failed with OSError; the next one is in 0.1 s."
    ]


@pytest.mark.parametrize(
    ("options", "kind", "problem"),
    [
        ({"max_attempts": 0}, ValueError, "max_attempts is 0; give at least 1"),
        ({"max_attempts": 2.5}, TypeError, "a whole number of tries"),
        ({"backoff": "linear"}, ValueError, "choose fixed, exponential or jitter"),
        ({"base_delay": -1}, ValueError, "base_delay is -1; give 0 or more"),
        ({"base_delay": float("inf")}, ValueError, "base_delay is inf; give 0 or more"),
        ({"base_delay": "1"}, TypeError, "'1' is none"),
    ],
)
def test_what_does_not_belong_there_is_refused(
    options: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        RetryMiddleware(**options)


@pytest.mark.parametrize("kinds", [(asyncio.CancelledError,), (BaseException,), ("OSError",), ()])
def test_exceptions_are_exception_classes(kinds: tuple[object, ...]) -> None:
    if not kinds:
        assert RetryMiddleware(exceptions=()).policy.exceptions == ()
        return
    with pytest.raises(TypeError, match="Cancellation and exits are never retried"):
        RetryMiddleware(exceptions=kinds)  # type: ignore[arg-type]
