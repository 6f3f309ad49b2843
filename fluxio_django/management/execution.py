"""What the commands that execute a run have in common: progress, its end, and the way on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import CommandError

from fluxio.context import FinalContext
from fluxio.errors import FluxioError, LeaseLostError
from fluxio.events import PipelineStarted, StepFailed
from fluxio.observability.base import BaseCallback
from fluxio.runtime.runs import Watchers
from fluxio.types import RunStatus
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.display import Display, chosen_display
from fluxio_django.management.interruption import interruptible
from fluxio_django.management.progress import Progress, StepLines
from fluxio_django.management.refusal import EXIT_INTERRUPTED, refusal
from fluxio_django.management.table import Column, draw
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.values import JSON_RULE, json_values, short

_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """A run that is about to be executed: which one, of which pipeline, and how.

    `facts` is what --json says of it besides.
    """

    run_id: str
    pipeline: DjangoPipeline
    work: Callable[[Watchers], FinalContext]
    facts: dict[str, Any] = field(default_factory=dict)


class Witness(BaseCallback):
    """Remembers what became of a run, for the words at its end."""

    def __init__(self) -> None:
        self.started = False
        self.failure: StepFailed | None = None
        self.background_failures: list[str] = []

    async def on_pipeline_start(self, event: PipelineStarted) -> None:
        """The run was let in."""
        self.started = True

    async def on_error(self, event: StepFailed) -> None:
        """A step failed for good."""
        if event.fatal:
            self.failure = event
        else:
            self.background_failures.append(event.step)


class ExecutingCommand(FluxioCommand):
    """Base of the commands that execute a run in this process: `prepare` says which."""

    json_help = "Write the outcome as one JSON object, and no progress."
    closing_words = JSON_RULE

    def perform(self, options: Options) -> None:
        """Execute the run, tell its progress, and show how it ended."""
        execution, witness = self.prepare(options), Witness()
        display = chosen_display(self.terminal, options)
        steps = [call.key for call in execution.pipeline.compiled.calls]
        progress = Progress(display, StepLines(display, self.terminal, steps))
        watch = Watchers(callbacks=[witness, progress], report=progress.report)
        try:
            final = interruptible(
                lambda: execution.work(watch),
                tell=lambda: display.tell("Stopping the run. Press Ctrl-C again to leave at once."),
                leave=lambda: self._leave(execution, display, options),
            )
        except KeyboardInterrupt:
            display.close()
            self.stderr.write(self._interrupted(execution, options))
            raise
        except Exception as problem:
            display.close()
            told = self._failed(execution, witness, problem, options)
            if told is problem:
                raise
            raise told from problem
        finally:
            display.close()
        self._show(execution, witness, final, options)

    def prepare(self, options: Options) -> Execution:
        """The run that the options ask for; nothing has run when this refuses."""
        raise NotImplementedError

    # --- ends

    def _show(
        self, execution: Execution, witness: Witness, final: FinalContext, options: Options
    ) -> None:
        if options["json"]:
            self._tell_json(
                execution,
                status=RunStatus.SUCCEEDED.value,
                executed=witness.started,
                background_failures=witness.background_failures,
                context=json_values(final),
            )
            return
        if options["verbosity"] == 0:
            return
        if not witness.started:
            self.terminal.line(
                f"Run {execution.run_id} has succeeded before; nothing was run. Its result:"
            )
        columns = [Column(title="key", least=12), Column(title="value", least=16)]
        draw(self.terminal, columns, [[key, short(value)] for key, value in final.items()])

    def _failed(
        self, execution: Execution, witness: Witness, problem: Exception, options: Options
    ) -> Exception:
        """What to raise for an exception that came out of a run, or kept it from starting."""
        failure = witness.failure
        if failure is not None:
            if options["json"]:
                self._tell_json(
                    execution,
                    status=RunStatus.FAILED.value,
                    executed=True,
                    step=failure.step,
                    tries=failure.tries,
                    error={"type": type(problem).__qualname__, "message": _message(problem)},
                )
            tries = f" after {failure.tries} tries" if failure.tries > 1 else ""
            head = f"Run {execution.run_id} failed at step {failure.step}{tries}: {_told(problem)}"
            return refusal(head + self._way_on(execution, options))
        if witness.started and isinstance(problem, FluxioError):
            way_on = "" if isinstance(problem, LeaseLostError) else self._way_on(execution, options)
            return refusal(f"Run {execution.run_id} stopped: {problem}{way_on}")
        if isinstance(problem, CommandError | FluxioError):
            return self.refused(execution, problem, options)
        return problem

    def refused(
        self, execution: Execution, problem: CommandError | FluxioError, options: Options
    ) -> Exception:
        """What to raise when the run was not let in; a place to add a remedy."""
        return problem

    def _way_on(self, execution: Execution, options: Options) -> str:
        if not execution.pipeline.durable:
            name = execution.pipeline.name
            return f"\nPipeline {name} is not durable, so the run is not recorded. Run it again."
        resume = self.invitation("fluxio_resume", execution.run_id, options)
        return f"\nSteps that are recorded will not run again. Resume it with\n    {resume}"

    def _interrupted(self, execution: Execution, options: Options) -> str:
        message = f"Run {execution.run_id} was interrupted.{self._way_on(execution, options)}"
        return str(refusal(message))

    def _leave(self, execution: Execution, display: Display, options: Options) -> None:
        """End the process: the interpreter itself would wait for the threads of the run."""
        if not self.owns_process:
            return
        display.close()
        self.stderr.write(self._interrupted(execution, options))
        self.terminal.flush()
        self.stderr.flush()
        os._exit(EXIT_INTERRUPTED)

    def _tell_json(self, execution: Execution, **facts: Any) -> None:
        self.terminal.json(
            {
                "run_id": execution.run_id,
                "pipeline": execution.pipeline.name,
                **execution.facts,
                **facts,
            }
        )


def _told(problem: Exception) -> str:
    notes = [str(note) for note in getattr(problem, "__notes__", ())]
    told = "\n".join([f"{type(problem).__qualname__}: {_message(problem)}", *notes])
    # Indented, so that no line of theirs is taken for one of ours.
    return told.replace("\n", "\n    ")


def _message(problem: Exception) -> str:
    try:
        text = str(problem)
    except Exception:  # noqa: BLE001 - an error of the user's that cannot speak is told all the same
        return "(no message)"
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."
