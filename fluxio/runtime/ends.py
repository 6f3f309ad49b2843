"""Records how an execution leaves its run when it did not get to the end."""

from __future__ import annotations

import logging
from typing import NoReturn

from fluxio.errors import LeaseLostError, StoreUnavailableError
from fluxio.program import MAIN_LANE
from fluxio.runtime.machine import State
from fluxio.runtime.outcomes import Failed
from fluxio.runtime.recorder import Ending
from fluxio.runtime.scene import Scene
from fluxio.types import RunStatus

logger = logging.getLogger("fluxio.run")


async def fail(scene: Scene, state: State, failure: Failed) -> NoReturn:
    """Record the failure that ends the run, tell about it, and raise what the stage raised.

    Raises:
        LeaseLostError: somebody else has the run; nothing was recorded.
    """
    if isinstance(failure.error, StoreUnavailableError):
        raise failure.error  # the stage did not fail: whoever has the run next goes on with it
    at, recorder = scene.executor.program.instructions[failure.ip], scene.recorder
    if recorder is not None:
        ending = Ending(
            status=RunStatus.FAILED,
            step=at.key,
            error=failure.error,
            tries=failure.tries,
            duration=failure.duration,
        )
        commit = recorder.prepare([], state, ending)
        try:
            await recorder.commit_failure(commit)
        except LeaseLostError as lost:
            raise lost from failure.error
        except Exception as problem:  # noqa: BLE001 - the stage's error is what counts
            failure.error.add_note(f"The error checkpoint could not be written: {problem!r}")
            raise failure.error from None
        scene.announcer.committed(commit)
    context = state[at.lane].context
    scene.announcer.failed(failure, context, fatal=True)
    raise failure.error


async def record_cancellation(scene: Scene, state: State, interruption: BaseException) -> None:
    """Record that the execution was cancelled; where that fails, the log says so."""
    recorder = scene.recorder
    if recorder is None:
        return
    due = scene.executor.program.instructions[state[MAIN_LANE].ip].key
    ending = Ending(status=RunStatus.CANCELLED, step=due, error=interruption)
    commit = recorder.prepare([], state, ending)
    try:
        await recorder.commit(commit)
    except Exception:
        logger.exception("Run %s: its cancellation could not be recorded.", scene.run_id)
    else:
        scene.announcer.committed(commit)
