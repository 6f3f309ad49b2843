"""Everything the page of one run says, put together before a template is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils.translation import gettext as _

from fluxio.errors import FluxioError
from fluxio.runtime.reading import Moment
from fluxio_django import services
from fluxio_django.admin import audit
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.drift import Drift
from fluxio_django.admin.headline import headline_of
from fluxio_django.admin.marks import Mark, marks_of
from fluxio_django.admin.measures import NOTHING, printable, run_duration_text, time_text
from fluxio_django.admin.operations import OPERATIONS
from fluxio_django.admin.picture import Picture, picture_of
from fluxio_django.admin.progress import ShownProgress, progress_of
from fluxio_django.admin.pulse import Pulse, pulse_of
from fluxio_django.admin.rendering import Item, Renderer
from fluxio_django.admin.rows import RowPresenter, ShownRow
from fluxio_django.admin.standing import Standing, standing_of
from fluxio_django.admin.status import Badge, badge_of
from fluxio_django.admin.subjects import SubjectLinks
from fluxio_django.admin.timeline import ShownAttempt, timeline_of
from fluxio_django.log import ROWS_PER_PAGE, Page, read_page
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text
from fluxio_django.rights import Right

MOST_FORKS = 20

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A button: where it leads, or why it does not."""

    name: str
    text: str
    address: str = ""
    refusal: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One line about the run, perhaps with a link."""

    label: str
    text: str
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFork:
    """A fork of the run; `comparison` is where both are compared, "" for who may not."""

    text: str
    address: str
    comparison: str
    badge: Badge


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownState:
    """A context: its items, or the reason why they cannot be shown.

    Each item comes with the row that set it, where that is known; of `count` items, `more` are left
    out. `is_elsewhere` says that it is too large for the page of the run.
    """

    items: Sequence[tuple[Item, int | None]] = ()
    count: int = 0
    more: int = 0
    problem: str = ""
    is_elsewhere: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """What the template shows, in its order."""

    run: Run
    badge: Badge
    headline: str
    error: str
    progress: ShownProgress | None
    tools: Sequence[Tool]
    refusals: Sequence[str]
    drift: Drift | None
    passage: str
    facts: Sequence[Fact]
    with_values: bool
    state: ShownState | None
    state_address: str
    with_origins: bool
    picture: Picture | None
    too_large_to_draw: bool
    timeline: Sequence[ShownAttempt]
    rows: Sequence[ShownRow]
    with_tools: bool
    older: str
    newer: str
    head: int
    forks: Sequence[ShownFork]
    more_forks: bool
    trail: Sequence[audit.TrailEntry]
    pulse: Pulse | None


def run_page(model_admin: RunDesk, request: HttpRequest, run: Run) -> RunPage:
    """The page of a run, as this user may see it."""
    standing = standing_of(run)
    presenter = RowPresenter(model_admin, request, standing)
    log = read_page(run, _first_row(request))
    rows = [presenter.show(line) for line in log.lines]
    tools = _tools(model_admin, request, standing)
    forks = _forks(model_admin, request, run)
    picture = _picture(model_admin, standing)
    return RunPage(
        run=run,
        badge=badge_of(run),
        headline=headline_of(run),
        error=printable(shown_text(run.error)) if presenter.with_values else "",
        progress=progress_of(run),
        tools=tools,
        refusals=_refusals(tools),
        drift=standing.drift,
        passage=standing.passage,
        facts=list(_facts(model_admin, request, run)),
        with_values=presenter.with_values,
        state=_state(run, log) if presenter.with_values else None,
        state_address=model_admin.address("run_state", run=run.pk),
        with_origins=log.whole is not None,
        picture=picture,
        too_large_to_draw=standing.same_code is not None and picture is None,
        timeline=timeline_of(standing, log),
        rows=rows,
        with_tools=any(row.tools for row in rows),
        older=_rows_address(model_admin, run, log.older),
        newer=_rows_address(model_admin, run, log.newer),
        head=log.head,
        forks=forks[:MOST_FORKS],
        more_forks=len(forks) > MOST_FORKS,
        trail=audit.trail(run),
        pulse=pulse_of(model_admin, run),
    )


def _picture(model_admin: RunDesk, standing: Standing) -> Picture | None:
    code = standing.same_code
    if code is None:
        return None

    def row_of(key: str, mark: Mark) -> str:
        return "" if mark.row is None else model_admin.address("checkpoint_change", mark.row)

    return picture_of(code.compiled, marks_of(standing), row_of)


def _first_row(request: HttpRequest) -> int | None:
    wanted = request.GET.get("row", "")
    return int(wanted) if _NUMBER.fullmatch(wanted) else None


def _rows_address(model_admin: RunDesk, run: Run, first: int | None) -> str:
    return "" if first is None else model_admin.address("run_change", run.pk, row=first)


def _tools(model_admin: RunDesk, request: HttpRequest, standing: Standing) -> list[Tool]:
    run = standing.run
    forced = model_admin.may_force(request)
    tools = [
        Tool(
            name=operation.name,
            text=str(operation.title),
            address=model_admin.address(f"run_{operation.name}", run=run.pk),
            refusal=operation.refusal(standing, forced),
        )
        for operation in OPERATIONS.values()
        if model_admin.may(request, operation.right, run)
        and not (operation.is_occasional and operation.refusal(standing, forced))
    ]
    if model_admin.may(request, Right.DIFF, run):
        address = model_admin.address("run_diff", run=run.pk)
        tools.append(Tool(name="diff", text=_("Compare"), address=address))
    return tools


def _refusals(tools: Sequence[Tool]) -> list[str]:
    """Why some tools lead nowhere, each reason once."""
    refused: dict[str, list[str]] = {}
    for tool in tools:
        if tool.refusal:
            refused.setdefault(tool.refusal, []).append(tool.text)
    return [
        _("Not possible now: %(tools)s. %(why)s") % {"tools": ", ".join(names), "why": why}
        for why, names in refused.items()
    ]


def _facts(model_admin: RunDesk, request: HttpRequest, run: Run) -> Iterator[Fact]:
    yield _pipeline(model_admin, request, run)
    yield _version(model_admin, request, run)
    yield Fact(label=_("Step"), text=printable(run.step) or NOTHING)
    yield Fact(label=_("Attempts"), text=str(run.attempt))
    yield Fact(label=_("Queue"), text=run.queue)
    if run.held_back:
        yield Fact(label=_("Held back"), text=printable(run.held_back))
    if run.cancel_requested_at is not None:
        yield Fact(label=_("Asked to stop"), text=time_text(run.cancel_requested_at))
    yield Fact(label=_("Created"), text=time_text(run.created_at))
    yield Fact(label=_("Started"), text=time_text(run.started_at) or NOTHING)
    yield Fact(label=_("Finished"), text=time_text(run.finished_at) or NOTHING)
    yield Fact(label=_("Duration"), text=run_duration_text(run) or NOTHING)
    if run.takeovers:
        yield Fact(label=_("Takeovers"), text=str(run.takeovers))
    if run.owner:
        yield Fact(label=_("Worker"), text=printable(run.owner))
        yield Fact(label=_("Lease until"), text=time_text(run.lease_expires_at) or NOTHING)
    if run.requested_by_id is not None:
        yield Fact(label=_("Requested by"), text=_user(run.requested_by_id))
    subject = SubjectLinks(model_admin.admin_site, request).of(run)
    if subject is not None:
        yield Fact(label=_("Subject"), text=subject.text, address=subject.address)
    if run.parent:
        yield _parent(model_admin, request, run)


def _pipeline(model_admin: RunDesk, request: HttpRequest, run: Run) -> Fact:
    seen = request.user.has_perm("fluxio_django.view_pipelineversion")
    address = model_admin.address("pipelineversion_pipeline", pipeline=run.pipeline)
    return Fact(label=_("Pipeline"), text=run.pipeline, address=address if seen else "")


def _version(model_admin: RunDesk, request: HttpRequest, run: Run) -> Fact:
    seen = request.user.has_perm("fluxio_django.view_pipelineversion")
    address = model_admin.address("pipelineversion_changelist", pipeline=run.pipeline)
    return Fact(label=_("Version"), text=run.version, address=address if seen else "")


def _user(key: int) -> str:
    # Users may live in another database than runs, so the relation is not followed.
    user = get_user_model()._default_manager.filter(pk=key).first()
    return user.get_username() if user is not None else str(key)


def _parent(model_admin: RunDesk, request: HttpRequest, run: Run) -> Fact:
    parent = model_admin.visible_by_id(request, run.parent)
    address = model_admin.address("run_change", parent.pk) if parent is not None else ""
    text = run.parent
    if run.parent_sequence is not None:
        text = _("%(run)s, at row %(row)d") % {"run": text, "row": run.parent_sequence}
    return Fact(label=_("Forked from"), text=text, address=address)


def _forks(model_admin: RunDesk, request: HttpRequest, run: Run) -> list[ShownFork]:
    forks = model_admin.get_queryset(request).filter(parent=run.run_id)[: MOST_FORKS + 1]
    compares = model_admin.may(request, Right.DIFF, run)
    return [
        ShownFork(
            text=fork.run_id,
            address=model_admin.address("run_change", fork.pk),
            comparison=model_admin.address("run_diff", run=[run.pk, fork.pk]) if compares else "",
            badge=badge_of(fork),
        )
        for fork in forks
    ]


def _state(run: Run, log: Page) -> ShownState:
    """The newest state: from the log, when all of it is on the page anyway."""
    whole = log.whole
    if whole is not None:
        return shown_state(whole.values(), whole.provenance())
    if log.head >= ROWS_PER_PAGE or any(line.is_unopened for line in log.lines):
        return ShownState(is_elsewhere=True)
    return state_at(run, None)


def state_at(run: Run, at: Moment, origins: Mapping[str, int] | None = None) -> ShownState:
    """A run's context at a recorded moment; where there is none, why."""
    try:
        state = services.state(run.run_id, at)
    except (FluxioError, KeyError, ValueError) as problem:
        return ShownState(problem=printable(str(problem.args[0] if problem.args else problem)))
    return shown_state(state, origins)


def shown_state(values: Mapping[str, Any], origins: Mapping[str, int] | None = None) -> ShownState:
    """A context as it is shown."""
    items = Renderer().show_items(values)
    origin_of = (origins or {}).get
    shown = [(item, origin_of(key)) for item, key in zip(items, values, strict=False)]
    return ShownState(items=shown, count=len(values), more=len(values) - len(items))
