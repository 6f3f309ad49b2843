"""What is told of a run while it is executed: a line for each step as it ends."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from fluxio.events import (
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    StepEnded,
    StepFailed,
    StepStarted,
)
from fluxio.observability.base import BaseCallback
from fluxio.runtime.step import Step
from fluxio.types import RunStatus
from fluxio_django.management.display import Display
from fluxio_django.management.runs import elapsed
from fluxio_django.management.terminal import Terminal, Text, Tone, clean, columns_of, shortened

_WIDEST = 48
"""Columns of step keys up to which the others are aligned with the longest."""


class StepLines:
    """Tells a display of steps, in columns; `steps` are the keys that may come, to align them."""

    def __init__(self, display: Display, terminal: Terminal, steps: Iterable[str] = ()) -> None:
        self._display = display
        self._terminal = terminal
        widest = _WIDEST if terminal.width is None else min(_WIDEST, terminal.width // 3)
        self._pad = max((min(columns_of(clean(step)), widest) for step in steps), default=0)

    def tell(self, step: str, took: str, outcome: Text) -> None:
        """Show what became of a step."""
        start = f"  {self.key(step)}  {took:<12}  "
        text = self._terminal.readable(outcome.text)
        if self._terminal.width is not None:
            room = max(self._terminal.width - columns_of(start), 0)
            text = shortened(text, room, self._terminal.ellipsis)
        self._display.tell(start if text else start.rstrip(), Text(text, outcome.tone))

    def key(self, step: str) -> str:
        """The key of a step, as wide as the others."""
        shown = clean(step)
        return shown + " " * (self._pad - columns_of(shown))


class Progress(BaseCallback):
    """Tells a display what happens in a run that is executed here."""

    def __init__(self, display: Display, lines: StepLines) -> None:
        self._display = display
        self._lines = lines

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Say which run it is: after a crash, its id is what is needed."""
        verb = "goes on" if event.resumed else "begins"
        attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
        self._display.tell(
            Text(f"Run {event.run_id}", Tone.TITLE),
            f" of {event.pipeline} (version {event.version}) {verb}{attempt}.",
        )

    async def on_step_start(self, event: StepStarted) -> None:
        """Mark the step as running."""
        self._display.begin(event.step)

    async def on_step_end(self, event: StepEnded) -> None:
        """Say what the step wrote, and how long it took."""
        self._display.end(event.step)
        written = ", ".join(event.context.writes)
        wrote = f"wrote {written}" if written else ""
        self._lines.tell(event.step, timing(event.duration, event.tries), Text(wrote))

    async def on_route(self, event: RouteTaken) -> None:
        """Say where the router sent the run."""
        self._display.tell(f"  {self._lines.key(event.step)}  -> {event.route}")

    async def on_error(self, event: StepFailed) -> None:
        """Say that the step failed; what it means is told in the end."""
        self._display.end(event.step)
        beside = "" if event.fatal else "; the run goes on without it"
        failed = Text(f"{type(event.error).__qualname__}{beside}", Tone.BAD)
        tries = f"failed, {event.tries} tries" if event.tries > 1 else "failed"
        self._lines.tell(event.step, tries, failed)

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Say how the run ended."""
        self._display.close()
        if event.status is RunStatus.SUCCEEDED:
            self._display.tell(
                Text(f"Run {event.run_id} succeeded", Tone.GOOD), f" in {elapsed(event.duration)}."
            )

    def report(self, step: Step, done: int, total: int | None, note: str) -> None:
        """Show how far a stage says it is; called from whatever thread the stage runs in."""
        share = f" ({int(done * 100 / total)} %)" if total else ""
        of = f" of {total:,}" if total is not None else ""
        words = f"{done:,}{of}{share}" + (f"  {note}" if note else "")
        # What cannot be shown must not fail the stage.
        with suppress(OSError):
            self._display.report(step.key, words, complete=total is not None and done >= total)


def timing(duration: float, tries: int) -> str:
    """How long a step took, and how often it was tried where that was more than once."""
    return elapsed(duration) if tries <= 1 else f"{elapsed(duration)}, {tries} tries"
