"""fluxio_run: what it runs, what it shows, and what it refuses before anything runs."""

from __future__ import annotations

import io
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from fluxio import Context, ForkMode, Parallel, RetryMiddleware, stage
from fluxio_django import pipelines
from fluxio_django.models import Run
from tests.app.commands.conftest import Register, Shell
from tests.app.commands.stages import Charge, choose, count, keep, note, price


def test_a_run_is_executed_and_its_context_shown(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price, count])
    out = shell("fluxio_run", "shop", "--run-id", "r", "--input", '{"order": 42}')
    assert Run.objects.using(home).get(run_id="r").status == "succeeded"
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["Run", "r", "of", "shop"]
    assert ["order", "42"] in lines
    assert ["total", "Decimal('12.50')"] in lines


def test_every_step_gets_a_line_with_what_it_wrote(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price, count, choose, {"big": [note], "small": [price]}])
    lines = [line.split() for line in shell("fluxio_run", "shop").splitlines()]
    steps = {line[0]: line[3:] for line in lines if line[0] in ("price", "count")}
    assert steps == {"price": ["wrote", "total,", "due"], "count": ["wrote", "rows"]}
    assert ["choose", "->", "big"] in lines
    assert any(line[0] == "choose/big/note" and line[-1] == "noted" for line in lines)


def test_a_stage_that_reports_how_far_it_is_is_heard(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [count])
    assert "count: 3 of 3 (100 %)  rows" in shell("fluxio_run", "shop")


def test_json_is_one_object_and_nothing_else(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [price, count])
    facts = shell.json("fluxio_run", "shop", "--run-id", "r")
    assert facts == {
        "run_id": "r",
        "pipeline": "shop",
        "status": "succeeded",
        "executed": True,
        "background_failures": [],
        "context": {"total": {"$decimal": "12.50"}, "due": {"$date": "2026-11-23"}, "rows": 3},
    }


def test_a_secret_is_shown_by_no_form_of_output(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [keep])
    assert "hunter2" not in shell("fluxio_run", "shop", "--run-id", "r")
    for words in (
        ["fluxio_run", "shop", "--json"],
        ["fluxio_show", "r", "--values"],
        ["fluxio_show", "r", "--values", "--json"],
        ["fluxio_diff", "r", "r", "--at-a", "0"],
        ["fluxio_diff", "r", "r", "--at-a", "0", "--paths", "--json"],
    ):
        assert "hunter2" not in shell(*words)
        assert "password" in shell.out


def test_a_generated_run_id_is_told(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [price])
    run_id = shell.json("fluxio_run", "shop")["run_id"]
    assert Run.objects.using(home).filter(run_id=run_id).exists()


def test_verbosity_0_writes_nothing(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [price])
    assert shell("fluxio_run", "shop", verbosity=0) == ""


@pytest.mark.parametrize("words", [("--input", "-"), ("--input-file", "-")])
def test_input_is_read_from_standard_input(
    words: tuple[str, str],
    home: str,
    shell: Shell,
    registered: Register,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered("shop", [price])
    stdin = io.TextIOWrapper(io.BytesIO('{"order": "é"}'.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert shell.json("fluxio_run", "shop", *words)["context"]["order"] == "é"


def test_input_is_read_from_a_file_with_or_without_a_byte_order_mark(
    home: str, shell: Shell, registered: Register, tmp_path: Path
) -> None:
    registered("shop", [price])
    file = tmp_path / "input.json"
    for encoding in ("utf-8", "utf-8-sig"):
        file.write_text('{"order": 7}', encoding=encoding)
        facts = shell.json("fluxio_run", "shop", "--input-file", str(file))
        assert facts["context"]["order"] == 7


def test_a_failing_stage_is_told_with_the_command_that_resumes(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price, Charge().stage()])
    message = shell.refused("fluxio_run", "shop", "--run-id", "r")
    assert message.startswith("Run r failed at step charge: CardDeclinedError: no funds")
    assert message.splitlines()[-1].strip() == "python manage.py fluxio_resume r"
    lines = [line.split() for line in shell.out.splitlines()]
    assert ["charge", "failed", "CardDeclinedError"] in lines


def test_the_command_that_resumes_is_safe_to_paste(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [Charge().stage()])
    message = shell.refused("fluxio_run", "shop", "--run-id=-a;$(reboot)'")
    last = message.splitlines()[-1].strip()
    assert last == """python manage.py fluxio_resume -- '-a;$(reboot)'"'"''"""


def test_a_failure_is_one_json_object_for_scripts(
    home: str, shell: Shell, registered: Register
) -> None:
    retry = RetryMiddleware(max_attempts=2, base_delay=0)
    registered("shop", [price, Charge().stage()], middleware=[retry])
    assert "after 2 tries" in shell.refused("fluxio_run", "shop", "--run-id", "r", "--json")
    assert json.loads(shell.out) == {
        "run_id": "r",
        "pipeline": "shop",
        "status": "failed",
        "executed": True,
        "step": "charge",
        "tries": 2,
        "error": {"type": "CardDeclinedError", "message": "no funds"},
    }


def test_a_failure_of_a_background_branch_is_told_and_the_run_goes_on(
    home: str, shell: Shell, registered: Register
) -> None:
    later = Parallel([Charge().stage()], mode=ForkMode.FIRE_FORGET, name="later")
    registered("shop", [later, price])
    facts = shell.json("fluxio_run", "shop")
    assert (facts["status"], facts["background_failures"]) == ("succeeded", ["later/charge"])
    assert "the run goes on without it" in shell("fluxio_run", "shop")


def test_a_run_that_is_not_durable_promises_no_resume(shell: Shell, registered: Register) -> None:
    registered("shop", [Charge().stage()], durable=False)
    message = shell.refused("fluxio_run", "shop")
    assert "not durable" in message
    assert "fluxio_resume" not in message


def test_an_error_that_cannot_speak_is_told_all_the_same(
    shell: Shell, registered: Register
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @stage(version="1")
    async def fail(ctx: Context) -> Context:
        raise MuteError

    registered("shop", [fail], durable=False)
    assert "MuteError: (no message)" in shell.refused("fluxio_run", "shop")


def test_a_value_that_cannot_be_shown_does_not_hide_the_others(
    shell: Shell, registered: Register
) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    @stage(version="1")
    async def make(ctx: Context) -> Context:
        return ctx.set("mute", Mute()).set("loud", 1)

    registered("shop", [make], durable=False)
    out = shell("fluxio_run", "shop")
    assert ["loud", "1"] in [line.split() for line in out.splitlines()]
    kind = shell.json("fluxio_run", "shop")["context"]["mute"]["$unstorable"]
    assert kind.endswith(".Mute")


def test_an_unknown_pipeline_is_refused_with_what_is_there(
    shell: Shell, registered: Register
) -> None:
    registered("shop", [price])
    message = shell.refused("fluxio_run", "shoop")
    assert message.startswith("No pipeline 'shoop' is registered. Registered: ")
    assert "shop" in message.partition("Registered: ")[2]


MALFORMED = {
    "a word": ('{"a": tru}', 1, 7, '    {"a": tru}\n          ^'),
    "the second line": ('{"a": 1,\n "b": }', 2, 7, '     "b": }\n          ^'),
    "a repeated key": ('{"a": 1, "a": 2}', 1, 10, '    {"a": 1, "a": 2}\n             ^'),
    "NaN": ('{"a": NaN}', 1, 7, '    {"a": NaN}\n          ^'),
    "a tab before it": ('{\t"a": ?}', 1, 8, '    {\\t"a": ?}\n            ^'),
    "a wide letter before it": ('{"日": ?}', 1, 7, '    {"日": ?}\n           ^'),
    "nothing at all": ("", 1, 1, "    \n    ^"),
}


@pytest.mark.parametrize(("text", "line", "column", "pointed"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_json_is_pointed_at(
    text: str, line: int, column: int, pointed: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price], durable=False)
    message = shell.refused("fluxio_run", "shop", "--input", text)
    assert f"line {line}, column {column}" in message
    assert message.endswith(pointed)


def test_of_a_long_line_only_the_surroundings_of_the_fault_are_shown(
    shell: Shell, registered: Register
) -> None:
    registered("shop", [price], durable=False)
    text = '{"a": "' + "x" * 5_000 + '", "b": ?, "c": "' + "y" * 5_000 + '"}'
    *_, faulty, caret = shell.refused("fluxio_run", "shop", "--input", text).splitlines()
    assert len(faulty) < 140
    assert faulty[caret.index("^")] == "?"


def test_bytes_that_are_no_utf_8_are_pointed_at(
    shell: Shell, registered: Register, tmp_path: Path
) -> None:
    registered("shop", [price], durable=False)
    file = tmp_path / "latin.json"
    file.write_bytes('{"name": "Zoë"}'.encode("latin-1"))
    message = shell.refused("fluxio_run", "shop", "--input-file", str(file))
    *_, faulty, caret = message.splitlines()
    assert "line 1, column 13" in message
    assert faulty[caret.index("^")] == "ë"


@pytest.mark.parametrize(
    ("text", "kind"), [("[1]", "an array"), ("3", "a number"), ("null", "null"), ('"a"', "a text")]
)
def test_input_that_is_no_object_is_refused(
    text: str, kind: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price], durable=False)
    assert f"--input is {kind}" in shell.refused("fluxio_run", "shop", "--input", text)


def test_a_file_that_is_not_there_is_refused(shell: Shell, registered: Register) -> None:
    registered("shop", [price], durable=False)
    message = shell.refused("fluxio_run", "shop", "--input-file", "/no/such/file")
    assert "No such file" in message


def test_an_enormous_input_is_refused_without_being_read_whole(
    shell: Shell, registered: Register
) -> None:
    registered("shop", [price], durable=False)
    message = shell.refused("fluxio_run", "shop", "--input-file", "/dev/zero")
    assert "are allowed" in message


def test_two_inputs_at_once_are_wrong_usage(registered: Register) -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("fluxio_run", "shop", "--input={}", "--input-file=x")


def test_a_run_id_that_is_taken_is_refused_with_the_other_policies(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price])
    registered("other", [note])
    shell("fluxio_run", "shop", "--run-id", "r")
    message = shell.refused("fluxio_run", "shop", "--run-id", "r")
    assert "exists already (succeeded)" in message
    assert "--on-conflict: restart, resume or return" in message
    foreign = shell.refused("fluxio_run", "other", "--run-id", "r")
    assert "belongs to pipeline 'shop'" in foreign
    assert "--on-conflict" not in foreign


def test_a_run_that_is_being_executed_cannot_be_started_again(
    home: str, shell: Shell, registered: Register
) -> None:
    registered("shop", [price])
    shell("fluxio_run", "shop", "--run-id", "r")
    lease = timezone.now() + timedelta(minutes=1)
    Run.objects.filter(run_id="r").update(
        status="running", owner="otherhost:1:2:3", lease_expires_at=lease
    )
    message = shell.refused("fluxio_run", "shop", "--run-id", "r", "--on-conflict", "restart")
    assert "is being executed by otherhost:1:2:3" in message
    assert lease.strftime("%H:%M:%S") in message
    assert "--on-conflict" not in message


def test_a_stored_result_is_shown_as_such(home: str, shell: Shell, registered: Register) -> None:
    registered("shop", [price])
    shell("fluxio_run", "shop", "--run-id", "r")
    out = shell("fluxio_run", "shop", "--run-id", "r", "--on-conflict", "return")
    assert "has succeeded before; nothing was run" in out
    assert "12.50" in out


def test_a_value_that_cannot_be_stored_fails_the_run_with_its_path(
    home: str, shell: Shell, registered: Register
) -> None:
    @stage(version="1")
    async def make(ctx: Context) -> Context:
        return ctx.set("made", {"deep": object()})

    registered("shop", [make])
    assert 'ctx["made"]["deep"]' in shell.refused("fluxio_run", "shop")


def test_a_bug_in_the_project_keeps_its_own_traceback(shell: Shell) -> None:
    def broken() -> Any:
        raise ZeroDivisionError

    pipelines.add("broken", broken)
    try:
        with pytest.raises(ZeroDivisionError):
            shell("fluxio_run", "broken")
    finally:
        pipelines.remove("broken")


def test_commands_work_in_threads_other_than_the_main_one(
    shell: Shell, registered: Register
) -> None:
    registered("shop", [note], durable=False)
    thread = threading.Thread(target=shell, args=("fluxio_run", "shop"))
    thread.start()
    thread.join()
    assert "succeeded" in shell.out
