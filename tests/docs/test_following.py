"""The reader who follows the tutorial is neither blind nor pedantic."""

from __future__ import annotations

import pytest

from tests.docs.following import commands, matches
from tests.docs.pages import DOCS, snippets


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("", "anything\n"),
        ("one\n", "one\n"),
        ("run   status\n", "\nrun  status  \n"),
        ("took ... ms\n", "took 17 ms\n"),
        ("one\n...\nfour\n", "one\ntwo\nthree\nfour\n"),
        ("one\n...\n", "one\n"),
    ],
)
def test_what_is_as_the_page_says_is_accepted(expected: str, printed: str) -> None:
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("one\n", ""),
        ("one\n", "one\ntwo\n"),
        ("one\ntwo\n", "two\none\n"),
        ("took ... ms\n", "took 17 s\n"),
        ("one\n...\nfour\n", "one\ntwo\n"),
        ("price  8  0\n", "price  80\n"),
    ],
)
def test_what_is_otherwise_is_noticed(expected: str, printed: str) -> None:
    assert not matches(expected, printed)


def test_the_tutorial_has_commands_to_follow() -> None:
    blocks = [block for block in snippets(DOCS / "tutorial.md") if block.language == "console"]
    typed = [command.typed for block in blocks for command in commands(block)]
    assert "python manage.py fluxio_resume order-2" in typed
    assert len(typed) >= 18
