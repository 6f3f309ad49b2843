"""Runs one stage by itself, through its middleware, for tests and the shell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxio.context import Context
from fluxio.errors import TransactionRefusedError
from fluxio.nodes import Send
from fluxio.program import Call
from fluxio.runtime.attempt import Attempt
from fluxio.runtime.outcomes import Failed
from fluxio.runtime.runs import Runs
from fluxio.runtime.step import ProgressSink


class Alone:
    """The surroundings of a stage that runs outside of any run."""

    def __init__(self, run_id: str, debugging: bool) -> None:
        self._run_id = run_id
        self._debugging = debugging

    @property
    def run_id(self) -> str:
        """A generated id, so that `current_step()` works."""
        return self._run_id

    @property
    def debugging(self) -> bool:
        """Whether to look for values that the stage changes in place."""
        return self._debugging

    @property
    def report(self) -> ProgressSink | None:
        """Nobody listens to progress."""
        return None

    async def chunk(self, call: Call, chunk: Any, index: int) -> None:
        """Nobody reads the chunks; they end up in the context."""

    async def transact(self, call: Call, attempt: Attempt) -> Context | Send:
        """There is no log to commit with.

        Raises:
            TransactionRefusedError: always.
        """
        raise TransactionRefusedError(
            f"Stage {call.stage.name!r} is transactional and has no checkpoint to commit with "
            "outside of a run. Invoke the pipeline, or call the stage's function directly.",
            stage=call.stage.name,
        )


async def run_single_step(runs: Runs, call: Call, context: Mapping[str, Any]) -> Context:
    """The context after one stage, with what it wrote (for a router: its patch) as writes.

    Raises:
        TypeError: `context` is no mapping or has a key that is no str.
        Exception: whatever the stage raised.
    """
    environment = runs.environment
    surroundings = Alone(environment.new_run_id(), environment.debugging())
    given = (context if isinstance(context, Context) else Context.create(context)).settled()
    outcome = await runs.executor.execute(call, given, surroundings)
    if isinstance(outcome, Failed):
        raise outcome.error
    return given.extended(outcome.writes, tracked=True)
