"""A run is one Langfuse trace, a step is one observation, and only listed keys are sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from fluxio.codec import Secret
from fluxio.observability.langfuse import LangfuseCallback
from fluxio.types import RunStatus
from tests.core.observability.story import CANARY, Story, caught, tell

pytest.importorskip("langfuse")
pytest.importorskip("opentelemetry.sdk")

import langfuse
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Server:
    """A real client whose spans end up in memory instead of on a server."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.client = langfuse.Langfuse(
            public_key=f"pk-{uuid4()}",
            secret_key="sk",
            base_url="http://127.0.0.1:9",
            tracer_provider=TracerProvider(),
            span_exporter=self.exporter,
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        self.client.flush()
        return list(self.exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.client.shutdown()


def about(span: ReadableSpan) -> dict[str, Any]:
    prefix = "langfuse.observation."
    return {
        name.removeprefix(prefix): value
        for name, value in (span.attributes or {}).items()
        if name.startswith(prefix)
    }


def metadata(span: ReadableSpan) -> dict[str, Any]:
    prefix = "metadata."
    return {
        name.removeprefix(prefix): plain(value)
        for name, value in about(span).items()
        if name.startswith(prefix)
    }


def plain(value: str) -> Any:
    """Some releases of the SDK write everything as JSON, others strings and numbers as they are."""
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


async def test_a_run_has_an_observation_and_each_step_a_child(server: Server) -> None:
    story = Story()
    await tell(
        LangfuseCallback(server.client),
        story.begins(),
        story.step_starts("fan_out/mail/send", branch="fan_out/mail"),
        story.chunk(0, "fan_out/mail/send"),
        story.chunk(1, "fan_out/mail/send"),
        story.step_ends("fan_out/mail/send", branch="fan_out/mail", tries=3),
        story.ends(),
    )
    run, send = server.span("orders.checkout"), server.span("send")
    assert send.parent is not None
    assert send.parent.span_id == run.context.span_id
    assert metadata(run) == {
        "run_id": "run-1",
        "attempt": 1,
        "resumed": False,
        "status": "succeeded",
        "duration": 1.5,
    }
    assert metadata(send) == {
        "run_id": "run-1",
        "step": "fan_out/mail/send",
        "branch": "fan_out/mail",
        "tries": 3,
        "duration": 0.25,
        "chunks": 2,
    }
    assert (run.attributes or {})["langfuse.version"] == "abc123"
    assert "level" not in about(run)


async def test_every_execution_of_a_run_joins_one_trace_in_whichever_process() -> None:
    first, heir = Server(), Server()
    story = Story("req-1")
    await tell(LangfuseCallback(first.client), story.begins(), story.ends(RunStatus.FAILED))
    await tell(LangfuseCallback(heir.client), story.begins(resumed=True, attempt=2), story.ends())
    begun, resumed = first.span("orders.checkout"), heir.span("orders.checkout")
    trace_id = int(langfuse.Langfuse.create_trace_id(seed="req-1"), 16)
    assert begun.context.trace_id == resumed.context.trace_id == trace_id
    assert metadata(resumed)["resumed"] is True
    for server in (first, heir):
        server.client.shutdown()


async def test_a_failure_has_the_level_of_its_harm_and_the_type_of_the_error(
    server: Server,
) -> None:
    story = Story()
    error = caught(ConnectionError(CANARY))
    await tell(
        LangfuseCallback(server.client),
        story.begins(),
        story.step_starts("mail"),
        story.step_fails(error, "mail", fatal=False),
        story.step_starts("charge"),
        story.step_fails(error, "charge", tries=5),
        story.ends(RunStatus.FAILED, error),
    )
    for name, level in {"mail": "WARNING", "charge": "ERROR", "orders.checkout": "ERROR"}.items():
        span = server.span(name)
        assert about(span)["level"] == level
        assert about(span)["status_message"] == "ConnectionError"
    assert metadata(server.span("charge"))["tries"] == 5


async def test_messages_of_errors_are_sent_where_they_are_asked_for(server: Server) -> None:
    story = Story()
    error = caught(ValueError("x" * 5000))
    callback = LangfuseCallback(server.client, error_messages=True)
    await tell(callback, story.begins(), story.ends(RunStatus.FAILED, error))
    assert about(server.span("orders.checkout"))["status_message"] == f"ValueError: {'x' * 988}"


async def test_a_cancelled_run_is_no_error_and_its_open_steps_are_closed(server: Server) -> None:
    story = Story()
    await tell(
        LangfuseCallback(server.client),
        story.begins(),
        story.step_starts(),
        story.ends(RunStatus.CANCELLED, caught(asyncio.CancelledError())),
    )
    assert "level" not in about(server.span("orders.checkout"))
    assert metadata(server.span("orders.checkout"))["status"] == "cancelled"
    assert metadata(server.span("charge"))["unfinished"] is True


async def test_routes_and_branches_are_events_of_the_run(server: Server) -> None:
    await tell(LangfuseCallback(server.client), *Story().all())
    run = server.span("orders.checkout")
    route, branch = server.span("route premium"), server.span("branch mail")
    assert metadata(route) == {"step": "ask", "route": "premium"}
    assert metadata(branch) == {"fork": "fan_out", "background": False}
    for span in (route, branch):
        assert about(span)["type"] == "event"
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id


async def test_no_value_of_the_context_is_sent_unless_its_key_is_listed(server: Server) -> None:
    await tell(LangfuseCallback(server.client), *Story().all())
    assert len(server.spans) == 5
    assert CANARY not in "".join(span.to_json() for span in server.spans)


async def test_listed_keys_are_input_and_output(server: Server) -> None:
    story = Story()
    callback = LangfuseCallback(server.client, keys=["order", "paid"])
    await tell(callback, story.begins(), story.step_starts(), story.step_ends(), story.ends())
    charge, run = about(server.span("charge")), about(server.span("orders.checkout"))
    assert json.loads(charge["input"]) == json.loads(run["input"]) == {"order": 7}
    assert json.loads(charge["output"]) == {"order": 7, "paid": CANARY}
    assert json.loads(run["output"]) == {"order": 7}


def test_one_key_must_stand_in_a_list(server: Server) -> None:
    with pytest.raises(TypeError, match=r"keys=\['answer'\]"):
        LangfuseCallback(server.client, keys="answer")


async def test_nothing_is_remembered_of_a_run_that_ended(server: Server) -> None:
    callback = LangfuseCallback(server.client)
    for number in range(20):
        await tell(callback, *Story(f"run-{number}").all())
    assert callback._executions == {}


async def test_a_run_whose_end_was_never_told_is_closed_when_it_goes_on(server: Server) -> None:
    story, callback = Story(), LangfuseCallback(server.client)
    await tell(callback, story.begins(), story.step_starts())
    await tell(callback, story.begins(resumed=True), story.ends())
    assert [span.name for span in server.spans] == ["charge", "orders.checkout", "orders.checkout"]


async def test_events_of_an_unknown_run_or_step_are_passed_over(server: Server) -> None:
    story, callback = Story(), LangfuseCallback(server.client)
    await tell(callback, *story.all()[1:])
    await tell(callback, story.begins(), story.step_ends("other"), story.ends())
    assert [span.name for span in server.spans] == ["orders.checkout"]


async def test_two_pipelines_may_use_the_same_run_id(server: Server) -> None:
    here, there, callback = Story(), Story(pipeline="returns"), LangfuseCallback(server.client)
    await tell(callback, here.begins(), there.begins())
    await tell(callback, here.ends(RunStatus.CANCELLED), there.ends())
    ends = {span.name: metadata(span)["status"] for span in server.spans}
    assert ends == {"orders.checkout": "cancelled", "returns": "succeeded"}


async def test_a_secret_under_a_listed_key_stays_secret(server: Server) -> None:
    story = Story()
    story.context = story.context.set("token", [Secret(CANARY), {"inner": Secret([CANARY])}])
    callback = LangfuseCallback(server.client, keys=["token"])
    await tell(callback, story.begins(), story.ends())
    assert "token" in about(server.span("orders.checkout"))["input"]
    assert CANARY not in server.span("orders.checkout").to_json()


def test_without_a_client_the_one_of_the_environment_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langfuse, "get_client", lambda: server.client)
    assert LangfuseCallback().client is server.client


def test_many_threads_may_tell_one_callback(server: Server) -> None:
    callback = LangfuseCallback(server.client)

    def work(number: int) -> None:
        for run in range(10):
            asyncio.run(tell(callback, *Story(f"run-{number}-{run}").all()))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    spans = server.spans
    assert len(spans) == 8 * 10 * 5
    assert len({span.context.trace_id for span in spans}) == 80
