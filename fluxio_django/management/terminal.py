"""The one door to the screen: whatever is shown passes it, so nothing hostile gets past raw."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from json import dumps
from threading import RLock
from typing import Any, TextIO, cast

from django.core.management.base import OutputWrapper
from django.core.management.color import Style


class Tone(StrEnum):
    """What a piece of text means to the reader; the values are roles of Django's palette."""

    PLAIN = ""
    GOOD = "SUCCESS"
    BAD = "ERROR"
    CAREFUL = "WARNING"
    TITLE = "MIGRATE_HEADING"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of one line, and its tone."""

    text: str
    tone: Tone = Tone.PLAIN


class Terminal:
    """Standard output as a command sees it.

    Once the reader at the other end of a pipe has gone, everything written is dropped: the work
    that is reported on matters more than the report. Lines may be written from any thread.
    """

    def __init__(self, stdout: OutputWrapper, style: Style, *, force_color: bool = False) -> None:
        self._stdout = stdout
        self._style = style
        self._lock = RLock()
        self._deserted = False
        self.is_interactive = bool(stdout.isatty())
        # Django's own choice (--no-color, DJANGO_COLORS) is in the style.
        styled = style.ERROR("x") != "x"
        self.is_colored = styled and (self.is_interactive or force_color)
        self.encoding = _encoding_of(stdout)

    @property
    def stream(self) -> TextIO:
        """The stream behind it, for those who draw; they clean what they show."""
        return cast("TextIO", self._stdout._out)

    @property
    def width(self) -> int | None:
        """Columns that fit, None where lines may be as long as they like."""
        return shutil.get_terminal_size().columns if self.is_interactive else None

    @property
    def ellipsis(self) -> str:
        """What stands for text that was left out; plain ASCII wherever nobody is looking."""
        unicode = self.is_interactive and self.encoding.startswith("utf")
        return "…" if unicode else "..."

    def line(self, *parts: str | Text) -> None:
        """Write one line, made of pieces."""
        self._write("".join(self._rendered(part) for part in parts))

    def lines(self, text: str) -> None:
        """Write a text of several lines."""
        for line in text.splitlines():
            self.line(line)

    def json(self, facts: Mapping[str, Any]) -> None:
        """Write one JSON object, on one line of ASCII."""
        self._write(dumps(facts, ensure_ascii=True, allow_nan=False))

    def readable(self, text: str) -> str:
        """The text as it can be shown here: cleaned, and within what the stream can encode."""
        shown = clean(text)
        return shown.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def flush(self) -> None:
        """Show what was written so far."""
        self._attempt(self._stdout.flush)

    def _rendered(self, part: str | Text) -> str:
        if isinstance(part, str):
            return self.readable(part)
        text = self.readable(part.text)
        if part.tone is Tone.PLAIN or not self.is_colored:
            return text
        return str(getattr(self._style, part.tone.value)(text))

    def _write(self, line: str) -> None:
        self._attempt(lambda: self._stdout.write(f"{line}\n"))

    def _attempt(self, act: Callable[[], object]) -> None:
        with self._lock:
            if self._deserted:
                return
            try:
                act()
            except BrokenPipeError:
                self._deserted = True
                _let_go(self.stream)


def clean(text: str) -> str:
    """The text with everything that could steer a terminal, or mislead its reader, made visible.

    Control characters and escape sequences, line ends, invisible and text-reversing characters and
    lone surrogates come out as Python writes them in a literal: ``\\x1b``, ``\\u202e``.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def clean_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(clean(line) for line in text.split("\n"))


def columns_of(text: str) -> int:
    """How many columns of a terminal a clean text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(one) for one in text)


def shortened(text: str, width: int, ellipsis: str) -> str:
    """The clean text, cut to so many columns where it is longer."""
    if columns_of(text) <= width:
        return text
    room, kept = width - len(ellipsis), 0
    if room <= 0:
        return ellipsis[:width]
    for position, one in enumerate(text):
        kept += _columns(one)
        if kept > room:
            return text[:position] + ellipsis
    return text


def _columns(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in ("W", "F") else 1


def _encoding_of(stream: OutputWrapper) -> str:
    found = getattr(stream, "encoding", None)
    return str(found).lower() if found else "utf-8"


def _let_go(stream: TextIO) -> None:
    """Point a broken standard output at nowhere, or Python complains about it on its way out."""
    if stream is sys.stdout:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
