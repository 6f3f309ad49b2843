"""Tables of text: aligned, and made to fit the terminal where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxio_django.management.terminal import Terminal, Text, Tone, columns_of, shortened

_GAP = "  "
_LONGEST_CELL = 1_000
"""Columns of one cell, unless its column says less."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column. Narrow terminals cut it down to `least` columns, where that is given.

    In a pipe or a file, which are as wide as need be, a cell takes `most` columns. Where cutting
    does not help, the `optional` ones are left out, the last one first.
    """

    title: str
    right: bool = False
    least: int | None = None
    most: int = _LONGEST_CELL
    optional: bool = False


def draw(
    terminal: Terminal, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]
) -> bool:
    """Write a table with its titles, and say whether a cell had to be shortened.

    Columns in which nothing stands are left out.
    """
    used = [at for at in range(len(columns)) if any(_text_of(row[at]) for row in rows)]
    columns, rows = [columns[at] for at in used], [[row[at] for at in used] for row in rows]
    titles = [Text(column.title, Tone.TITLE) for column in columns]
    cells = [titles, *([_cell(terminal, one) for one in row] for row in rows)]
    natural = [max(columns_of(row[at].text) for row in cells) for at in range(len(columns))]
    widths = fitted(columns, natural, terminal.width)
    for row in cells:
        terminal.line(*_laid_out(terminal, columns, row, widths))
    return any(columns_of(row[at].text) > widths[at] for row in cells for at in widths)


def fitted(columns: Sequence[Column], natural: Sequence[int], room: int | None) -> dict[int, int]:
    """The width of each column that is shown, by its position.

    The widest column that may be cut is cut first. A table that is too wide even so keeps what
    cannot be cut, and the terminal breaks its lines.
    """
    if room is None:
        return {at: min(width, columns[at].most) for at, width in enumerate(natural)}
    shown = {at: min(width, _LONGEST_CELL) for at, width in enumerate(natural)}
    droppable = [at for at, column in enumerate(columns) if column.optional]
    while True:
        widths = _cut(columns, shown, room)
        if _total(widths) <= room or not droppable:
            return widths
        del shown[droppable.pop()]


def _cut(columns: Sequence[Column], widths: dict[int, int], room: int) -> dict[int, int]:
    cut = dict(widths)
    excess = _total(cut) - room
    while excess > 0:
        spare = {at: cut[at] for at in cut if _least(columns[at], widths[at]) < cut[at]}
        if not spare:
            break
        cut[max(spare, key=spare.__getitem__)] -= 1
        excess -= 1
    return cut


def _least(column: Column, width: int) -> int:
    return width if column.least is None else max(column.least, len(column.title))


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _cell(terminal: Terminal, one: str | Text) -> Text:
    tone = Tone.PLAIN if isinstance(one, str) else one.tone
    return Text(terminal.readable(_text_of(one)), tone)


def _laid_out(
    terminal: Terminal, columns: Sequence[Column], row: Sequence[Text], widths: dict[int, int]
) -> list[str | Text]:
    parts: list[str | Text] = []
    for at, width in widths.items():
        text = shortened(row[at].text, width, terminal.ellipsis)
        filling = " " * (width - columns_of(text))
        cell = Text(text, row[at].tone)
        parts += [filling, cell] if columns[at].right else [cell, filling]
        parts.append(_GAP)
    while parts and not _text_of(parts[-1]).strip():
        parts.pop()
    return parts


def _text_of(part: str | Text) -> str:
    return part if isinstance(part, str) else part.text
