"""What is told of a run while it is executed: a line for each step as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

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
from fluxio_django.management.runs import elapsed
from fluxio_django.management.terminal import Terminal, Text, Tone, clean, columns_of, shortened

_WIDEST = 48
"""Columns of step keys up to which the others are aligned with the longest."""
_SECONDS_BETWEEN_REPORTS = 1.0


class Display(Protocol):
    """Where progress is shown."""

    def tell(self, *parts: str | Text) -> None:
        """Show one line that stays."""

    def begin(self, step: str) -> None:
        """A step is running from now on."""

    def report(self, step: str, note: str, *, complete: bool) -> None:
        """How far a running step is."""

    def end(self, step: str) -> None:
        """A step is running no more."""

    def close(self) -> None:
        """Nothing more will be shown; may be called twice."""


class Silence:
    """Shows nothing."""

    def tell(self, *parts: str | Text) -> None:
        """Drop the line."""

    def begin(self, step: str) -> None:
        """Do nothing."""

    def report(self, step: str, note: str, *, complete: bool) -> None:
        """Do nothing."""

    def end(self, step: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Shows lines that stay, for pipes, log files and plain terminals.

    What a step reports of itself is shown once a second at most, and when it is complete.
    """

    def __init__(self, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = terminal
        self._clock = clock
        self._reported: dict[str, float] = {}

    def tell(self, *parts: str | Text) -> None:
        """Write the line, now."""
        self._terminal.line(*parts)
        self._terminal.flush()

    def begin(self, step: str) -> None:
        """Let the step report."""
        self._reported[step] = self._clock()

    def report(self, step: str, note: str, *, complete: bool) -> None:
        """Write a line of its own, unless there was one just now."""
        now = self._clock()
        if complete or now - self._reported.get(step, now) >= _SECONDS_BETWEEN_REPORTS:
            self._reported[step] = now
            self.tell(f"  {step}: {note}")

    def end(self, step: str) -> None:
        """Forget the step."""
        self._reported.pop(step, None)

    def close(self) -> None:
        """Nothing is held back."""


class Progress(BaseCallback):
    """Tells a display what happens in a run; `steps` are the keys that may come, to align them."""

    def __init__(self, display: Display, terminal: Terminal, steps: Iterable[str] = ()) -> None:
        self._display = display
        self._terminal = terminal
        widest = _WIDEST if terminal.width is None else min(_WIDEST, terminal.width // 3)
        self._pad = max((min(columns_of(clean(step)), widest) for step in steps), default=0)

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
        self._tell(event.step, _timing(event.duration, event.tries), Text(wrote))

    async def on_route(self, event: RouteTaken) -> None:
        """Say where the router sent the run."""
        self._display.tell(f"  {self._key(event.step)}  -> {event.route}")

    async def on_error(self, event: StepFailed) -> None:
        """Say that the step failed; what it means is told in the end."""
        self._display.end(event.step)
        beside = "" if event.fatal else "; the run goes on without it"
        failed = Text(f"{type(event.error).__qualname__}{beside}", Tone.BAD)
        tries = f"failed, {event.tries} tries" if event.tries > 1 else "failed"
        self._tell(event.step, tries, failed)

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

    def _tell(self, step: str, timing: str, outcome: Text) -> None:
        start = f"  {self._key(step)}  {timing:<12}  "
        text = self._terminal.readable(outcome.text)
        if self._terminal.width is not None:
            room = max(self._terminal.width - columns_of(start), 0)
            text = shortened(text, room, self._terminal.ellipsis)
        self._display.tell(start if text else start.rstrip(), Text(text, outcome.tone))

    def _key(self, step: str) -> str:
        shown = clean(step)
        return shown + " " * (self._pad - columns_of(shown))


def _timing(duration: float, tries: int) -> str:
    return elapsed(duration) if tries <= 1 else f"{elapsed(duration)}, {tries} tries"
