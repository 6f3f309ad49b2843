"""What a real run tells the callbacks, over a crash and its resume."""

from __future__ import annotations

import logging

import pytest

from fluxio import Context, InMemoryStore, Pipeline, Send, stage
from fluxio.observability.base import BaseCallback
from fluxio.observability.logging import LoggingCallback
from tests.core.observability.story import CANARY

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fluxio.observability.opentelemetry import OpenTelemetryCallback


class Shop:
    """A pipeline whose bank is down until it is not."""

    def __init__(self, callback: BaseCallback) -> None:
        self.bank_is_down = True

        @stage
        async def pick(ctx: Context) -> Send:
            return Send("card", {"iban": CANARY})

        @stage
        async def charge(ctx: Context) -> Context:
            if self.bank_is_down:
                raise ConnectionError(CANARY)
            return ctx.set("paid", CANARY)

        self.pipeline = Pipeline(
            [pick, {"card": [charge]}],
            name="shop",
            callbacks=[callback],
            checkpoint_store=InMemoryStore(),
            durable=True,
        )

    async def crash_and_resume(self) -> None:
        async with self.pipeline:
            with pytest.raises(ConnectionError):
                await self.pipeline.invoke({"card": CANARY}, run_id="run-1")
            self.bank_is_down = False
            await self.pipeline.invoke({}, run_id="run-1", resume=True)


async def test_a_crash_and_its_resume_are_one_linked_trace() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    await Shop(OpenTelemetryCallback(provider)).crash_and_resume()
    spans = exporter.get_finished_spans()
    assert [(span.name, span.status.status_code.name) for span in spans] == [
        ("stage pick", "UNSET"),
        ("stage charge", "ERROR"),
        ("run shop", "ERROR"),
        ("stage charge", "UNSET"),
        ("run shop", "UNSET"),
    ]
    assert len({span.context.trace_id for span in spans}) == 1
    assert [len(span.links) for span in spans] == [0, 0, 0, 0, 1]
    assert CANARY not in "".join(span.to_json() for span in spans)
    provider.shutdown()


async def test_the_log_tells_the_whole_story_and_no_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "fluxio.runs"):
        await Shop(LoggingCallback()).crash_and_resume()
    events = [vars(record)["fluxio_event"] for record in caplog.records]
    assert events == [
        "PipelineStarted",
        "StepEnded",
        "RouteTaken",
        "StepFailed",
        "PipelineEnded",
        "PipelineStarted",
        "StepEnded",
        "PipelineEnded",
    ]
    assert "Run run-1 of shop goes on" in caplog.messages
    assert CANARY not in caplog.text
