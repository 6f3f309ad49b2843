"""What stages say of how far they are: written beside the run, now and then, and never for sure."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Thread
from typing import TYPE_CHECKING

from django.db import connections

from fluxio.runtime.step import ProgressSink, Step
from fluxio.types import RunStatus
from fluxio_django.redaction import shown_text
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from fluxio_django.models import Run

logger = logging.getLogger("fluxio.progress")

SECONDS_BETWEEN_WRITES = 1.0

_Place = tuple[str, str]
"""The alias of a database, and the id of a run in it."""
_Words = tuple[int, int | None, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the step that a run is at has come, by its own words at the moment `at`."""

    done: int
    total: int | None
    note: str
    at: datetime

    @property
    def share(self) -> float | None:
        """From 0.0 to 1.0; None where the total is unknown."""
        if not self.total or self.total < 0:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


def progress_of(run: Run) -> Progress | None:
    """What the step that a run is at said last, as people may see it.

    None where it said nothing, where the run has gone on since, and where nobody executes it.
    """
    done, told_at = run.progress_done, run.progress_at
    if done is None or told_at is None or run.status != RunStatus.RUNNING:
        return None
    if told_at < run.updated_at:
        return None
    note = shown_text(run.progress_note)
    return Progress(done=done, total=run.progress_total, note=note, at=told_at)


class Board:
    """Keeps the newest words of each run, and has a thread write them down.

    A thread, since a stage may speak in an event loop, where nothing may block, or inside a
    transaction that is rolled back later. It writes the first words at once and then once a second
    at most, keeps no connection meanwhile, and ends when nothing comes any more.
    """

    def __init__(self, seconds: float = SECONDS_BETWEEN_WRITES) -> None:
        self._seconds = seconds
        self._changed = Condition()
        self._words: dict[_Place, tuple[str, _Words]] = {}
        self._thread: Thread | None = None
        self._hurried = False

    def sink(self, tables: Tables, also: ProgressSink | None = None) -> ProgressSink:
        """Where a stage's words go: to the run's row in these tables, and to whoever looks on."""

        def report(step: Step, done: int, total: int | None, note: str) -> None:
            self.tell((tables.alias, step.run_id), step.key, (done, total, note))
            if also is not None:
                also(step, done, total, note)

        return report

    def tell(self, place: _Place, step: str, words: _Words) -> None:
        """Have words written soon, unless newer ones come first; never waits."""
        with self._changed:
            self._words[place] = step, words
            if self._thread is None:
                self._hurried = False
                self._thread = Thread(target=self._write_on, name="fluxio-progress", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Wait until what has been told so far is written; for tests and the end of commands."""
        with self._changed:
            thread, self._hurried = self._thread, True
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _write_on(self) -> None:
        while words := self._taken():
            for (alias, run_id), (step, told) in words.items():
                try:
                    Tables(alias).runs.tell_progress(run_id, step, told)
                except Exception as problem:  # noqa: BLE001 - a hint is not worth a failure
                    logger.debug("Progress of run %s is not written: %s", run_id, problem)
            connections.close_all()
            with self._changed:
                self._changed.wait_for(self._is_hurried, self._seconds)

    def _taken(self) -> dict[_Place, tuple[str, _Words]]:
        with self._changed:
            words, self._words = self._words, {}
            if not words:
                self._thread = None
            return words

    def _is_hurried(self) -> bool:
        return self._hurried


board = Board()


def _forget_after_fork() -> None:
    """A child process has no such thread, and its parent's runs are none of its business."""
    board.__init__()  # type: ignore[misc]


os.register_at_fork(after_in_child=_forget_after_fork)
