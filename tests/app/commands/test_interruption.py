"""Ctrl-C: the run is cancelled in order, can be resumed at once, and the exit code says so."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from fluxio import Context, stage
from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import note, price


def press() -> None:
    """Press Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@stage(version="1")
async def wait(ctx: Context) -> Context:
    if "pressed" not in ctx:
        press()
        await asyncio.Event().wait()
    return ctx.set("waited", True)


@stage(version="1")
def block(ctx: Context) -> Context:
    press()
    return ctx.set("blocked", True)


@pytest.fixture(autouse=True)
def own_handler() -> Iterator[None]:
    """Python's own handler of Ctrl-C, before and after."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler


def status(home: str) -> str:
    return Run.objects.using(home).get(run_id="r").status


def test_a_waiting_run_is_cancelled_and_can_be_resumed_at_once(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price, wait, note])
    with pytest.raises(KeyboardInterrupt):
        shell("fluxio_run", "shop", "--run-id", "r")
    assert status(home) == "cancelled"
    assert "Stopping the run" in shell.out
    assert shell.err.splitlines()[-1].strip() == "python manage.py fluxio_resume r"
    fork = ["fluxio_fork", "r", "--as-run-id", "f", "--set", "pressed=true"]
    assert shell.json(*fork)["context"]["waited"] is True


def test_a_plain_stage_is_not_torn_apart(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [block, wait])
    with pytest.raises(KeyboardInterrupt):
        shell("fluxio_run", "shop", "--run-id", "r")
    assert status(home) == "cancelled"


def test_a_second_press_interrupts_a_plain_stage(
    home: str, shell: Shell, registered: Register
) -> None:
    reached: list[str] = []

    @stage(version="1")
    def stubborn(ctx: Context) -> Context:
        press()
        reached.append("once")
        press()
        reached.append("twice")
        return ctx

    registered("shop", [stubborn])
    with pytest.raises(KeyboardInterrupt):
        shell("fluxio_run", "shop", "--run-id", "r")
    assert reached == ["once"]
    assert status(home) == "cancelled"


def test_a_handler_of_the_project_is_left_in_place(shell: Shell, registered: Register) -> None:
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    registered("shop", [block], durable=False)
    assert "succeeded" in shell("fluxio_run", "shop")
    assert pressed == [signal.SIGINT]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_scripts_get_no_words_among_their_json(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [wait])
    with pytest.raises(KeyboardInterrupt):
        shell("fluxio_run", "shop", "--run-id", "r", "--json")
    assert shell.out == ""
    assert "fluxio_resume r" in shell.err


PROGRAM = """
    import asyncio, django, os, signal, sys
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings
    # Those of the tests are not there unless a test asks for one, and checks of models connect.
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    settings.DATABASES = {"default": sqlite}
    django.setup()
    from django.core.management import execute_from_command_line
    from fluxio import Pipeline, stage
    from fluxio_django import register

    @stage
    async def wait(ctx):
        while True:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not ctx.get("stubborn"):
                    raise

    @stage
    async def talk(ctx):
        return ctx.update({f"key {number}": number for number in range(1000)})

    @stage
    async def fail(ctx):
        raise ValueError("no")

    for function in (wait, talk, fail):
        register(function.name, Pipeline([function]))
    execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def launched(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), *words]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fluxio_run", "talk"], 0),
        (["fluxio_run", "fail"], 1),
        (["fluxio_run", "nope"], 1),
        (["fluxio_run"], 2),
        (["fluxio_run", "talk", "--input={}", "--input-file=x"], 2),
        (["fluxio_run", "wait"], 130),
        (["fluxio_run", "wait", '--input={"stubborn": true}'], 130),
    ],
    ids=["done", "failed", "refused", "usage", "both inputs", "interrupted", "interrupted twice"],
)
def test_exit_codes_are_those_of_the_help(words: list[str], code: int) -> None:
    process = launched(*words)
    assert process.returncode == code, process.stderr
    assert "Traceback" not in process.stderr
    assert (code == 130) == ("was interrupted" in process.stderr)


def test_the_help_of_every_command_has_the_exit_codes() -> None:
    process = launched("fluxio_run", "--help")
    codes = "exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted (Ctrl-C)"
    assert codes in process.stdout


def test_a_reader_that_leaves_is_no_error() -> None:
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM), "fluxio_run", "talk"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0
