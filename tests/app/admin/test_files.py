"""What the files of the admin never contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fluxio_django

HOME = Path(fluxio_django.__file__).parent
TEMPLATES = sorted((HOME / "templates").rglob("*.html"))
MODULES = sorted((HOME / "admin").rglob("*.py"))
STYLES = sorted((HOME / "static").rglob("*.css"))


def test_there_is_something_to_look_at() -> None:
    assert len(TEMPLATES) > 5
    assert len(MODULES) > 10
    assert STYLES


@pytest.mark.security(8)
@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_templates_trust_nothing_and_hold_no_inline_code(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for forbidden in (
        r"\|\s*safe",
        r"autoescape",
        r"<script(?![^>]*\bsrc=)",
        r"<style",
        r"\sstyle\s*=",
        r"\son[a-z]+\s*=",
        r"javascript:",
    ):
        assert not re.search(forbidden, text, re.IGNORECASE), forbidden


@pytest.mark.security(17)
@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_modules_speak_no_sql(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for forbidden in (".raw(", "cursor("):
        assert forbidden not in text


@pytest.mark.security(4, 8)
def test_nothing_is_trusted_or_exempt_anywhere() -> None:
    texts = [file.read_text(encoding="utf-8") for file in HOME.rglob("*.py")]
    assert len(texts) > 100
    for forbidden in ("mark_safe", "SafeString", "SafeText", "csrf_exempt"):
        assert not any(forbidden in text for text in texts), forbidden


@pytest.mark.parametrize("file", STYLES, ids=lambda file: file.name)
def test_colours_are_those_of_the_admin(file: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?=[^{]*;)", text)
    assert not re.search(r"\b(rgb|hsl)a?\(|:\s*(red|green|blue|white|black|gr[ae]y)\b", text)
    assert "url(" not in text
