"""Every Python snippet of the documentation runs, page by page, from top to bottom."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.django_page import CONFTEST
from tests.docs.pages import DOCS, ROOT, module_of, pages, snippets

RUNNER = Path(__file__).with_name("django_page.py")
# Its snippets are files of a project; a test of its own types it in.
ELSEWHERE = {DOCS / "tutorial.md"}
PAGES = [page for page in pages() if page not in ELSEWHERE and module_of(page).strip()]


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


def command_for(page: Path, module: Path) -> list[str]:
    """How the snippets of a page are run."""
    if page.parent.name == "concepts":  # the pages about the runtime have to do without Django
        return [str(module)]
    if "\ndef test_" in module.read_text():
        module.with_name("conftest.py").write_text(CONFTEST)
        return ["-m", "pytest", "-q", "--rootdir=.", "-p", "no:cacheprovider", str(module)]
    return [str(RUNNER), str(module)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    module = tmp_path / f"{page.stem.replace('-', '_')}_snippets.py"
    module.write_text(module_of(page))
    done = subprocess.run(
        [sys.executable, "-W", "error", *command_for(page, module)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={key: os.environ[key] for key in os.environ if key != "DJANGO_SETTINGS_MODULE"},
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", [*pages(), ROOT / "README.md"], ids=lambda page: page.stem)
def test_what_is_only_shown_is_python_too(page: Path) -> None:
    for snippet in snippets(page):
        if snippet.language == "python":
            ast.parse(snippet.code, filename=f"{page.name}, line {snippet.line}")


def test_pages_with_snippets_are_found() -> None:
    assert {"index", "concepts/durability", "reference/settings"} <= set(map(name_of, PAGES))
    assert len(PAGES) >= 14
