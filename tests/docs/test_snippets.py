"""Every Python snippet of the documentation runs, page by page, from top to bottom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(page for page in DOCS.glob("concepts/*.md") if "```python" in page.read_text())
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> str:
    """The page as a module; lines keep their numbers, so that errors point into the page."""
    text = page.read_text()
    lines = [""] * (text.count("\n") + 1)
    for match in SNIPPET.finditer(text):
        first = text.count("\n", 0, match.start(1))
        for offset, line in enumerate(match.group(1).splitlines()):
            lines[first + offset] = line
    return "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    module = tmp_path / f"{page.stem}_snippets.py"
    module.write_text(code_of(page))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(module)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_pages_with_snippets_are_found() -> None:
    assert len(PAGES) >= 11
