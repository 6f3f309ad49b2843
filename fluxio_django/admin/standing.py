"""What a run allows right now, asked once per page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxio.errors import FluxioError
from fluxio.runtime.reading import Moment
from fluxio_django import services
from fluxio_django.admin.drift import Drift, passage_text, pipeline_or_drift
from fluxio_django.admin.measures import printable
from fluxio_django.admin.status import is_executing
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A run, whether somebody executes it, and the code that could go on with it.

    Exactly one of `pipeline` and `drift` is set. `passage` says how a run of an earlier version
    goes on.
    """

    run: Run
    executing: bool
    pipeline: DjangoPipeline | None
    drift: Drift | None
    passage: str = ""

    @property
    def same_code(self) -> DjangoPipeline | None:
        """The pipeline, if it is the very code that recorded the run."""
        pipeline = self.pipeline
        return pipeline if pipeline is not None and pipeline.version == self.run.version else None


def standing_of(run: Run, *, thorough: bool = True) -> Standing:
    """How a run stands now; see `pipeline_or_drift` for what is thorough."""
    found = pipeline_or_drift(run, thorough=thorough)
    executing = is_executing(run)
    if isinstance(found, Drift):
        return Standing(run=run, executing=executing, pipeline=None, drift=found)
    passage = passage_text(run, found)
    return Standing(run=run, executing=executing, pipeline=found, drift=None, passage=passage)


def unreadable(run: Run, at: Moment) -> str:
    """Why the state that a run would begin with cannot be read, or ""."""
    try:
        services.state(run.run_id, at)
    except (FluxioError, KeyError, ValueError) as problem:
        return printable(str(problem.args[0] if problem.args else problem))
    return ""


def reached_steps(standing: Standing) -> Sequence[str]:
    """The keys of the steps that the run came to, in the order of the program.

    Of a run that can be forced only, the one up to which nothing has changed.
    """
    if standing.drift is not None:
        return [standing.drift.step] if standing.drift.step else ()
    if standing.pipeline is None:
        return ()
    rows = Checkpoint.objects.using(services.database()).filter(run=standing.run.pk)
    recorded = set(rows.order_by().values_list("step", flat=True).distinct())
    recorded.add(standing.run.step)
    return [call.key for call in standing.pipeline.compiled.calls if call.key in recorded]
