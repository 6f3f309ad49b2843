"""What a run allows right now, asked once per page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxio.errors import FluxioError
from fluxio.runtime.reading import Moment
from fluxio_django import services
from fluxio_django.admin.drift import Drift, pipeline_or_drift
from fluxio_django.admin.measures import printable
from fluxio_django.admin.status import is_executing
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A run, whether somebody executes it, and the code that could go on with it.

    Exactly one of `pipeline` and `drift` is set.
    """

    run: Run
    executing: bool
    pipeline: DjangoPipeline | None
    drift: Drift | None


def standing_of(run: Run) -> Standing:
    """How a run stands now."""
    found = pipeline_or_drift(run)
    executing = is_executing(run)
    if isinstance(found, Drift):
        return Standing(run=run, executing=executing, pipeline=None, drift=found)
    return Standing(run=run, executing=executing, pipeline=found, drift=None)


def unreadable(run: Run, at: Moment) -> str:
    """Why the state that a run would begin with cannot be read, or ""."""
    try:
        services.state(run.run_id, at)
    except (FluxioError, KeyError, ValueError) as problem:
        return printable(str(problem.args[0] if problem.args else problem))
    return ""


def reached_steps(standing: Standing) -> Sequence[str]:
    """The keys of the steps that the run came to, in the order of the program."""
    if standing.pipeline is None:
        return ()
    rows = Checkpoint.objects.using(services.database()).filter(run=standing.run.pk)
    recorded = set(rows.order_by().values_list("step", flat=True).distinct())
    recorded.add(standing.run.step)
    return [call.key for call in standing.pipeline.compiled.calls if call.key in recorded]
