"""Progress: what is told of a running step, where, and how often."""

from __future__ import annotations

import asyncio
import errno
import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.core.management.color import no_style

from fluxio import Context, Parallel, stage
from fluxio.runtime.step import Step
from fluxio_django.management import display
from fluxio_django.management.display import Lines
from fluxio_django.management.live import LiveLines
from fluxio_django.management.progress import Progress, StepLines
from fluxio_django.management.runs import elapsed
from fluxio_django.management.terminal import Terminal
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, count, note, price


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class HandClock:
    """A clock that moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(stream: io.StringIO) -> Terminal:
    return Terminal(OutputWrapper(stream), no_style())


def step(key: str = "load") -> Step:
    return Step(run_id="r", key=key, pipeline="shop")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def test_a_step_that_reports_often_is_heard_once_a_second_and_at_its_end() -> None:
    out, clock = io.StringIO(), HandClock()
    terminal = plain(out)
    lines = Lines(terminal, clock)
    progress = Progress(lines, StepLines(lines, terminal))
    lines.begin("load")
    for done in range(1, 11):
        clock.now += 0.25
        progress.report(step(), done, 10, "")
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["4", "8", "10"]


def test_steps_report_independently_of_one_another() -> None:
    out, clock = io.StringIO(), HandClock()
    terminal = plain(out)
    lines = Lines(terminal, clock)
    progress = Progress(lines, StepLines(lines, terminal))
    lines.begin("a")
    lines.begin("b")
    clock.now = 1.0
    progress.report(step("a"), 1, None, "first")
    progress.report(step("b"), 1_000, 4_000, "")
    assert out.getvalue() == "  a: 1  first\n  b: 1,000 of 4,000 (25 %)\n"


def test_a_total_of_nothing_is_no_division_by_zero() -> None:
    out = io.StringIO()
    terminal = plain(out)
    lines = Lines(terminal, HandClock())
    Progress(lines, StepLines(lines, terminal)).report(step(), 0, 0, "")
    assert out.getvalue() == "  load: 0 of 0\n"


def test_lines_are_seen_at_once_also_behind_a_pipe(registered: Register, tmp_path: Path) -> None:
    file = tmp_path / "log"

    @stage(version="1")
    async def look(ctx: Context) -> Context:
        while "wrote noted" not in file.read_text():
            await asyncio.sleep(0)
        return ctx

    registered("shop", [note, look], durable=False)
    with file.open("w", buffering=8192) as stream:
        call_command("fluxio_run", "shop", stdout=stream)


def drawn(screen: Screen, words: str) -> str:
    """What the screen shows once the words are on it; it is drawn several times a second."""
    while words not in screen.getvalue():
        pass
    return screen.getvalue()


ERASED = "\x1b[1A\x1b[2K"
"""One line up, and the line there erased."""


def test_running_steps_are_marked_below_the_lines_that_stay(screen: Screen) -> None:
    terminal = plain(screen)
    live = LiveLines(terminal, screen)
    progress = Progress(live, StepLines(live, terminal))
    live.begin("load")
    live.begin("look")
    progress.report(step("look"), 2, 4, "rows")
    drawn(screen, "look  2 of 4 (50 %)  rows")
    live.end("look")
    live.begin("last")
    drawn(screen, "last")
    screen.truncate(0)
    live.tell("  look  4 ms  wrote rows")
    lines = screen.getvalue()
    live.close()
    assert screen.getvalue().endswith(ERASED)
    live.close()
    assert lines.index("wrote rows") < lines.index("load") < lines.index("last")
    assert lines.count("look") == 1


def test_of_many_running_steps_the_rest_are_counted(screen: Screen) -> None:
    live = LiveLines(plain(screen), screen)
    for number in range(100):
        live.begin(f"branch_{number}")
    shown = drawn(screen, "and 92 more")
    live.close()
    assert "branch_7" in shown
    assert "branch_8" not in shown


def test_a_run_is_drawn_on_a_terminal_and_gives_it_back(
    screen: Screen, registered: Register
) -> None:
    registered("shop", [price], durable=False)
    call_command("fluxio_run", "shop", stdout=screen)
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert screen.getvalue().count(hide) == screen.getvalue().count(show) == 1
    assert "wrote total, due" in screen.getvalue()


def test_a_terminal_is_given_back_when_the_run_fails(screen: Screen, registered: Register) -> None:
    registered("shop", [price, Charge().stage()], durable=False)
    with pytest.raises(CommandError):
        call_command("fluxio_run", "shop", stdout=screen)
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert screen.getvalue().count(hide) == screen.getvalue().count(show) == 1


def test_without_rich_a_terminal_gets_plain_lines(
    screen: Screen, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "drawn", None)
    registered("shop", [price], durable=False)
    call_command("fluxio_run", "shop", stdout=screen, no_color=True)
    assert "\x1b" not in screen.getvalue()
    assert "wrote total, due" in screen.getvalue()


def test_a_terminal_that_cannot_be_drawn_on_gets_plain_lines(
    screen: Screen, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    registered("shop", [price], durable=False)
    call_command("fluxio_run", "shop", stdout=screen, no_color=True)
    assert "\x1b" not in screen.getvalue()


def test_what_a_step_wrote_is_cut_to_the_terminal(
    screen: Screen, registered: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    @stage(version="1")
    async def many(ctx: Context) -> Context:
        return ctx.update({f"key_{number}": number for number in range(100)})

    monkeypatch.setattr(display, "drawn", None)
    registered("shop", [many], durable=False)
    call_command("fluxio_run", "shop", stdout=screen, no_color=True)
    (line,) = [line for line in screen.getvalue().splitlines() if "wrote" in line]
    assert len(line) == 80
    assert line.endswith("…")


def test_a_report_that_cannot_be_written_does_not_fail_the_stage(registered: Register) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            if "of 3" in text:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(text)

    registered("shop", [count], durable=False)
    out = Full()
    call_command("fluxio_run", "shop", stdout=out)
    assert "succeeded" in out.getvalue()


def test_each_branch_is_told_with_what_it_wrote(shell: Shell, registered: Register) -> None:
    registered("shop", [Parallel([note, price], name="fan"), count], durable=False)
    lines = [line.split() for line in shell("fluxio_run", "shop").splitlines()]
    wrote = {line[0]: line[4:] for line in lines if line[0].startswith("fan/")}
    assert wrote == {"fan/note": ["noted"], "fan/price": ["total,", "due"]}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0004, "0 ms"), (0.9, "900 ms"), (1.25, "1.2 s"), (59.9, "59.9 s"), (61, "1 min 1 s"),
     (3_599.6, "1 h 0 min"), (7_384, "2 h 3 min")],
)  # fmt: skip
def test_durations_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert elapsed(seconds) == words
