"""A run is one trace, a step is one span, and neither shows a value of the context."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fluxio.observability.opentelemetry import OpenTelemetryCallback
from fluxio.types import RunStatus
from tests.core.observability.story import CANARY, Story, caught, tell

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import StatusCode


class Collector:
    """A provider of its own, as one process has it, and what it exported."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.callback = OpenTelemetryCallback(self.provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()
    yield collected
    collected.provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, object]:
    return {name.removeprefix("fluxio."): value for name, value in (span.attributes or {}).items()}


async def test_a_run_has_a_span_and_each_step_a_child(collector: Collector) -> None:
    story = Story()
    await tell(
        collector.callback,
        story.begins(),
        story.step_starts("charge"),
        story.step_ends("charge", tries=3),
        story.step_starts("fan_out/mail/send", branch="fan_out/mail"),
        story.step_ends("fan_out/mail/send", branch="fan_out/mail"),
        story.ends(),
    )
    run = collector.span("run orders.checkout")
    charge, send = collector.span("stage charge"), collector.span("stage send")
    assert attributes(run) == {
        "run.id": "run-1",
        "pipeline": "orders.checkout",
        "pipeline.version": "abc123",
        "run.attempt": 1,
        "run.resumed": False,
        "run.status": "succeeded",
        "run.duration": 1.5,
    }
    assert attributes(charge) == {
        "run.id": "run-1",
        "pipeline": "orders.checkout",
        "step.key": "charge",
        "stage": "charge",
        "branch": "",
        "step.tries": 3,
        "step.duration": 0.25,
    }
    assert attributes(send)["branch"] == "fan_out/mail"
    for step in (charge, send):
        assert step.parent is not None
        assert step.parent.span_id == run.context.span_id
    assert {span.context.trace_id for span in collector.spans} == {run.context.trace_id}
    assert {span.status.status_code for span in collector.spans} == {StatusCode.UNSET}


async def test_every_execution_of_a_run_joins_one_trace_in_whichever_process() -> None:
    first, heir = Collector(), Collector()
    story = Story("req-1")
    await tell(first.callback, story.begins(), story.step_starts())
    await tell(heir.callback, story.begins(resumed=True), story.ends())
    await tell(first.callback, story.ends(RunStatus.FAILED, caught(OSError())))
    begun, resumed = first.span("run orders.checkout"), heir.span("run orders.checkout")
    digest = hashlib.sha256(b"req-1").digest()
    assert begun.context.trace_id == resumed.context.trace_id == int.from_bytes(digest[:16])
    assert begun.links == ()
    (link,) = resumed.links
    assert link.context.trace_id == begun.context.trace_id
    assert begun.parent is not None
    assert link.context.span_id == begun.parent.span_id


async def test_a_replay_is_linked_like_a_resume(collector: Collector) -> None:
    story = Story()
    await tell(collector.callback, story.begins(attempt=2), story.ends())
    assert len(collector.span("run orders.checkout").links) == 1


async def test_different_runs_have_different_traces(collector: Collector) -> None:
    for run_id in ("run-1", "run-2"):
        story = Story(run_id)
        await tell(collector.callback, story.begins(), story.ends())
    one, two = collector.spans
    assert one.context.trace_id != two.context.trace_id


async def test_a_run_is_linked_to_the_span_that_started_it(collector: Collector) -> None:
    story = Story()
    with collector.provider.get_tracer("web").start_as_current_span("GET /checkout") as request:
        await tell(collector.callback, story.begins(resumed=True), story.step_starts())
    await tell(collector.callback, story.step_ends(), story.ends())
    run = collector.span("run orders.checkout")
    assert [link.context.span_id for link in run.links][1:] == [request.get_span_context().span_id]
    assert collector.span("stage charge").links == ()


async def test_a_failed_step_shows_type_and_stack_of_the_error(collector: Collector) -> None:
    story = Story()
    error = caught(ConnectionError(CANARY))
    await tell(
        collector.callback,
        story.begins(),
        story.step_starts(),
        story.step_fails(error),
        story.ends(RunStatus.FAILED, error),
    )
    for span in collector.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ConnectionError"
        (event,) = span.events
        assert event.name == "exception"
        assert event.attributes is not None
        assert event.attributes["exception.type"] == "ConnectionError"
        assert "in caught" in str(event.attributes["exception.stacktrace"])
        assert "exception.message" not in event.attributes
    assert attributes(collector.span("stage charge"))["step.tries"] == 3


async def test_messages_of_errors_are_recorded_where_they_are_asked_for() -> None:
    collector = Collector()
    callback = OpenTelemetryCallback(collector.provider, error_messages=True)
    story = Story()
    await tell(
        callback,
        story.begins(),
        story.step_starts(),
        story.step_fails(caught(json_error())),
        story.ends(),
    )
    (event,) = collector.span("stage charge").events
    assert event.attributes is not None
    assert event.attributes["exception.message"] == "bad json"
    assert event.attributes["exception.type"] == f"{__name__}.JsonError"


class JsonError(Exception):
    """An error that is not built in."""


def json_error() -> JsonError:
    return JsonError("bad json")


async def test_a_cancelled_run_is_no_error_and_its_open_steps_are_closed(
    collector: Collector,
) -> None:
    story = Story()
    await tell(
        collector.callback,
        story.begins(),
        story.step_starts(),
        story.ends(RunStatus.CANCELLED, caught(asyncio.CancelledError())),
    )
    run, charge = collector.span("run orders.checkout"), collector.span("stage charge")
    assert run.status.status_code is StatusCode.UNSET
    assert run.events == ()
    assert attributes(run)["run.status"] == "cancelled"
    assert attributes(charge)["step.unfinished"] is True


async def test_checkpoints_routes_and_branches_are_events(collector: Collector) -> None:
    await tell(collector.callback, *Story().all())
    run, ask = collector.span("run orders.checkout"), collector.span("stage ask")
    noted = [(event.name, dict(event.attributes or {})) for event in run.events]
    assert noted[:3] == [
        (
            "checkpoint",
            {
                "fluxio.checkpoint.sequence": 0,
                "fluxio.checkpoint.size": 120,
                "fluxio.checkpoint.error": False,
            },
        ),
        ("route", {"fluxio.step.key": "ask", "fluxio.route": "premium"}),
        (
            "branch",
            {
                "fluxio.fork": "fan_out",
                "fluxio.branch": "mail",
                "fluxio.branch.background": False,
            },
        ),
    ]
    assert [event.name for event in ask.events] == ["checkpoint"]
    assert attributes(ask)["step.chunks"] == 2


async def test_no_value_of_the_context_is_ever_recorded(collector: Collector) -> None:
    await tell(collector.callback, *Story().all())
    assert len(collector.spans) == 3
    assert CANARY not in "".join(span.to_json() for span in collector.spans)


async def test_nothing_is_remembered_of_a_run_that_ended(collector: Collector) -> None:
    for number in range(20):
        await tell(collector.callback, *Story(f"run-{number}").all())
    assert collector.callback._executions == {}


async def test_a_run_whose_end_was_never_told_is_closed_when_it_goes_on(
    collector: Collector,
) -> None:
    story = Story()
    await tell(collector.callback, story.begins(), story.step_starts())
    await tell(collector.callback, story.begins(resumed=True), story.ends())
    assert [span.name for span in collector.spans] == [
        "stage charge",
        "run orders.checkout",
        "run orders.checkout",
    ]


async def test_events_of_an_unknown_run_or_step_are_passed_over(collector: Collector) -> None:
    story = Story()
    await tell(collector.callback, *story.all()[1:])
    await tell(collector.callback, story.begins(), story.step_ends("other"), story.ends())
    assert [span.name for span in collector.spans] == ["run orders.checkout"]


async def test_two_pipelines_may_use_the_same_run_id(collector: Collector) -> None:
    here, there = Story(), Story(pipeline="returns")
    await tell(collector.callback, here.begins(), there.begins())
    await tell(collector.callback, here.ends(RunStatus.CANCELLED), there.ends())
    ends = {span.name: attributes(span)["run.status"] for span in collector.spans}
    assert ends == {"run orders.checkout": "cancelled", "run returns": "succeeded"}


async def test_the_sampler_keeps_or_drops_all_executions_of_a_run_together() -> None:
    kept = 0
    for number in range(60):
        first, heir = (Collector(ParentBased(TraceIdRatioBased(0.5))) for _ in range(2))
        story = Story(f"run-{number}")
        await tell(first.callback, *story.all())
        await tell(heir.callback, story.begins(resumed=True), story.ends())
        assert bool(first.spans) is bool(heir.spans)
        kept += bool(first.spans)
    assert 10 < kept < 50


async def test_a_sampler_that_drops_everything_is_obeyed() -> None:
    for sampler in (ALWAYS_OFF, ParentBased(ALWAYS_OFF)):
        collector = Collector(sampler)
        await tell(collector.callback, *Story().all())
        assert collector.spans == []


async def test_the_caller_has_decided_for_the_run() -> None:
    dropping, keeping = Collector(ParentBased(ALWAYS_OFF)), Collector()
    story = Story()
    with dropping.provider.get_tracer("web").start_as_current_span("GET /checkout"):
        await tell(keeping.callback, *story.all())
    assert keeping.spans == []
    with keeping.provider.get_tracer("web").start_as_current_span("GET /checkout"):
        await tell(dropping.callback, *story.all())
    assert len(dropping.spans) == 3


async def test_without_a_provider_the_global_one_is_used(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    callback = OpenTelemetryCallback()
    await tell(callback, *Story("before").all())
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: collector.provider)
    await tell(callback, *Story("after").all())
    assert {attributes(span)["run.id"] for span in collector.spans} == {"after"}


def test_many_threads_may_tell_one_callback(collector: Collector) -> None:
    def work(number: int) -> None:
        for run in range(20):
            asyncio.run(tell(collector.callback, *Story(f"run-{number}-{run}").all()))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(collector.spans) == 8 * 20 * 3
    traces: dict[int, set[object]] = {}
    for span in collector.spans:
        traces.setdefault(span.context.trace_id, set()).add(attributes(span)["run.id"])
    assert len(traces) == 160
    assert all(len(run_ids) == 1 for run_ids in traces.values())
