"""Progress on a terminal that can be drawn on: running steps have a moving mark. Needs rich."""

from __future__ import annotations

from threading import RLock
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text as RichText

from fluxio_django.management.terminal import Terminal, Text, Tone, clean

_MOST = 8
"""Running steps that are drawn at once; the others are counted."""

_STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.CAREFUL: "yellow",
    Tone.TITLE: "bold",
}


class LiveLines:
    """Shows lines that stay, and below them the steps that are running."""

    def __init__(self, terminal: Terminal, stream: TextIO) -> None:
        self._terminal = terminal
        self._lock = RLock()
        self._running: dict[str, Spinner] = {}
        self._console = Console(
            file=stream,
            no_color=not terminal.is_colored,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            console=self._console, get_renderable=self._drawn, refresh_per_second=8, transient=True
        )

    def tell(self, *parts: str | Text) -> None:
        """Print the line above the running steps."""
        self._console.print(RichText.assemble(*map(self._styled, parts)), soft_wrap=True)

    def begin(self, step: str) -> None:
        """Draw the step with a moving mark."""
        with self._lock:
            self._running[step] = Spinner("line", f" {clean(step)}")
        self._live.start()

    def report(self, step: str, note: str, *, complete: bool) -> None:
        """Draw the note behind the step."""
        with self._lock:
            spinner = self._running.get(step)
            if spinner is not None:
                spinner.update(text=RichText(f" {clean(step)}  {clean(note)}"))

    def end(self, step: str) -> None:
        """Draw the step no more."""
        with self._lock:
            self._running.pop(step, None)

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def _drawn(self) -> RenderableType:
        with self._lock:
            running = list(self._running.values())
        more = len(running) - _MOST
        rest = [RichText(f"  and {more} more")] if more > 0 else []
        return Group(*running[:_MOST], *rest)

    def _styled(self, part: str | Text) -> RichText:
        text, tone = (part, Tone.PLAIN) if isinstance(part, str) else (part.text, part.tone)
        return RichText(self._terminal.readable(text), _STYLES[tone])
