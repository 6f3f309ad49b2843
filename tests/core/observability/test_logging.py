"""Every event becomes a log record that people can read and machines can filter."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fluxio.observability.logging import LoggingCallback
from fluxio.types import RunStatus
from tests.core.observability.story import CANARY, Story, caught, tell


class Recorder(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def fields(self, index: int = 0) -> dict[str, Any]:
        return {
            name.removeprefix("fluxio_"): value
            for name, value in vars(self.records[index]).items()
            if name.startswith("fluxio_")
        }


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    logger = logging.getLogger("fluxio.runs")
    before, handler = logger.level, Recorder()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


async def test_every_event_is_logged_in_a_sentence(recorder: Recorder) -> None:
    await tell(LoggingCallback(), *Story().all())
    assert recorder.messages == [
        "Run run-1 of orders.checkout begins",
        "Run run-1: checkpoint 0 is durable (120 bytes)",
        "Run run-1: step ask starts",
        "Run run-1: step ask yielded chunk 0",
        "Run run-1: step ask yielded chunk 1",
        "Run run-1: checkpoint 1 is durable (120 bytes)",
        "Run run-1: step ask succeeded after 0.25 s (tries: 1)",
        "Run run-1: step ask chose route 'premium'",
        "Run run-1: fan_out opened branch mail",
        "Run run-1: step charge starts",
        "Run run-1: checkpoint 2 is durable (120 bytes)",
        "Run run-1: step charge failed with ValueError (tries: 3)",
        "Run run-1 of orders.checkout ended: failed after 1.5 s",
    ]


async def test_what_comes_in_numbers_is_a_detail_and_failures_are_errors(
    recorder: Recorder,
) -> None:
    await tell(LoggingCallback(), *Story().all())
    levels = {record.getMessage(): record.levelno for record in recorder.records}
    assert [message for message, level in levels.items() if level == logging.INFO] == [
        "Run run-1 of orders.checkout begins",
        "Run run-1: step ask succeeded after 0.25 s (tries: 1)",
        "Run run-1: step ask chose route 'premium'",
    ]
    assert [message for message, level in levels.items() if level == logging.ERROR] == [
        "Run run-1: step charge failed with ValueError (tries: 3)",
        "Run run-1 of orders.checkout ended: failed after 1.5 s",
    ]


async def test_the_fields_say_everything_that_the_sentence_says(recorder: Recorder) -> None:
    story = Story()
    await tell(
        LoggingCallback(),
        story.begins(resumed=True, attempt=2),
        story.step_ends("fan_out/mail/charge", branch="fan_out/mail", tries=2),
        story.step_fails(caught(OSError()), fatal=False),
        story.ends(),
        story.branches(background=True),
        story.saves(3),
    )
    run = {"run_id": "run-1", "pipeline": "orders.checkout"}
    step = {"step": "charge", "stage": "charge", "branch": ""}
    assert recorder.fields(0) == run | {
        "event": "PipelineStarted",
        "version": "abc123",
        "attempt": 2,
        "resumed": True,
    }
    assert recorder.fields(1) == run | {
        "event": "StepEnded",
        "step": "fan_out/mail/charge",
        "stage": "charge",
        "branch": "fan_out/mail",
        "duration": 0.25,
        "tries": 2,
    }
    assert recorder.fields(2) == run | step | {
        "event": "StepFailed",
        "tries": 3,
        "fatal": False,
        "error_type": "OSError",
    }
    assert recorder.fields(3) == run | {
        "event": "PipelineEnded",
        "status": "succeeded",
        "duration": 1.5,
    }
    assert recorder.fields(4) == run | {
        "event": "BranchOpened",
        "fork": "fan_out",
        "branch": "mail",
        "background": True,
    }
    assert recorder.fields(5) == run | {
        "event": "CheckpointSaved",
        "sequence": 3,
        "size": 120,
        "step": "charge",
    }
    assert "goes on" in recorder.messages[0]
    assert "; the run goes on" in recorder.messages[2]


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (RunStatus.SUCCEEDED, logging.INFO),
        (RunStatus.CANCELLED, logging.INFO),
        (RunStatus.FAILED, logging.ERROR),
        (RunStatus.DEAD, logging.ERROR),
    ],
)
async def test_only_a_run_that_failed_ends_with_an_error(
    recorder: Recorder, status: RunStatus, level: int
) -> None:
    await tell(LoggingCallback(), Story().ends(status))
    assert [record.levelno for record in recorder.records] == [level]


async def test_no_value_of_the_context_is_ever_logged(recorder: Recorder) -> None:
    await tell(LoggingCallback(), *Story().all())
    everything = [logging.Formatter().format(record) for record in recorder.records]
    everything += [json.dumps(recorder.fields(index)) for index in range(len(everything))]
    assert CANARY not in "".join(everything)


async def test_messages_of_errors_are_logged_where_they_are_asked_for(recorder: Recorder) -> None:
    story = Story()
    callback = LoggingCallback(error_messages=True)
    error = caught(ValueError("x" * 5000))
    await tell(callback, story.step_fails(error), story.ends(RunStatus.FAILED, error))
    assert recorder.fields(0)["error"] == "x" * 1000
    assert recorder.fields(1)["error"] == "x" * 1000
    assert "Traceback" in logging.Formatter().format(recorder.records[0])
    assert recorder.records[1].exc_info is None


async def test_logger_and_levels_can_be_chosen(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("shop")
    monkeypatch.setattr(logger, "handlers", [recorder])
    monkeypatch.setattr(logger, "level", 1)
    callback = LoggingCallback(
        logger, level=logging.DEBUG, detail_level=5, error_level=logging.WARNING
    )
    await tell(callback, *Story().all())
    assert {record.levelno for record in recorder.records} == {5, logging.DEBUG, logging.WARNING}
    assert {record.name for record in recorder.records} == {"shop"}
    assert LoggingCallback("shop.runs").logger is logging.getLogger("shop.runs")


async def test_a_level_that_nobody_listens_to_costs_no_record(recorder: Recorder) -> None:
    recorder_logger = logging.getLogger("fluxio.runs")
    recorder_logger.setLevel(logging.ERROR)
    await tell(LoggingCallback(), *Story().all())
    assert len(recorder.records) == 2
