"""Shows runs in Langfuse; needs the extra `fluxio-django[langfuse]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

from fluxio.context import Context
from fluxio.events import (
    BranchOpened,
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

if TYPE_CHECKING:
    from langfuse import Langfuse, LangfuseSpan

_LONGEST_ERROR = 1000


@dataclass(slots=True)
class _Execution:
    """The open observations of one execution; `chunks` counts what STREAM steps yielded."""

    span: LangfuseSpan
    steps: dict[str, LangfuseSpan] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)


class LangfuseCallback(BaseCallback):
    """Makes a Langfuse observation of every execution of a run, with a child for each of its steps.

    One run is one trace, however often it is resumed or replayed, and in whichever process: its id
    is `Langfuse.create_trace_id(seed=run_id)`. Metadata has run id, attempt and status; step key,
    branch, tries and duration (seconds). Routes and branches are events. A failure has the level
    ERROR, one of a FIRE_FORGET branch the level WARNING, since the run goes on.

    Values of the context leave this process only for the `keys` that are listed: as input when a
    run or step starts, as output when it ends. What an exception says may repeat values, so only
    its type is sent unless `error_messages` is set.

    Args:
        client: a Langfuse client; None takes `langfuse.get_client()`, which is set up by the
            environment (`LANGFUSE_PUBLIC_KEY` and so on).
        keys: context keys whose values are sent.
        error_messages: send messages of exceptions too.

    Raises:
        ImportError: no client was given, and Langfuse is not installed.
    """

    def __init__(
        self,
        client: Langfuse | None = None,
        *,
        keys: Sequence[str] = (),
        error_messages: bool = False,
    ) -> None:
        if isinstance(keys, str):
            raise TypeError(f"keys is a list of context keys, e.g. keys=[{keys!r}].")
        self.client: Langfuse = client if client is not None else _default_client()
        self._keys = tuple(keys)
        self._error_messages = error_messages
        self._executions: dict[tuple[str, str], _Execution] = {}
        self._lock = Lock()

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """Open the observation of an execution."""
        span = self.client.start_observation(
            trace_context={"trace_id": self.client.create_trace_id(seed=event.run_id)},
            name=event.pipeline,
            as_type="span",
            input=self._shown(event.context),
            version=event.version,
            metadata={
                "run_id": event.run_id,
                "attempt": event.attempt,
                "resumed": event.resumed,
            },
        )
        with self._lock:
            stale = self._executions.pop(_key(event), None)
            self._executions[_key(event)] = _Execution(span)
        if stale is not None:
            _close(stale)

    async def on_pipeline_end(self, event: PipelineEnded) -> None:
        """Close it, with all that is open below it."""
        with self._lock:
            execution = self._executions.pop(_key(event), None)
        if execution is None:
            return
        has_failed = event.status in (RunStatus.FAILED, RunStatus.DEAD)
        execution.span.update(
            output=self._shown(event.context),
            metadata={"status": str(event.status), "duration": event.duration},
            level="ERROR" if has_failed else None,
            status_message=None if event.error is None else self._text(event.error),
        )
        _close(execution)

    async def on_step_start(self, event: StepStarted) -> None:
        """Open the observation of a step."""
        execution = self._executions.get(_key(event))
        if execution is not None:
            execution.steps[event.step] = execution.span.start_observation(
                name=event.stage,
                as_type="span",
                input=self._shown(event.context),
                metadata={"run_id": event.run_id, "step": event.step, "branch": event.branch},
            )

    async def on_step_end(self, event: StepEnded) -> None:
        """Close it with what the stage made of the context."""
        metadata = {"tries": event.tries, "duration": event.duration}
        self._end_step(event, metadata, output=self._shown(event.context))

    async def on_error(self, event: StepFailed) -> None:
        """Close it with an error."""
        self._end_step(
            event,
            {"tries": event.tries},
            level="ERROR" if event.fatal else "WARNING",
            status_message=self._text(event.error),
        )

    async def on_step_stream(self, event: StepStreamed) -> None:
        """Count the chunk."""
        execution = self._executions.get(_key(event))
        if execution is not None:
            execution.chunks[event.step] = event.index + 1

    async def on_route(self, event: RouteTaken) -> None:
        """Note the route below the execution; the router's observation is closed by now."""
        self._note(event, f"route {event.route}", {"step": event.step, "route": event.route})

    async def on_branch(self, event: BranchOpened) -> None:
        """Note the branch below the execution."""
        about = {"fork": event.fork, "background": event.background}
        self._note(event, f"branch {event.branch}", about)

    def _end_step(self, event: StepEvent, metadata: dict[str, Any], **result: Any) -> None:
        execution = self._executions.get(_key(event))
        span = execution.steps.pop(event.step, None) if execution is not None else None
        if execution is None or span is None:
            return
        if event.step in execution.chunks:
            metadata["chunks"] = execution.chunks.pop(event.step)
        span.update(metadata=metadata, **result)
        span.end()

    def _note(self, event: RunEvent, name: str, about: dict[str, Any]) -> None:
        execution = self._executions.get(_key(event))
        if execution is not None:
            execution.span.create_event(name=name, metadata=about)

    def _shown(self, context: Context) -> dict[str, Any] | None:
        shown = {key: context[key] for key in self._keys if key in context}
        return shown or None

    def _text(self, error: BaseException) -> str:
        kind = type(error).__name__
        return f"{kind}: {error}"[:_LONGEST_ERROR] if self._error_messages else kind


def _default_client() -> Langfuse:
    try:
        sdk: Any = import_module("langfuse")
    except ImportError as error:
        raise ImportError(
            "LangfuseCallback needs the Langfuse SDK. "
            "Install it with: pip install 'fluxio-django[langfuse]'"
        ) from error
    client: Langfuse = sdk.get_client()
    return client


def _close(execution: _Execution) -> None:
    """End every observation; steps that are open still were cancelled or cut off."""
    for span in execution.steps.values():
        span.update(metadata={"unfinished": True})
        span.end()
    execution.span.end()


def _key(event: RunEvent) -> tuple[str, str]:
    return event.pipeline, event.run_id
