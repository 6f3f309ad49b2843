"""What a test asks about runs: their record, and whether they survive every crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from fluxio.pipeline import Pipeline
from fluxio.testing.recorded import Recorded
from fluxio.testing.survivals import Survival, Trials
from fluxio_django import services


def recorded(run_id: str) -> Recorded:
    """The rows of a run in the database, with assertions; values are masked as they are on pages.

    Raises:
        UnknownRunError: there is no such run.
    """
    return Recorded(run_id, services.history(run_id))


async def arecorded(run_id: str) -> Recorded:
    """Do as `recorded`, in a coroutine."""
    return await sync_to_async(recorded)(run_id)


def every_crash_sync(
    pipeline: Pipeline, initial: Mapping[str, Any] | None = None, *, run_id: str = "crash"
) -> Iterator[Survival]:
    """See `fluxio.testing.survivals.every_crash`; for tests that are plain functions."""
    trials = Trials(pipeline, initial or {}, run_id)
    for place in trials.places():
        survival = async_to_sync(trials.crash)(place)
        if survival is None:
            return
        yield survival
