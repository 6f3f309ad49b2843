"""The example project's settings, for processes that kill themselves at a moment chosen outside.

KILL_AT says where: `before:STEP` when the step is due, `inside:STEP` after its first write to a
table, `after:STEP` when its outcome is there, `end` when the run is done and nobody knows it yet.
EXECUTED names a file that gets a line for each step whose execution begins.
"""

import os
import signal
from pathlib import Path
from typing import Any

from django.db.models import QuerySet

from example_project.settings import *  # noqa: F403
from fluxio import Context, FinalContext, Pipeline, current_step
from fluxio.program import Call
from fluxio.runtime.executor import Executor, Surroundings
from fluxio.runtime.outcomes import Outcome

# What an import does not need is left out: more than a hundred processes start with these settings.
INSTALLED_APPS = [
    "example_project.imports",
    "fluxio_django",
    "django.contrib.auth",
    "django.contrib.contenttypes",
]

KILL_AT = os.environ.get("KILL_AT", "")
EXECUTED = Path(os.environ["EXECUTED"])

plain_invoke = Pipeline._invoke  # every start ends here, with links or without
plain_execute = Executor.execute
plain_bulk_create = QuerySet.bulk_create


def die_at(point: str) -> None:
    """Die here, if this is the moment, as nothing can catch it."""
    if point == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


async def invoke(self: Pipeline, *values: Any, **options: Any) -> FinalContext:
    """Invoke; die when it is done."""
    final = await plain_invoke(self, *values, **options)
    die_at("end")
    return final


async def execute(self: Executor, call: Call, context: Context, around: Surroundings) -> Outcome:
    """Execute a step; die before or after it."""
    die_at(f"before:{call.key}")
    with EXECUTED.open("a") as executed:
        executed.write(f"{call.key}\n")
    outcome = await plain_execute(self, call, context, around)
    die_at(f"after:{call.key}")
    return outcome


def bulk_create(self: Any, *values: Any, **options: Any) -> Any:
    """Write many rows; die when they are written, inside the transaction."""
    objects = plain_bulk_create(self, *values, **options)
    try:
        step = current_step()
    except LookupError:
        return objects
    die_at(f"inside:{step.key}")
    return objects


setattr(Pipeline, "_invoke", invoke)  # noqa: B010 - says that it is meant, to readers and to mypy
setattr(Executor, "execute", execute)  # noqa: B010
setattr(QuerySet, "bulk_create", bulk_create)  # noqa: B010
