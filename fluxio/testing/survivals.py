"""Lets a pipeline die at each of its checkpoints in turn, and shows how every run went on."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Any

from fluxio.context import FinalContext
from fluxio.errors import ConfigurationError, NoCheckpointError
from fluxio.pipeline import Pipeline
from fluxio.runtime.history import HistoryEntry
from fluxio.store.base import Journal
from fluxio.store.lone import open_journal
from fluxio.testing.crashes import crash_at
from fluxio.verification import verify_log


class Moment(StrEnum):
    """On which side of a checkpoint the process died."""

    UNRECORDED = "unrecorded"
    """The step has run, and nothing of it is recorded."""
    RECORDED = "recorded"
    """The checkpoint is stored, and nothing came after it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is to die: at which of its checkpoints, counted from 0, and on which side."""

    checkpoint: int
    moment: Moment


@dataclass(frozen=True, kw_only=True, slots=True)
class Survival:
    """A run that died once, was resumed, and came to its end.

    `step` is the key of the step that was recorded last (RECORDED) or was due (UNRECORDED), "" at
    the beginning. `history` are the rows of the run, oldest first.
    """

    run_id: str
    place: Place
    step: str
    final: FinalContext
    history: Sequence[HistoryEntry]

    def __str__(self) -> str:
        return _told(self.place, self.step)


async def every_crash(
    pipeline: Pipeline, initial: Mapping[str, Any] | None = None, *, run_id: str = "crash"
) -> AsyncIterator[Survival]:
    """Run a durable pipeline once for each place where it can die, and resume it each time.

        async for survival in every_crash(checkout, {"order": 7}):
            assert survival.final["paid"], survival
            assert charges_made(survival.run_id) == 1, survival

    Every run has an id of its own, which begins with `run_id`, so that effects can be told apart.
    What each run recorded is held against the promises (see `fluxio.verification`). How a crash is
    made, and what sets it apart from a real one, says `fluxio.testing.crashes.crash_at`.

    Args:
        pipeline: its stages really run, several times; its store is used for the runs.
        initial: the first values of each run.
        run_id: what the ids of the runs begin with.

    Raises:
        ConfigurationError: the pipeline is not durable.
        AssertionError: a run did not keep what is promised.
        Exception: whatever a stage raised by itself.
    """
    trials = Trials(pipeline, initial or {}, run_id)
    for place in trials.places():
        survival = await trials.crash(place)
        if survival is None:
            return
        yield survival


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs of one pipeline that die on demand; `every_crash` is a loop over its places."""

    pipeline: Pipeline
    initial: Mapping[str, Any]
    run_id: str

    def places(self) -> Iterator[Place]:
        """Every place, without end: stop when a run does not come there."""
        return (Place(number, moment) for number in count() for moment in Moment)

    async def crash(self, place: Place) -> Survival | None:
        """What became of a run that died there; None where it has fewer checkpoints."""
        run_id = f"{self.run_id}-{place.checkpoint}-{place.moment}-{secrets.token_hex(4)}"
        stored = place.moment is Moment.RECORDED
        with crash_at(self.pipeline, place.checkpoint, stored=stored) as crash:
            await self.pipeline.invoke(self.initial, run_id=run_id)
        if not crash.happened:
            return None
        journal = self._journal()
        step = await _step(journal, run_id, place.moment)
        final = await self._go_on(run_id)
        await self._verify(journal, run_id, _told(place, step))
        history = await self.pipeline.history(run_id)
        return Survival(run_id=run_id, place=place, step=step, final=final, history=history)

    async def _go_on(self, run_id: str) -> FinalContext:
        try:
            return await self.pipeline.invoke({}, run_id=run_id, resume=True)
        except NoCheckpointError:  # it died before anything was stored
            return await self.pipeline.invoke(self.initial, run_id=run_id)

    async def _verify(self, journal: Journal, run_id: str, death: str) -> None:
        record = await journal.run(run_id)
        if record is None or journal.snapshots_only:
            return
        broken = verify_log(record, await journal.rows(run_id), self.pipeline.compiled)
        if broken:
            listed = "".join(f"\n  {violation.message}" for violation in broken)
            raise AssertionError(f"{death} left run {run_id!r} broken:{listed}")

    def _journal(self) -> Journal:
        store = self.pipeline.checkpoint_store
        if store is None:
            raise ConfigurationError(f"Pipeline {self.pipeline.name!r} keeps no checkpoints.")
        return open_journal(store)


async def _step(journal: Journal, run_id: str, moment: Moment) -> str:
    record = await journal.run(run_id)
    if record is None:
        return ""
    if moment is Moment.UNRECORDED:
        return record.step
    rows = await journal.rows(run_id, first=record.head)
    return rows[-1].step if rows else ""


def _told(place: Place, step: str) -> str:
    what = f"step {step!r}" if step else "the beginning"
    side = "before" if place.moment is Moment.UNRECORDED else "after"
    return f"crash {side} {what} was recorded (checkpoint {place.checkpoint})"
