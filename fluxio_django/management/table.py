"""Tables of text: aligned where they fit, one value a line where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxio_django.management.terminal import Terminal, Text, Tone, columns_of, shortened

_GAP = "  "
_LONGEST_CELL = 1_000
"""Columns of one cell, wherever it is shown."""
_WIDEST_LINE = 120
"""Columns of a table in a pipe or a file, where nothing says how wide a line may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column. Narrow terminals cut it down to `least` columns, where that is given.

    Where cutting does not help, the `optional` ones are left out, the last one first. In a pipe or
    a file nothing is cut or left out.
    """

    title: str
    right: bool = False
    least: int | None = None
    optional: bool = False


def draw(
    terminal: Terminal, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]
) -> bool:
    """Write a table with its titles, and say whether a cell had to be shortened.

    Columns in which nothing stands are left out. In a terminal a table that is too wide is written
    value by value; in a pipe or a file only the rows of it that are, and none where each row is a
    name with its value.
    """
    used = [at for at in range(len(columns)) if any(_text_of(row[at]) for row in rows)]
    columns, rows = [columns[at] for at in used], [[row[at] for at in used] for row in rows]
    titles = [Text(column.title, Tone.TITLE) for column in columns]
    cells = [[_cell(terminal, one) for one in row] for row in rows]
    room = terminal.width
    if room is not None:
        widths = fitted(columns, list(_natural([titles, *cells]).values()), room)
        tall = [_total(widths) > room] * len(cells)
    else:
        tall = [len(columns) > 2 and _is_wide(row) for row in cells]
        flat = [row for row, is_tall in zip(cells, tall, strict=True) if not is_tall]
        widths = _natural([titles, *flat])
        if len(columns) > 2 and _total(widths) > _WIDEST_LINE:
            tall = [True] * len(cells)
    if not all(tall):
        terminal.line(*_laid_out(terminal, columns, titles, widths))
    was_cut = False
    for row, is_tall in zip(cells, tall, strict=True):
        if is_tall:
            was_cut |= _draw_values(terminal, titles, row)
        else:
            terminal.line(*_laid_out(terminal, columns, row, widths))
            was_cut |= any(columns_of(row[at].text) > widths[at] for at in widths)
    return was_cut


def _draw_values(terminal: Terminal, titles: Sequence[Text], row: Sequence[Text]) -> bool:
    """Write a row as the first of its cells, and below it a line for each of the others."""
    first, *others = row
    margin = max((columns_of(title.text) for title in titles[1:]), default=0)
    room = _LONGEST_CELL if terminal.width is None else terminal.width
    beside = _LONGEST_CELL
    if terminal.width is not None:
        beside = max(1, room - margin - 2 * len(_GAP))
    terminal.line(Text(shortened(first.text, room, terminal.ellipsis), first.tone))
    was_cut = columns_of(first.text) > room
    for title, cell in zip(titles[1:], others, strict=True):
        if cell.text:
            text = shortened(cell.text, beside, terminal.ellipsis)
            name = title.text + " " * (margin - columns_of(title.text))
            terminal.line(_GAP, Text(name, title.tone), _GAP, Text(text, cell.tone))
            was_cut |= columns_of(cell.text) > beside
    return was_cut


def _natural(cells: Sequence[Sequence[Text]]) -> dict[int, int]:
    """The width of each column, by its position, in which everything fits that is ever shown."""
    return {
        at: min(_LONGEST_CELL, max(columns_of(row[at].text) for row in cells))
        for at in range(len(cells[0]))
    }


def _is_wide(row: Sequence[Text]) -> bool:
    """Whether a row is too wide for a line of a file, whatever stands in the others."""
    return _total({at: columns_of(cell.text) for at, cell in enumerate(row)}) > _WIDEST_LINE


def fitted(columns: Sequence[Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """The width of each column that is shown, by its position.

    The widest column that may be cut is cut first. What cannot be cut may leave the table wider
    than there is room.
    """
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
