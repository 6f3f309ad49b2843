"""The pages of the documentation, and the snippets on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ONLY = "no-run"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snippet:
    """A fenced block: its language, the line it begins at, and whether it is only shown."""

    language: str
    line: int
    code: str
    runs: bool


def pages() -> list[Path]:
    """Every page, by path."""
    return sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)


def snippets(page: Path) -> Iterator[Snippet]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        language, *options = match["info"].split() or [""]
        yield Snippet(
            language=language,
            line=text.count("\n", 0, match.start("code")) + 1,
            code=match["code"],
            runs=SHOWN_ONLY not in options,
        )


def module_of(page: Path) -> str:
    """The Python of a page as one module; lines keep their numbers, so errors point into it."""
    lines = [""] * (page.read_text().count("\n") + 1)
    for snippet in snippets(page):
        if snippet.language == "python" and snippet.runs:
            for offset, line in enumerate(snippet.code.splitlines()):
                lines[snippet.line - 1 + offset] = line
    return "\n".join(lines)
