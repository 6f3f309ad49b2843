"""Shows runs as OpenTelemetry traces; needs the extra `fluxio-django[opentelemetry]`."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from fluxio.events import (
    BranchOpened,
    CheckpointSaved,
    PipelineEnded,
    PipelineStarted,
    RouteTaken,
    RunEvent,
    StepEnded,
    StepEvent,
    StepFailed,
    StepStarted,
    StepStreamed,
)
from fluxio.observability.base import BaseCallback
from fluxio.types import RunStatus

_missing: ImportError | None = None
try:
    from opentelemetry import trace
    from opentelemetry.context import Context as TraceContext
except ImportError as error:
    _missing = error
try:
    from opentelemetry.sdk.trace import TracerProvider as SamplingProvider
    from opentelemetry.sdk.trace.sampling import Decision
except ImportError:  # with the API alone nothing is recorded, and so nothing is sampled
    SamplingProvider = None  # type: ignore[assignment, misc]

_LONGEST_STACK = 8000

Attributes = Mapping[str, str | bool | int | float]


@dataclass(slots=True)
class _Execution:
    """The open spans of one execution of a run; `chunks` counts what STREAM steps yielded."""

    span: trace.Span
    steps: dict[str, trace.Span] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """End every span; steps that are open still were cancelled or cut off."""
        for span in self.steps.values():
            span.set_attribute("fluxio.step.unfinished", True)
            span.end()
        self.span.end()


class OpenTelemetryCallback(BaseCallback):
    """Makes a span of every execution of a run, with a child span for each of its steps.

    **One run is one trace**, however often it is resumed or replayed, and in whichever process. The
    trace id is the first half of the SHA-256 of the run id (as Langfuse derives it from a seed), so
    it can be computed from the run id alone. Two links complete the picture: an execution that
    resumes or replays is linked to the run's first context, whose span id is the third quarter of
    the same hash, and every execution is linked to the span that was current where it was started.

    The sampler is asked as for a new trace, unless the caller's span has decided already. Samplers
    that go by the trace id, as `ParentBased(TraceIdRatioBased(...))` does, keep or drop all
    executions of a run together.

    Spans have run id, pipeline, version, attempt, status; step key, stage, branch, `tries` and
    duration (seconds) as attributes that start with `fluxio.`. Checkpoints, routes and branches are
    span events. An error sets the status and leaves an `exception` event with type and stack.

    Values of the context are never recorded. What an exception says may repeat them, so its message
    is left out unless `error_messages` is set.

    Args:
        tracer_provider: where spans go; None takes the global one at the start of each run.
        error_messages: record messages of exceptions too.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        *,
        error_messages: bool = False,
    ) -> None:
        if _missing is not None:
            raise ImportError(
                "OpenTelemetryCallback needs OpenTelemetry. "
                "Install it with: pip install 'fluxio-django[opentelemetry]'"
            ) from _missing
        self._tracer_provider = tracer_provider
        self._error_messages = error_messages
        self._executions: dict[tuple[str, str], _Execution] = {}
        self._lock = Lock()

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Open the span of an execution."""
        execution = _Execution(self._run_span(event))
        with self._lock:
            stale = self._executions.pop(_key(event), None)
            self._executions[_key(event)] = execution
        if stale is not None:
            stale.close()

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Close it, with all that is open below it."""
        with self._lock:
            execution = self._executions.pop(_key(event), None)
        if execution is None:
            return
        execution.span.set_attributes(
            {"fluxio.run.status": str(event.status), "fluxio.run.duration": event.duration}
        )
        if event.error is not None and event.status is not RunStatus.CANCELLED:
            self._record(execution.span, event.error)
        execution.close()

    async def on_step_start(self, event: StepStarted) -> None:
        """Open the span of a step."""
        execution = self._executions.get(_key(event))
        if execution is not None:
            execution.steps[event.step] = self._tracer().start_span(
                f"stage {event.stage}",
                context=trace.set_span_in_context(execution.span, TraceContext()),
                attributes={
                    "fluxio.run.id": event.run_id,
                    "fluxio.pipeline": event.pipeline,
                    "fluxio.step.key": event.step,
                    "fluxio.stage": event.stage,
                    "fluxio.branch": event.branch,
                },
            )

    async def on_step_end(self, event: StepEnded) -> None:
        """Close it."""
        self._end_step(event, event.tries, event.duration, None)

    async def on_error(self, event: StepFailed) -> None:
        """Close it with an error."""
        self._end_step(event, event.tries, None, event.error)

    async def on_step_stream(self, event: StepStreamed) -> None:
        """Count the chunk."""
        execution = self._executions.get(_key(event))
        if execution is not None:
            execution.chunks[event.step] = event.index + 1

    async def on_branch(self, event: BranchOpened) -> None:
        """Note the branch on the span of the execution."""
        about: Attributes = {
            "fluxio.fork": event.fork,
            "fluxio.branch": event.branch,
            "fluxio.branch.background": event.background,
        }
        self._note(event, "branch", None, about)

    async def on_route(self, event: RouteTaken) -> None:
        """Note the route on the span of the execution; the router's own is closed by now."""
        about: Attributes = {"fluxio.step.key": event.step, "fluxio.route": event.route}
        self._note(event, "route", None, about)

    async def on_checkpoint(self, event: CheckpointSaved) -> None:
        """Note the checkpoint on the span of its step."""
        about: Attributes = {
            "fluxio.checkpoint.sequence": event.sequence,
            "fluxio.checkpoint.size": event.size,
            "fluxio.checkpoint.error": event.error,
        }
        self._note(event, "checkpoint", event.step, about)

    def _tracer(self) -> trace.Tracer:
        return trace.get_tracer("fluxio", tracer_provider=self._tracer_provider)

    def _run_span(self, event: PipelineStarted) -> trace.Span:
        caller = trace.get_current_span().get_span_context()
        first = self._first_context(event, caller)
        links = [trace.Link(first)] if event.resumed or event.attempt > 1 else []
        if caller.is_valid:
            links.append(trace.Link(caller))
        return self._tracer().start_span(
            f"run {event.pipeline}",
            context=trace.set_span_in_context(trace.NonRecordingSpan(first), TraceContext()),
            links=links,
            attributes={
                "fluxio.run.id": event.run_id,
                "fluxio.pipeline": event.pipeline,
                "fluxio.pipeline.version": event.version,
                "fluxio.run.attempt": event.attempt,
                "fluxio.run.resumed": event.resumed,
            },
        )

    def _first_context(
        self, event: PipelineStarted, caller: trace.SpanContext
    ) -> trace.SpanContext:
        """The context that all executions of a run have in common, in every process."""
        digest = hashlib.sha256(event.run_id.encode()).digest()
        trace_id = int.from_bytes(digest[:16])
        if caller.is_valid:
            flags = caller.trace_flags
        else:
            is_sampled = self._samples(trace_id, f"run {event.pipeline}")
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if is_sampled else 0)
        return trace.SpanContext(
            trace_id, int.from_bytes(digest[16:24]), is_remote=True, trace_flags=flags
        )

    def _samples(self, trace_id: int, name: str) -> bool:
        provider = self._tracer_provider or trace.get_tracer_provider()
        if SamplingProvider is None or not isinstance(provider, SamplingProvider):
            return True
        result = provider.sampler.should_sample(TraceContext(), trace_id, name)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def _end_step(
        self, event: StepEvent, tries: int, duration: float | None, error: BaseException | None
    ) -> None:
        execution = self._executions.get(_key(event))
        span = execution.steps.pop(event.step, None) if execution is not None else None
        if execution is None or span is None:
            return
        span.set_attribute("fluxio.step.tries", tries)
        if duration is not None:
            span.set_attribute("fluxio.step.duration", duration)
        if event.step in execution.chunks:
            span.set_attribute("fluxio.step.chunks", execution.chunks.pop(event.step))
        if error is not None:
            self._record(span, error)
        span.end()

    def _note(self, event: RunEvent, name: str, step: str | None, about: Attributes) -> None:
        execution = self._executions.get(_key(event))
        if execution is not None:
            span = execution.steps.get(step, execution.span) if step else execution.span
            span.add_event(name, about)

    def _record(self, span: trace.Span, error: BaseException) -> None:
        kind = type(error)
        about = {
            "exception.type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
            "exception.stacktrace": "".join(traceback.format_tb(error.__traceback__))[
                -_LONGEST_STACK:
            ],
        }
        if self._error_messages:
            about["exception.message"] = str(error)
        span.add_event("exception", about)
        span.set_status(trace.Status(trace.StatusCode.ERROR, kind.__name__))


def _key(event: RunEvent) -> tuple[str, str]:
    return event.pipeline, event.run_id
