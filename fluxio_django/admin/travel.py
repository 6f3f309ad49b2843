"""The context of a run at any recorded moment, and beside it at another one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio.diff import ChangeKind, same
from fluxio.errors import FluxioError
from fluxio.runtime.reading import Moment
from fluxio_django import services
from fluxio_django.admin.asked import keys_in
from fluxio_django.admin.comparison import CHANGE_LABELS, CHANGE_TONES
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.measures import printable
from fluxio_django.admin.moments import LONGEST, Named, moment_in, moment_text, named_moment
from fluxio_django.admin.rendering import Bounds, Renderer, Shown
from fluxio_django.admin.status import Badge
from fluxio_django.log import bytes_of_log, bytes_of_state
from fluxio_django.models import Run
from fluxio_django.rights import Right

KEYS_PER_PAGE = 100
MOST_BYTES = 16 * 1024 * 1024
"""Larger states are not read for a page."""
MOST_BYTES_FOR_ORIGINS = 4 * 1024 * 1024
MOST_ROWS_FOR_ORIGINS = 5_000

_BOUNDS = Bounds(nodes=4_000)
_NUMBER = re.compile(r"[0-9]{1,9}")


class MomentForm(forms.Form):
    """Which moments, and which of their keys. All of it may be left empty."""

    at = forms.CharField(
        label=gettext_lazy("Moment"),
        required=False,
        max_length=LONGEST,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "A row's number for the state after it, a step for the state before it, "
            "“attempt 2” for the end of an attempt; empty for the newest state."
        ),
    )
    beside = forms.CharField(
        label=gettext_lazy("Beside it"),
        required=False,
        max_length=LONGEST,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Another moment, to be shown next to the first."),
    )
    key = forms.CharField(
        label=gettext_lazy("Key"),
        required=False,
        max_length=200,
        strip=False,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Only keys that contain this."),
    )
    differing = forms.BooleanField(
        label=gettext_lazy("Only what differs"), required=False, widget=forms.CheckboxInput
    )

    def clean_at(self) -> Named:
        """The first moment."""
        return named_moment(self.cleaned_data["at"])

    def clean_beside(self) -> Named:
        """The other moment."""
        return named_moment(self.cleaned_data["beside"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownKey:
    """One key: what it holds at the moment and beside it, and the row that set the later one."""

    key: str
    value: Shown | None
    beside: Shown | None
    change: Badge | None
    origin: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Travel:
    """What the page shows. `is_double` says that there are two moments."""

    at: str
    beside: str
    is_double: bool
    keys: Sequence[ShownKey]
    count: int
    with_origins: bool
    before: str
    after: str


class TravelView:
    """Shows contexts to those who may see values; it changes nothing."""

    def __init__(self, model_admin: RunDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff.

        Raises:
            PermissionDenied: the user may not see the values of this run.
            Http404: the run is unknown, or not for this user.
        """
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        (run,) = self._admin.visible(request, keys_in(request, most=1))
        if not self._admin.may(request, Right.VALUES, run):
            raise PermissionDenied
        form = MomentForm(request.GET)
        travel, problem = None, ""
        if form.is_valid():
            try:
                travel = self._travel(run, form.cleaned_data, _first_key(request))
            except (FluxioError, KeyError, ValueError) as reason:
                problem = printable(str(reason.args[0] if reason.args else reason))
        return self._page(request, run, form, travel, problem)

    def _travel(self, run: Run, asked: Mapping[str, Any], first: int) -> Travel:
        if bytes_of_state(run) > MOST_BYTES:
            raise ValueError(_("It is too large to be shown here; use fluxio_show."))
        at, beside = moment_in(run, asked["at"]), None
        state = services.state(run.run_id, at)
        other: Mapping[str, Any] | None = None
        if asked["beside"] is not None:
            beside = moment_in(run, asked["beside"])
            other = services.state(run.run_id, beside)
        names = _names(state, other, asked)
        chosen = names[first : first + KEYS_PER_PAGE]
        origins = _origins(run, at if other is None else _later(at, beside))
        query = {
            name: str(value)
            for name, value in {"at": at, "beside": beside, "key": asked["key"]}.items()
            if value not in (None, "")
        }
        if asked["differing"]:
            query["differing"] = "on"

        def page_at(place: int) -> str:
            return self._admin.address("run_state", run=run.pk, first=place, **query)

        return Travel(
            at=moment_text(at),
            beside=moment_text(beside),
            is_double=other is not None,
            keys=_shown(chosen, state, other, origins),
            count=len(names),
            with_origins=bool(origins),
            before=page_at(max(first - KEYS_PER_PAGE, 0)) if first > 0 else "",
            after=page_at(first + KEYS_PER_PAGE) if first + KEYS_PER_PAGE < len(names) else "",
        )

    def _page(
        self,
        request: HttpRequest,
        run: Run,
        form: MomentForm,
        travel: Travel | None,
        problem: str,
    ) -> HttpResponse:
        at = form.cleaned_data.get("at") if form.is_valid() else None
        row = at if isinstance(at, int) and at <= run.head else run.head
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Context of run %s") % run.run_id,
            "opts": self._admin.opts,
            "original": run,
            "has_view_permission": True,
            "media": self._admin.media,
            "run": run,
            "run_address": self._admin.address("run_change", run.pk),
            "form": form,
            "travel": travel,
            "problem": problem,
            "row_before": self._row_address(request, run, row - 1) if row > 0 else "",
            "row_after": self._row_address(request, run, row + 1) if row < run.head else "",
        }
        return TemplateResponse(request, "admin/fluxio_django/run/state.html", context)

    def _row_address(self, request: HttpRequest, run: Run, row: int) -> str:
        kept = {
            name: request.GET[name]
            for name in ("beside", "key", "differing")
            if request.GET.get(name)
        }
        return self._admin.address("run_state", run=run.pk, at=row, **kept)


def _first_key(request: HttpRequest) -> int:
    wanted = request.GET.get("first", "")
    return int(wanted) if _NUMBER.fullmatch(wanted) else 0


def _names(
    state: Mapping[str, Any], other: Mapping[str, Any] | None, asked: Mapping[str, Any]
) -> list[str]:
    """The keys that were asked for, in the order of the context."""
    names = list(state) + [key for key in other or {} if key not in state]
    if asked["key"]:
        names = [name for name in names if asked["key"] in name]
    if other is not None and asked["differing"]:
        names = [name for name in names if _change(name, state, other) is not None]
    return names


def _change(key: str, state: Mapping[str, Any], other: Mapping[str, Any]) -> ChangeKind | None:
    """What happened to a key between the first moment and the one beside it."""
    if key not in other:
        return ChangeKind.REMOVED
    if key not in state:
        return ChangeKind.ADDED
    if same(state[key], other[key]):
        return None
    changed_type = type(state[key]) is not type(other[key])
    return ChangeKind.TYPE_CHANGED if changed_type else ChangeKind.CHANGED


def _shown(
    names: Sequence[str],
    state: Mapping[str, Any],
    other: Mapping[str, Any] | None,
    origins: Mapping[str, int],
) -> list[ShownKey]:
    renderer = Renderer(_BOUNDS)
    shown = []
    for name in names:
        kind = None if other is None else _change(name, state, other)
        shown.append(
            ShownKey(
                key=printable(name[:200]),
                value=renderer.show(state[name]) if name in state else None,
                beside=renderer.show(other[name]) if other is not None and name in other else None,
                change=None
                if kind is None
                else Badge(text=str(CHANGE_LABELS[kind]), tone=CHANGE_TONES[kind]),
                origin=origins.get(name),
            )
        )
    return shown


def _later(at: Moment, beside: Moment) -> Moment:
    """The later of two moments, or the one of them that is not named by a step."""
    rows = [moment for moment in (at, beside) if not isinstance(moment, str)]
    if not rows:
        return at
    return None if None in rows else max(row for row in rows if row is not None)


def _origins(run: Run, at: Moment) -> Mapping[str, int]:
    """Which row set each key, unless that would take reading too much."""
    if isinstance(at, str) or run.head > MOST_ROWS_FOR_ORIGINS:
        return {}
    if bytes_of_log(run) > MOST_BYTES_FOR_ORIGINS:
        return {}
    return services.provenance(run.run_id, at)
