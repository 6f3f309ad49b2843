"""What changed in the code since a run was recorded."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.utils.translation import gettext as _

from fluxio.errors import FluxioError
from fluxio.program import Manifest
from fluxio_django import services
from fluxio_django.models import PipelineVersion, Run
from fluxio_django.pipeline import DjangoPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Why a run cannot go on with the code at hand.

    `changes` has a line for each stage that differs. It is empty when the recorded manifest cannot
    be read, or when there is no code at all: then `current` is "".
    """

    reason: str
    stored: str
    current: str = ""
    changes: tuple[str, ...] = ()


def pipeline_or_drift(run: Run) -> DjangoPipeline | Drift:
    """The pipeline that can go on with a run, or why there is none."""
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
    return Drift(
        reason=_("The code has changed since this run was recorded."),
        stored=run.version,
        current=pipeline.version,
        changes=_changes(run, pipeline),
    )


def drift_of(run: Run) -> Drift | None:
    """What keeps a run from going on with the code at hand, if anything does."""
    found = pipeline_or_drift(run)
    return found if isinstance(found, Drift) else None


def manifest_of(recorded: PipelineVersion) -> Manifest | None:
    """What a version consisted of; None when its text is damaged."""
    try:
        return Manifest.from_rows(json.loads(recorded.manifest))
    except (ValueError, TypeError):
        return None


def _changes(run: Run, pipeline: DjangoPipeline) -> tuple[str, ...]:
    recorded = (
        PipelineVersion.objects.using(services.database())
        .filter(pipeline=run.pipeline, version=run.version)
        .first()
    )
    manifest = manifest_of(recorded) if recorded is not None else None
    return manifest.changes_to(pipeline.compiled.manifest) if manifest is not None else ()
