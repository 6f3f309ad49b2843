"""The pages outside of Sphinx link to files that exist; Sphinx checks the others itself."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)[^)]*\)|^\[[^\]]+\]: (?P<reference>\S+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_file_or_to_an_encrypted_address(page: str) -> None:
    targets = [
        match["target"] or match["reference"] for match in LINK.finditer((ROOT / page).read_text())
    ]
    lost = [
        target
        for target in targets
        if not (target.startswith("https://") if "://" in target else (ROOT / target).exists())
    ]
    assert not lost
