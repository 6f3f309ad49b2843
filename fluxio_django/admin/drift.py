"""What changed in the code since a run was recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from fluxio.errors import FluxioError
from fluxio.passages import PassageKind
from fluxio.program import Manifest
from fluxio_django import services
from fluxio_django.admin.measures import printable
from fluxio_django.compatibility import Verdict, judge
from fluxio_django.models import PipelineVersion, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.tables import Tables


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Why a run cannot go on with the code at hand.

    `changes` has a line for each stage that differs. It is empty when the recorded manifest cannot
    be read, or when there is no code at all: then `current` is "". Nothing before `step` has
    changed, so that the run could go on there, if somebody takes the responsibility; "" says that
    there is no such step. Steps behind it that are recorded would then keep their old results.
    """

    reason: str
    stored: str
    current: str = ""
    changes: tuple[str, ...] = ()
    step: str = ""
    repeats: bool = False

    @property
    def can_be_forced(self) -> bool:
        """Whether the run could go on with the code at hand, if somebody decides so."""
        return bool(self.step)


def pipeline_or_drift(run: Run, *, thorough: bool) -> DjangoPipeline | Drift:
    """The pipeline that can go on with a run, or why there is none.

    Thorough is who reads the log of a run that other code recorded, to tell what could be done.
    """
    try:
        pipeline = services.pipeline_of(run)
    except FluxioError as problem:
        return Drift(reason=str(problem), stored=run.version)
    except Exception as problem:  # noqa: BLE001 - factories are the project's own code
        reason = _("Pipeline %(name)s cannot be built: its factory raised %(error)s.") % {
            "name": run.pipeline,
            "error": type(problem).__name__,
        }
        return Drift(reason=reason, stored=run.version)
    if pipeline.version == run.version:
        return pipeline
    if not thorough:
        has_way = pipeline.compiled.passages.find(run.version) is not None
        return pipeline if has_way else Drift(reason=_changed(), stored=run.version)
    return _judged(run, pipeline)


def _judged(run: Run, pipeline: DjangoPipeline) -> DjangoPipeline | Drift:
    tables = Tables(services.database())
    seen = tables.runs.seen(run.run_id)
    if seen is None:
        return Drift(reason=_("The run is recorded no more."), stored=run.version)
    finding = judge(tables, seen.record)
    if finding.verdict is Verdict.SAFE:
        return pipeline
    drift = Drift(
        reason=_changed(),
        stored=run.version,
        current=pipeline.version,
        changes=finding.changes,
        step=finding.step,
        repeats=finding.repeats,
    )
    if finding.verdict is Verdict.BLOCKED and not finding.changes:
        return replace(drift, reason=f"{drift.reason} {printable(finding.reason)}")
    return drift


def _changed() -> str:
    return _("The code has changed since this run was recorded.")


def passage_text(run: Run, pipeline: DjangoPipeline) -> str:
    """How a run of an earlier version goes on with the code at hand; "" for one of this version."""
    if pipeline.version == run.version:
        return ""
    passage = pipeline.compiled.passages.find(run.version)
    if passage is not None and passage.kind is PassageKind.MIGRATED:
        return _(
            "An earlier version recorded this run. A migration of the pipeline carries it over to "
            "the code at hand."
        )
    return _(
        "An earlier version recorded this run. The code at hand says that it is compatible with it."
    )


def manifest_of(recorded: PipelineVersion) -> Manifest | None:
    """What a version consisted of; None when its text is damaged."""
    try:
        return Manifest.from_rows(json.loads(recorded.manifest))
    except (ValueError, TypeError):
        return None
