"""The pages of pipelines: all of them at a glance, and what is known of each one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from fluxio.errors import FluxioError
from fluxio.passages import PassageKind
from fluxio_django.admin import samples
from fluxio_django.admin.desk import PipelineDesk, RunDesk
from fluxio_django.admin.measures import duration_text, printable, time_text
from fluxio_django.admin.picture import Picture, picture_of
from fluxio_django.admin.plots import Plot, Scale, runs_plot, spread_plot
from fluxio_django.admin.samples import EndedRun, Rate, StepSamples
from fluxio_django.admin.status import Badge, Tone
from fluxio_django.models import PipelineVersion
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines

MOST_VERSIONS = 50
_MOST_NAMES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """What is registered under a name; `problem` says why it cannot be used, if so."""

    pipeline: DjangoPipeline | None
    problem: str = ""

    @property
    def version(self) -> str:
        """The version of the code at hand, "" where there is none."""
        return self.pipeline.version if self.pipeline is not None else ""

    @property
    def badge(self) -> Badge:
        """How it stands, in a word."""
        if self.pipeline is not None:
            return Badge(text=_("registered"), tone=Tone.GOOD)
        return Badge(text=_("not registered"), tone=Tone.QUIET)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How runs went: texts, "" for what is not known. `tone` colours the share that failed."""

    ended: int
    failed: str
    tone: Tone
    median: str
    p95: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineLine:
    """One pipeline among all of them; `figures` are None for who may see no runs."""

    name: str
    address: str
    code: Code
    steps: int | None
    versions: int
    open: int
    figures: Figures | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLine:
    """One step of a pipeline; `is_gone` says that only earlier versions have it."""

    key: str
    is_gone: bool
    count: int
    failures: int
    median: str
    p95: str
    plot: Plot | None


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionLine:
    """One version of a pipeline. `passage` says what becomes of its open runs."""

    version: str
    address: str
    seen: str
    is_current: bool
    open: int
    open_address: str
    figures: Figures
    passage: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsOf:
    """What the runs of a pipeline say, for those who may see them."""

    figures: Figures
    since: str
    open: int
    plot: Plot | None
    steps: Sequence[StepLine]
    ticks: Sequence[tuple[float, str]]
    sampled: StepSamples
    address: str
    failed_address: str


class PipelinesView:
    """All pipelines that are registered, or have run here."""

    def __init__(self, model_admin: PipelineDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff.

        Raises:
            PermissionDenied: the user may not see pipelines.
        """
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Pipelines"),
            "opts": self._admin.opts,
            "original": _("Pipelines"),
            "has_view_permission": True,
            "media": self._admin.media,
            "lines": self._lines(request),
            "with_runs": self._admin.runs.has_view_permission(request),
            "most_newest": samples.MOST_NEWEST,
            "versions_address": self._admin.address("pipelineversion_changelist"),
        }
        return TemplateResponse(request, "admin/fluxio_django/pipelineversion/all.html", context)

    def _lines(self, request: HttpRequest) -> list[PipelineLine]:
        seen = _versions(self._admin, request).order_by("pipeline", "-id")
        versions: dict[str, int] = {}
        for name in seen.values_list("pipeline", flat=True)[:_MOST_NAMES]:
            versions[name] = versions.get(name, 0) + 1
        found: Mapping[str, list[EndedRun]] = {}
        waiting: Mapping[str, int] = {}
        with_runs = self._admin.runs.has_view_permission(request)
        if with_runs:
            runs = self._admin.runs.get_queryset(request)
            found = samples.newest_by_pipeline(runs)
            waiting = samples.open_by_pipeline(runs)
        lines = []
        for name in sorted({*pipelines.names(), *versions}):
            code = code_of(name)
            lines.append(
                PipelineLine(
                    name=printable(name),
                    address=self._admin.address("pipelineversion_pipeline", pipeline=name),
                    code=code,
                    steps=len(code.pipeline.compiled.calls) if code.pipeline is not None else None,
                    versions=versions.get(name, 0),
                    open=waiting.get(name, 0),
                    figures=figures_of(found.get(name, ())) if with_runs else None,
                )
            )
        return lines


class PipelineView:
    """One pipeline: its picture, how its newest runs and their steps went, its versions."""

    def __init__(self, model_admin: PipelineDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff.

        Raises:
            PermissionDenied: the user may not see pipelines.
            Http404: no such pipeline is registered, and none has run here.
        """
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        name = request.GET.get("pipeline", "")
        if not name or not name.isprintable():
            raise Http404
        recorded = list(_versions(self._admin, request).filter(pipeline=name)[:MOST_VERSIONS])
        if not recorded and name not in pipelines:
            raise Http404
        code = code_of(name)
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Pipeline %s") % printable(name),
            "opts": self._admin.opts,
            "original": printable(name),
            "has_view_permission": True,
            "media": self._admin.media,
            "code": code,
            "picture": _picture(code),
            "too_large_to_draw": code.pipeline is not None and _picture(code) is None,
            "all_address": self._admin.address("pipelineversion_pipelines"),
            **self._about_runs(request, name, code, recorded),
        }
        return TemplateResponse(
            request, "admin/fluxio_django/pipelineversion/pipeline.html", context
        )

    def _about_runs(
        self, request: HttpRequest, name: str, code: Code, recorded: Sequence[PipelineVersion]
    ) -> dict[str, Any]:
        run_admin = self._admin.runs
        if not run_admin.has_view_permission(request):
            return {"runs": None, "versions": self._version_lines(code, recorded, {}, ())}
        runs = run_admin.get_queryset(request)
        ended = samples.newest_ended(runs, name)
        waiting = samples.open_by_version(runs, name)
        return {
            "runs": _runs_of(run_admin, name, code, ended, sum(waiting.values())),
            "versions": self._version_lines(code, recorded, waiting, ended),
        }

    def _version_lines(
        self,
        code: Code,
        recorded: Sequence[PipelineVersion],
        waiting: Mapping[str, int],
        ended: Sequence[EndedRun],
    ) -> list[VersionLine]:
        run_admin = self._admin.runs
        return [
            VersionLine(
                version=version.version,
                address=self._admin.address("pipelineversion_change", version.pk),
                seen=time_text(version.first_seen),
                is_current=version.version == code.version,
                open=waiting.get(version.version, 0),
                open_address=run_admin.address(
                    "run_changelist", pipeline=version.pipeline, version=version.version
                ),
                figures=figures_of([run for run in ended if run.version == version.version]),
                passage=_passage(code, version.version),
            )
            for version in recorded
        ]


def code_of(name: str) -> Code:
    """What is registered under a name. Whatever its factory does, this gives an answer."""
    if name not in pipelines:
        return Code(pipeline=None, problem=_("No pipeline of this name is registered any more."))
    try:
        return Code(pipeline=pipelines[name])
    except FluxioError as problem:
        return Code(pipeline=None, problem=printable(str(problem)))
    except Exception as problem:  # noqa: BLE001 - factories are the project's own code
        reason = _("Pipeline %(name)s cannot be built: its factory raised %(error)s.")
        return Code(pipeline=None, problem=reason % {"name": name, "error": type(problem).__name__})


def figures_of(ended: Sequence[EndedRun]) -> Figures:
    """How runs went, in texts."""
    rate, spread = samples.rate_of(ended), samples.spread_of(run.seconds for run in ended)
    return Figures(
        ended=rate.ended,
        failed=_failed_text(rate),
        tone=Tone.BAD if rate.failed else Tone.QUIET,
        median=duration_text(spread.median) if spread is not None else "",
        p95=duration_text(spread.p95) if spread is not None else "",
    )


def _failed_text(rate: Rate) -> str:
    if not rate.ended:
        return ""
    percent = f"{rate.percent:.1f}" if 0 < rate.percent < 10 else f"{rate.percent:.0f}"
    return _("%(percent)s %% (%(failed)d of %(ended)d)") % {
        "percent": percent,
        "failed": rate.failed,
        "ended": rate.ended,
    }


def _runs_of(
    run_admin: RunDesk, name: str, code: Code, ended: Sequence[EndedRun], waiting: int
) -> RunsOf:
    sampled = samples.steps_of(ended)
    spreads = {
        key: spread
        for key, step in sampled.by_key.items()
        if (spread := samples.spread_of(step.seconds)) is not None
    }
    scale = Scale.over(spreads.values()) if spreads else None
    present = [call.key for call in code.pipeline.compiled.calls] if code.pipeline else []
    gone = [key for key in sampled.by_key if key and key not in set(present)]
    lines = []
    for key in [*present, *gone]:
        step, spread = sampled.by_key.get(key), spreads.get(key)
        lines.append(
            StepLine(
                key=printable(key),
                is_gone=key not in present,
                count=len(step.seconds) if step is not None else 0,
                failures=step.failures if step is not None else 0,
                median=duration_text(spread.median) if spread is not None else "",
                p95=duration_text(spread.p95) if spread is not None else "",
                plot=spread_plot(spread, scale) if spread is not None and scale else None,
            )
        )
    return RunsOf(
        figures=figures_of(ended),
        since=time_text(ended[-1].created_at) if ended else "",
        open=waiting,
        plot=runs_plot(ended),
        steps=lines,
        ticks=scale.ticks() if scale is not None else (),
        sampled=sampled,
        address=run_admin.address("run_changelist", pipeline=name),
        failed_address=run_admin.address("run_changelist", pipeline=name, status="failed"),
    )


def _versions(model_admin: PipelineDesk, request: HttpRequest) -> Any:
    return model_admin.get_queryset(request).defer("manifest").order_by("-first_seen", "-id")


def _picture(code: Code) -> Picture | None:
    return picture_of(code.pipeline.compiled, {}) if code.pipeline is not None else None


def _passage(code: Code, version: str) -> str:
    """What becomes of the open runs of a version."""
    if code.pipeline is None:
        return _("they cannot go on")
    if version == code.version:
        return _("they go on")
    passage = code.pipeline.compiled.passages.find(version)
    if passage is None:
        return _("they take a decision: other code")
    if passage.kind is PassageKind.MIGRATED:
        return _("a migration carries them over")
    return _("declared compatible")
