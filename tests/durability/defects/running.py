"""Defects in how a run is executed, wherever it is recorded; the core's own tests catch them."""

import asyncio
from typing import Any

from fluxio.runtime import ends, publisher
from fluxio.runtime.attempt import Attempt
from fluxio.runtime.environment import ThreadPoolCaller
from fluxio.runtime.recorder import Recorder
from tests.durability.defects.planting import defect, swap

_RUNTIME = "tests/core/runtime"
_TRANSACTIONS = f"{_RUNTIME}/test_transactions.py::test_an_attempt_that_was_given_up"


@defect(f"{_TRANSACTIONS}_commits_nothing_while_the_next_one_runs")
def given_up_and_committed() -> None:
    """An attempt that was given up after its timeout may commit all the same."""
    swap(Attempt, "enter_commit", lambda original: lambda attempt: None)


@defect(
    f"{_RUNTIME}/test_driver.py::test_a_cancellation_is_told_and_recorded_with_the_step_that_was_due"
)
def cancellation_not_recorded() -> None:
    """That a run was cancelled is recorded nowhere."""

    async def nothing(scene: Any, state: Any, interruption: BaseException) -> None:
        """Nobody hears of it."""

    swap(ends, "record_cancellation", lambda original: nothing)


@defect(
    f"{_RUNTIME}/test_store_failures.py::test_g19_no_failing_call_skips_or_repeats_a_recorded_step"
)
def failed_commit_trusted() -> None:
    """A commit that failed counts as made, without looking."""

    async def trust(recorder: Any, commit: Any) -> bool:
        return True

    swap(Recorder, "_is_there", lambda original: trust)


@defect(f"{_RUNTIME}/test_callbacks.py::test_g24_no_callback_can_change_a_run")
def callbacks_unguarded() -> None:
    """What a callback raises reaches the run."""

    async def call(courier: Any, hook: Any, event: Any) -> bool:
        await publisher._started(hook, event)
        return True

    swap(publisher._Courier, "_call", lambda original: call)


@defect(f"{_RUNTIME}/test_isolation.py")
def context_variables_left_behind() -> None:
    """A plain stage runs in whatever context its thread happens to have."""

    async def call(caller: Any, function: Any, /, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(caller._executor(), function, *args)

    swap(ThreadPoolCaller, "call", lambda original: call)
