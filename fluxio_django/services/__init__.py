"""The use cases behind commands, admin and views: one call each, all sync.

What is read here is for showing: what FLUXIO["REDACT"] hides comes wrapped in a `Secret`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of

if TYPE_CHECKING:
    from fluxio_django.services.histories import (
        diff,
        history,
        interrupted,
        is_interrupted,
        progress,
        provenance,
        shown_error,
        state,
    )
    from fluxio_django.services.housekeeping import (
        due_to_be_pruned,
        examine,
        forget,
        prune,
        traces_of,
    )
    from fluxio_django.services.runs import (
        OPEN_STATUSES,
        RunEndedError,
        UnknownRunError,
        cancel,
        database,
        find_run,
        forced_by,
        fork,
        pipeline_of,
        replay,
        resume,
        runs_about,
        start,
    )
    from fluxio_django.services.waiting import (
        enqueue,
        health,
        launch,
        pause_queue,
        queues,
        requeue,
        resume_queue,
    )

__all__ = [
    "OPEN_STATUSES",
    "RunEndedError",
    "UnknownRunError",
    "cancel",
    "database",
    "diff",
    "due_to_be_pruned",
    "enqueue",
    "examine",
    "find_run",
    "forced_by",
    "forget",
    "fork",
    "health",
    "history",
    "interrupted",
    "is_interrupted",
    "launch",
    "pause_queue",
    "pipeline_of",
    "progress",
    "provenance",
    "prune",
    "queues",
    "replay",
    "requeue",
    "resume",
    "resume_queue",
    "runs_about",
    "shown_error",
    "start",
    "state",
    "traces_of",
]

# Loaded at first use: the admin mentions them while Django starts, and may never call one.
__getattr__, __dir__ = names_of(
    __name__,
    {
        "fluxio_django.services.histories": (
            "diff",
            "history",
            "interrupted",
            "is_interrupted",
            "progress",
            "provenance",
            "shown_error",
            "state",
        ),
        "fluxio_django.services.housekeeping": (
            "due_to_be_pruned",
            "examine",
            "forget",
            "prune",
            "traces_of",
        ),
        "fluxio_django.services.runs": (
            "OPEN_STATUSES",
            "RunEndedError",
            "UnknownRunError",
            "cancel",
            "database",
            "find_run",
            "forced_by",
            "fork",
            "pipeline_of",
            "replay",
            "resume",
            "runs_about",
            "start",
        ),
        "fluxio_django.services.waiting": (
            "enqueue",
            "health",
            "launch",
            "pause_queue",
            "queues",
            "requeue",
            "resume_queue",
        ),
    },
)
