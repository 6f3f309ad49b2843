"""The table of `docs/reliability.md`: lines that were measured anew replace their older selves."""

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from tests.proofs.sizes import Size
from tests.proofs.tally import Line

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"

HEAD = """\
| guarantee | database | trials | violations | size | date |
| --- | --- | ---: | ---: | --- | --- |
"""
_LINE = re.compile(
    r"^\| (?P<guarantee>G\w+) \| (?P<database>\w[\w ,]*) \| (?P<trials>[\d,]+) \| "
    r"(?P<violations>[\d,]+) \| (?P<rest>.*) \|$",
    re.MULTILINE,
)


def with_lines(text: str, lines: Iterable[Line], size: Size, today: date) -> str:
    """The page with these lines in its table, in order.

    Raises:
        ValueError: the page has no table.
    """
    before, head, table = text.partition(HEAD)
    if not head:
        raise ValueError("The page has no table of guarantees.")
    end = re.search(r"^(?!\|)", table, re.MULTILINE)
    after = table[end.start() :] if end is not None else ""
    known = {_of(found): found["rest"] for found in _LINE.finditer(table)}
    known |= {line: f"{size} | {today.isoformat()}" for line in lines}
    newest = {(line.guarantee, line.database): line for line in known}
    rows = (_row(line, known[line]) for line in sorted(newest.values(), key=lambda it: it.rank))
    return before + head + "".join(rows) + after


def record(lines: Iterable[Line], size: Size, today: date, page: Path = PAGE) -> None:
    """Write these lines into the page."""
    page.write_text(with_lines(page.read_text(), lines, size, today))


def _of(found: re.Match[str]) -> Line:
    return Line(
        guarantee=found["guarantee"],
        database=found["database"],
        trials=int(found["trials"].replace(",", "")),
        violations=int(found["violations"].replace(",", "")),
    )


def _row(line: Line, rest: str) -> str:
    counts = f"{line.trials:,} | {line.violations:,}"
    return f"| {line.guarantee} | {line.database} | {counts} | {rest} |\n"
