"""What a stage can learn about the step it is running in."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

logger = logging.getLogger("fluxio.progress")

ProgressSink = Callable[["Step", int, int | None, str], None]


@dataclass(slots=True)
class Step:
    """The step that is running. `attempt` counts the tries of this step from 1.

    `version` is the version of the pipeline, which covers the code of its stages.
    """

    run_id: str
    key: str
    pipeline: str
    version: str = ""
    attempt: int = 0
    report: ProgressSink | None = None

    @property
    def idempotency_key(self) -> str:
        """32 hexadecimal digits that stay the same over retries, resumes and replays of this step.

        Hand it to the outside system, so that it can tell a repetition from a new request.
        """
        text = f"{len(self.run_id)}:{self.run_id}{self.key}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def progress(self, done: int, total: int | None = None, note: str = "") -> None:
        """Tell whoever watches how far the stage is; a hint that may be dropped, never stored."""
        if self.report is None:
            return
        try:
            self.report(self, done, total, note)
        except Exception:
            logger.exception("Progress of step %s could not be told.", self.key)


_current: ContextVar[Step | None] = ContextVar("fluxio_step", default=None)


def current_step() -> Step:
    """The step this code is running in.

    Raises:
        LookupError: no stage is running here.
    """
    step = _current.get()
    if step is None:
        raise LookupError("current_step() is for code inside a stage; no stage is running here.")
    return step


enter_step = _current.set
leave_step = _current.reset
