"""Where progress is shown: nowhere, in lines that stay, or drawn on a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Protocol

from fluxio_django.management.command import Options
from fluxio_django.management.terminal import Terminal, Text

try:
    from fluxio_django.management.live import LiveLines
except ImportError:  # pragma: no cover - rich is an extra
    drawn: type[LiveLines] | None = None
else:
    drawn = LiveLines

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


def chosen_display(terminal: Terminal, options: Options) -> Display:
    """Where the options and the terminal have progress shown."""
    if options["json"] or options["verbosity"] == 0:
        return Silence()
    if drawn is not None and terminal.is_interactive and os.environ.get("TERM") != "dumb":
        return drawn(terminal, terminal.stream)
    return Lines(terminal)
