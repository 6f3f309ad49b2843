"""What reaches the screen: nothing hostile, nothing too wide, nothing once the reader has gone."""

from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import OutputWrapper
from django.core.management.color import color_style, no_style
from hypothesis import given
from hypothesis import strategies as st

from fluxio import Context, current_step, stage
from fluxio_django.management.table import Column, draw, fitted
from fluxio_django.management.terminal import (
    Terminal,
    Text,
    Tone,
    clean,
    clean_lines,
    columns_of,
    shortened,
)
from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import HOSTILE, Charge, price, speak


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    """A pipe whose reader has gone after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, text: str) -> int:
        if self.left == 0:
            raise BrokenPipeError
        self.left -= 1
        return super().write(text)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    return Screen()


def terminal(stream: io.StringIO, **options: Any) -> Terminal:
    return Terminal(OutputWrapper(stream), no_style(), **options)


def is_harmless(text: str) -> bool:
    return all(one == "\n" or one.isprintable() for one in text)


# --- hostile text


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_no_character_that_steers_a_terminal_gets_through(text: str) -> None:
    shown = clean(text)
    assert {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    assert "\n" not in shown
    assert clean(shown) == shown
    shown.encode()


def test_harmless_text_of_any_language_stays_as_it_is() -> None:
    for text in ("Zoë", "日本語", "Ωμέγα", "🙂", "a\\b"):
        assert clean(text) == text


def test_lines_stay_lines_where_they_may() -> None:
    assert clean_lines("a\n\x1b[2Jb\r\n") == "a\n\\x1b[2Jb\\r\n"


def test_hostile_keys_and_values_are_shown_escaped(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [speak])
    outputs = [
        shell("fluxio_run", "shop", "--run-id", "r", "--input", '{"a\\u001b[2J": "\\u0007"}')
    ]
    registered("shop", [speak, Charge(HOSTILE).stage()])
    outputs += [
        shell.refused("fluxio_run", "shop", "--run-id", "failed"),
        shell.out,
        shell("fluxio_show", "failed", "--values", verbosity=2),
        shell("fluxio_show", "failed", "--json", "--values"),
        shell("fluxio_runs"),
        shell("fluxio_diff", "r", "failed"),
        shell("fluxio_diff", "r", "r", "--at-a", "0", "--paths"),
    ]
    for output in outputs:
        assert is_harmless(output)
    assert "\\x1b[31mred" in outputs[2]


def test_hostile_words_of_the_person_who_types_are_shown_escaped(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price])
    for words in (
        ["fluxio_run", HOSTILE],
        ["fluxio_run", "shop", "--run-id", HOSTILE],
        ["fluxio_run", "shop", "--input", '{"a": "\x1b[2J'],
        ["fluxio_run", "shop", "--input-file", "\x1b[2J"],
        ["fluxio_show", HOSTILE],
        ["fluxio_show", "nul\x00"],
        ["fluxio_diff", HOSTILE, "b"],
        ["fluxio_fork", HOSTILE, "--set", "\x1b[2J"],
    ):
        assert is_harmless(shell.refused(*words))


def test_hostile_reports_of_a_stage_are_shown_escaped(
    shell: Shell, registered: Register, screen: Screen
) -> None:
    @stage(version="1")
    async def report(ctx: Context) -> Context:
        current_step().progress(1, 1, HOSTILE)
        return ctx

    registered("shop", [report], durable=False)
    assert is_harmless(shell("fluxio_run", "shop"))
    assert "\\x1b[31mred" in shell.out
    call_command("fluxio_run", "shop", stdout=screen, no_color=True)
    assert "\x1b[31mred" not in screen.getvalue()


def test_hostile_columns_of_a_run_are_shown_escaped(home: str, shell: Shell) -> None:
    Run.objects.using(home).create(
        run_id="x\x1b[2J", pipeline="\x1b[2J", version="\x1b[2J", step="\x1b[2J", error="\x1b[2J"
    )
    assert is_harmless(shell("fluxio_runs"))
    assert shell.out.count("\\x1b[2J") == 4
    assert is_harmless(shell.refused("fluxio_resume", "x\x1b[2J"))


def test_an_error_of_several_lines_cannot_pose_as_one_of_ours(
    shell: Shell, registered: Register
) -> None:
    registered("shop", [Charge("no\nRun r succeeded.\nnever mind").stage()], durable=False)
    message = shell.refused("fluxio_run", "shop")
    assert "\n    Run r succeeded.\n    never mind\n" in message


def test_text_that_the_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    screen = terminal(stream)  # type: ignore[arg-type]
    screen.line("Zoë")
    screen.flush()
    assert raw.getvalue() == b"Zo\\xeb\n"


# --- colours


def test_colours_are_for_terminals_and_for_those_who_insist(screen: Screen) -> None:
    style = color_style(force_color=True)
    piped, forced = io.StringIO(), io.StringIO()
    Terminal(OutputWrapper(piped), style).line(Text("well", Tone.GOOD))
    Terminal(OutputWrapper(forced), style, force_color=True).line(Text("well", Tone.GOOD))
    Terminal(OutputWrapper(screen), style).line(Text("well", Tone.GOOD))
    assert piped.getvalue() == "well\n"
    assert "\x1b[" in forced.getvalue()
    assert "\x1b[" in screen.getvalue()


def test_no_color_is_heeded(home: str, screen: Screen, registered: Register) -> None:
    registered("shop", [price])
    call_command("fluxio_run", "shop", "--run-id", "r", stdout=screen, no_color=True)
    screen.truncate(0)
    call_command("fluxio_runs", stdout=screen, no_color=True)
    assert "\x1b" not in screen.getvalue()


# --- tables

COLUMNS = [
    Column(title="id"),
    Column(title="number", right=True, optional=True),
    Column(title="text", least=6),
]


def drawn(stream: io.StringIO, *rows: list[str]) -> list[str]:
    draw(terminal(stream), COLUMNS, rows)
    return stream.getvalue().splitlines()


def test_columns_are_aligned_numbers_to_the_right() -> None:
    assert drawn(io.StringIO(), ["a", "5", "x"], ["long", "1000", "日本"], ["b", "7", ""]) == [
        "id    number  text",
        "a          5  x",
        "long    1000  日本",
        "b          7",
    ]


def test_wide_letters_count_twice() -> None:
    lines = drawn(io.StringIO(), ["日本", "1", "x"], ["ab", "2", "y"])
    assert {columns_of(line) for line in lines[1:]} == {columns_of(lines[1])}


def test_a_column_in_which_nothing_stands_is_left_out() -> None:
    assert drawn(io.StringIO(), ["a", "", "x"])[0] == "id  text"


def test_a_terminal_never_gets_a_line_that_is_too_wide(screen: Screen) -> None:
    lines = drawn(screen, ["a" * 10, "1", "x" * 500])
    assert [columns_of(line) for line in lines] == [24, 60]
    assert lines[1].endswith("x…")


def test_a_terminal_that_is_too_narrow_for_a_table_gets_a_value_a_line(screen: Screen) -> None:
    lines = drawn(screen, ["a" * 55, "1", "x" * 500], ["b" * 70, "22", "y"])
    assert [columns_of(line) for line in lines] == [55, 11, 60, 60, 12, 11]
    assert lines[2].endswith("x…")
    assert lines[3].endswith("b…")


def test_a_pipe_gets_rows_that_are_long_whole_a_value_a_line() -> None:
    assert drawn(io.StringIO(), ["a", "1", "x" * 500], ["b", "22", "y"]) == [
        "id  number  text",
        "a",
        "  number  1",
        "  text    " + "x" * 500,
        "b       22  y",
    ]


def test_a_pipe_gets_a_table_a_value_a_line_that_only_single_rows_would_fit_into() -> None:
    rows = ["a" * 100, "1", "x"], ["b", "22", "y" * 100]
    assert [line.split() for line in drawn(io.StringIO(), *rows)] == [
        ["a" * 100],
        ["number", "1"],
        ["text", "x"],
        ["b"],
        ["number", "22"],
        ["text", "y" * 100],
    ]


def test_a_pipe_gets_names_beside_their_values_however_long() -> None:
    assert drawn(io.StringIO(), ["a", "", "x" * 500], ["bc", "", "y"]) == [
        "id  text",
        "a   " + "x" * 500,
        "bc  y",
    ]


def test_a_pipe_gets_plain_ascii_for_what_is_left_out() -> None:
    line = drawn(io.StringIO(), ["a", "1", "x" * 5_000])[-1]
    assert line.endswith("x...")
    assert len(line) < 1_100


def test_optional_columns_give_way_before_what_cannot_be_cut() -> None:
    assert list(fitted(COLUMNS, [30, 6, 40], 60)) == [0, 1, 2]
    assert fitted(COLUMNS, [30, 6, 40], 42) == {0: 30, 2: 10}
    assert fitted(COLUMNS, [30, 6, 40], 10) == {0: 30, 2: 6}


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_shortened_text_fits(text: str, width: int) -> None:
    text = clean(text)
    short = shortened(text, width, "...")
    assert columns_of(short) <= width
    assert short == text or columns_of(text) > width


# --- readers that leave


def test_a_run_is_finished_though_nobody_reads_on(home: str, registered: Register) -> None:
    registered("shop", [price, speak])
    pipe = Pipe(writes=1)
    call_command("fluxio_run", "shop", "--run-id", "r", stdout=pipe)
    assert pipe.getvalue().startswith("Run r of shop")
    assert Run.objects.using(home).get(run_id="r").status == "succeeded"


def test_a_table_ends_quietly_when_nobody_reads_on(registered: Register) -> None:
    registered("shop", [price])
    call_command("fluxio_list", stdout=Pipe(writes=0))
