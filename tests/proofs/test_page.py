"""What was measured is told truthfully: in a table of the newest figures, with their size."""

from datetime import date
from fractions import Fraction

import pytest

from tests.proofs.page import HEAD, PAGE, with_lines
from tests.proofs.sizes import Scale, Size
from tests.proofs.tally import Line, Tally

MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)
SOAK = Size(scale=Scale.SOAK)
PAGE_TEXT = f"before\n\n{HEAD}\nafter\n"


def line(guarantee: str, database: str = "SQLite", trials: int = 1000, violations: int = 0) -> Line:
    return Line(guarantee=guarantee, database=database, trials=trials, violations=violations)


def test_lines_are_written_in_order_between_what_stands_around_them() -> None:
    text = with_lines(PAGE_TEXT, [line("G10"), line("G2b"), line("G2", "MariaDB")], SOAK, MONDAY)
    assert text == (
        f"before\n\n{HEAD}"
        "| G2 | MariaDB | 1,000 | 0 | soak | 2026-11-23 |\n"
        "| G2b | SQLite | 1,000 | 0 | soak | 2026-11-23 |\n"
        "| G10 | SQLite | 1,000 | 0 | soak | 2026-11-23 |\n"
        "\nafter\n"
    )


def test_a_line_that_is_measured_again_replaces_its_older_self_and_no_other() -> None:
    before = with_lines(PAGE_TEXT, [line("G1"), line("G2")], SOAK, MONDAY)
    after = with_lines(before, [line("G1", trials=7, violations=2)], SOAK, TUESDAY)
    assert "| G1 | SQLite | 7 | 2 | soak | 2026-11-24 |\n" in after
    assert "| G2 | SQLite | 1,000 | 0 | soak | 2026-11-23 |\n" in after
    assert after.count("| G1 |") == 1


def test_a_soak_that_was_cut_says_so() -> None:
    cut = Size(scale=Scale.SOAK, share=Fraction(1, 10))
    assert "| soak, cut to 1/10 | 2026-11-23 |" in with_lines(PAGE_TEXT, [line("G1")], cut, MONDAY)


def test_a_page_without_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table"):
        with_lines("nothing", [line("G1")], SOAK, MONDAY)


def test_the_page_in_the_documentation_has_the_table() -> None:
    assert with_lines(PAGE.read_text(), [], SOAK, MONDAY) == PAGE.read_text()


def test_trials_of_several_guarantees_are_counted_for_each_and_held_against_the_broken() -> None:
    tally = Tally()
    tally.add_trial(["G1", "G3"], "SQLite", {"G3"}, "G1")
    tally.add_trial(["G1", "G3"], "SQLite", {"G2"}, "G1")
    assert [(it.guarantee, it.trials, it.violations) for it in tally.lines()] == [
        ("G1", 2, 1),
        ("G3", 2, 1),
    ]
    assert tally.text()[1] == "G1         SQLite         2           1"
