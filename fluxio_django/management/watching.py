"""Follows a run that somebody else executes, by what is recorded of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from fluxio.errors import FluxioError
from fluxio.store.base import RowKind
from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.log import Line, read_page
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.display import Display, chosen_display
from fluxio_django.management.progress import StepLines, timing
from fluxio_django.management.refusal import refusal
from fluxio_django.management.runs import elapsed, find_run, progress_words, run_facts
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text

_SECONDS_BETWEEN_LOOKS = 0.5


def watch(command: FluxioCommand, run_id: str, options: Options) -> None:
    """Follow a run to its end, and say how it ended.

    Raises:
        CommandError: it did not succeed.
        KeyboardInterrupt: Ctrl-C was pressed; the way to look again is told.
    """
    terminal = command.terminal
    run = find_run(run_id)
    display = chosen_display(terminal, options)
    steps = StepLines(display, terminal, _steps_of(run))
    try:
        run = Watch(display, steps).follow(run_id)
    except KeyboardInterrupt:
        display.close()
        again = command.invitation("fluxio_show", run_id, options)
        message = f"Run {run_id} goes on. Look on again with\n    {again} --watch"
        command.stderr.write(str(refusal(message)))
        raise
    finally:
        display.close()
    if options["json"]:
        terminal.json(run_facts(run, run.status))
    elif run.status == RunStatus.SUCCEEDED and options["verbosity"] > 0:
        terminal.line(Text(f"Run {run_id} succeeded", Tone.GOOD), f" after {_age(run)}.")
    if run.status != RunStatus.SUCCEEDED:
        raise refusal(_told(command, run, options))


def _told(command: FluxioCommand, run: Run, options: Options) -> str:
    match RunStatus(run.status):
        case RunStatus.FAILED:
            ended = f"failed at step {run.step}" if run.step else "failed"
        case RunStatus.CANCELLED:
            ended = "was cancelled"
        case _:
            ended = f"is {run.status}"
    why = f": {shown_text(run.error)}" if run.error else "."
    requeue = command.invitation("fluxio_requeue", run.run_id, options)
    return (
        f"Run {run.run_id} {ended}{why}\n"
        f"Steps that are recorded will not run again. Have a worker go on with it:\n    {requeue}"
    )


def _age(run: Run) -> str:
    ended = run.finished_at or run.updated_at
    return elapsed(max(0.0, (ended - run.created_at).total_seconds()))


def _steps_of(run: Run) -> list[str]:
    try:
        return [call.key for call in services.pipeline_of(run).compiled.calls]
    except FluxioError:  # it is registered no more, or cannot be built
        return []


class Watch:
    """Shows a line for each row of a run as it comes, and what the step at hand says of itself."""

    pause: Callable[[float], None] = staticmethod(time.sleep)
    """Waits so many seconds between two looks."""

    def __init__(self, display: Display, lines: StepLines) -> None:
        self._display = display
        self._lines = lines
        self._seen = -1
        self._step = ""
        self._waits = ""

    def follow(self, run_id: str) -> Run:
        """Look until the run has ended, and give it as it is then.

        Raises:
            UnknownRunError: it is recorded no more.
        """
        while True:
            run = find_run(run_id)
            for line in self._news(run):
                self._tell(line)
            if not RunStatus(run.status).is_open:
                self._at("")
                return run
            self._at(run.step if run.status == RunStatus.RUNNING else "")
            self._say_what_it_waits_for(run)
            self.pause(_SECONDS_BETWEEN_LOOKS)

    def _news(self, run: Run) -> Iterator[Line]:
        if run.head < self._seen:  # it has begun anew
            self._seen = -1
        while self._seen < run.head:
            page = read_page(run, self._seen + 1)
            yield from page.lines
            self._seen = page.last

    def _tell(self, line: Line) -> None:
        row = line.checkpoint
        if row is None:
            return
        if row.step == self._step:
            self._at("")
        match row.kind:
            case RowKind.STEP:
                wrote = f"wrote {', '.join(line.writes)}" if line.writes else ""
                self._lines.tell(row.step, timing(row.duration, row.tries), Text(wrote))
            case RowKind.ERROR:
                kind = line.error.type if line.error is not None else ""
                tries = f"failed, {row.tries} tries" if row.tries > 1 else "failed"
                self._lines.tell(row.step, tries, Text(kind, Tone.BAD))

    def _at(self, step: str) -> None:
        """Draw the step at hand as running."""
        if step != self._step:
            if self._step:
                self._display.end(self._step)
            if step:
                self._display.begin(step)
            self._step = step

    def _say_what_it_waits_for(self, run: Run) -> None:
        progress = services.progress(run)
        if self._step and progress is not None:
            complete = progress.total is not None and progress.done >= progress.total
            self._display.report(self._step, progress_words(progress), complete=complete)
        waits = _waits_for(run)
        if waits and waits != self._waits:
            self._display.tell(f"  {waits}")
        self._waits = waits


def _waits_for(run: Run) -> str:
    match RunStatus(run.status):
        case RunStatus.RUNNING:
            gone = services.is_interrupted(run)
            return "Its worker is gone; it waits for another one." if gone else ""
        case RunStatus.QUEUED:
            return f"It waits. {run.held_back}" if run.held_back else "It waits for a worker."
        case _:
            return "It waits."
