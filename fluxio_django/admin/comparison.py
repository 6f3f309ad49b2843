"""Two recorded moments side by side: which keys differ, and how."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio.diff import ABSENT, Change, ChangeKind, compare, same
from fluxio.errors import FluxioError
from fluxio.runtime.reading import Moment
from fluxio_django import services
from fluxio_django.admin import audit, nonce
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.forms import ALL, CompareForm
from fluxio_django.admin.measures import printable
from fluxio_django.admin.moments import LONGEST, moment_in, moment_text
from fluxio_django.admin.rendering import Renderer, Shown
from fluxio_django.admin.status import Tone
from fluxio_django.deeds import Deed
from fluxio_django.models import Run
from fluxio_django.rights import Right

MOST_CHANGES = 300

_NAME = "diff"
_KEY = re.compile(r"[0-9]{1,18}")
CHANGE_TONES = {
    ChangeKind.ADDED: Tone.GOOD,
    ChangeKind.REMOVED: Tone.BAD,
    ChangeKind.CHANGED: Tone.WARNING,
    ChangeKind.TYPE_CHANGED: Tone.WARNING,
}
CHANGE_LABELS = {
    ChangeKind.ADDED: gettext_lazy("added"),
    ChangeKind.REMOVED: gettext_lazy("removed"),
    ChangeKind.CHANGED: gettext_lazy("changed"),
    ChangeKind.TYPE_CHANGED: gettext_lazy("type changed"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two moments."""

    run: Run
    at: Moment

    def __str__(self) -> str:
        if self.at is None:
            return self.run.run_id
        return f"{self.run.run_id} {moment_text(self.at)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownChange:
    """One difference as the page shows it; a side is None where it has no value to show.

    What is the same on both sides, if asked for, stands in `a`.
    """

    path: str
    kind: str
    tone: Tone
    a: Shown | None = None
    b: Shown | None = None
    is_same: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The answer. Without values, `changes` names the top-level keys that differ."""

    a: Side
    b: Side
    changes: Sequence[ShownChange]
    truncated: bool
    with_values: bool


class ComparisonView:
    """Asks for two moments on GET; compares them on POST, which leaves entries in both trails."""

    def __init__(self, model_admin: RunDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff, and CSRF.

        Raises:
            PermissionDenied: the user lacks the right, or it for one of the runs.
            Http404: a run in the address is unknown, or not for this user.
        """
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        if request.method in ("GET", "HEAD"):
            return self._page(request, self._form(request))
        if request.method == "POST":
            return self._answer(request, self._form(request, request.POST))
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])

    def _form(self, request: HttpRequest, data: Any = None) -> CompareForm:
        addressed = zip(("a", "b"), self._addressed(request), strict=False)
        initial = {field: run.run_id for field, run in addressed}
        for name in ("at_a", "at_b"):
            if request.GET.get(name):
                initial[name] = request.GET[name][:LONGEST]
        return CompareForm(data, initial=initial)

    def _addressed(self, request: HttpRequest) -> list[Run]:
        """The runs in the address, in its order; the list and the pages of runs put them there."""
        given = request.GET.getlist("run")[:2]
        if not given and not self._admin.may(request, Right.DIFF):
            raise PermissionDenied
        if not all(_KEY.fullmatch(text) for text in given):
            raise Http404
        keys = [int(text) for text in given]
        found = {run.pk: run for run in self._admin.visible(request, sorted(set(keys)))}
        self._check_rights(request, list(found.values()))
        return [found[key] for key in keys]

    def _check_rights(self, request: HttpRequest, runs: Sequence[Run]) -> None:
        if not all(self._admin.may(request, Right.DIFF, run) for run in runs):
            raise PermissionDenied

    def _answer(self, request: HttpRequest, form: CompareForm) -> HttpResponse:
        if not form.is_valid():
            return self._page(request, form)
        sides = [self._side(request, form, field) for field in ("a", "b")]
        a, b = sides
        if a is None or b is None:
            unknown = form.has_error("a") or form.has_error("b")
            return self._page(request, form, status=404 if unknown else 200)
        self._check_rights(request, [a.run, b.run])
        try:
            confirmed = nonce.read(request, _NAME)
            states = [services.state(side.run.run_id, side.at) for side in (a, b)]
        except nonce.StaleConfirmationError:
            form.add_error(None, _("The page was too old. Compare again."))
            return self._page(request, form)
        except (FluxioError, KeyError, ValueError) as problem:
            reason = problem.args[0] if problem.args else problem
            form.add_error(None, printable(str(reason)))
            return self._page(request, form)
        self._record(request, (a, b), form.cleaned_data["reason"], confirmed.number)
        comparison = self._shown(request, a, b, *states)
        if form.cleaned_data["show"] == ALL:
            comparison = self._with_what_is_the_same(comparison, *states)
        return self._page(request, form, comparison=comparison)

    def _side(self, request: HttpRequest, form: CompareForm, field: str) -> Side | None:
        run = self._admin.visible_by_id(request, form.cleaned_data[field])
        if run is None:
            form.add_error(field, _("There is no such run."))
            return None
        try:
            at = moment_in(run, form.cleaned_data[f"at_{field}"])
        except ValueError as problem:
            form.add_error(f"at_{field}", str(problem))
            return None
        return Side(run=run, at=at)

    def _record(
        self, request: HttpRequest, sides: tuple[Side, Side], reason: str, number: str
    ) -> None:
        """One entry for each run; showing the same answer again adds none."""
        a, b = sides
        others = {a.run.pk: (a.run, b), b.run.pk: (b.run, a)}
        with audit.alone_with(sorted(others)):
            for run, other in others.values():
                if not audit.is_used(request, number, run):
                    summary = f"Compare with {other.run.run_id}"
                    deed = Deed(summary=summary, reason=reason, number=number)
                    self._admin.log_change(request, run, deed.message(request))

    def _shown(
        self,
        request: HttpRequest,
        a: Side,
        b: Side,
        state_a: Mapping[str, Any],
        state_b: Mapping[str, Any],
    ) -> Comparison:
        found = compare(dict(state_a), dict(state_b))
        with_values = all(self._admin.may(request, Right.VALUES, side.run) for side in (a, b))
        if not with_values:
            # Deeper paths hold keys that are values themselves.
            names = [_change(key, found[key]) for key in found]
            return Comparison(
                a=a,
                b=b,
                changes=names[:MOST_CHANGES],
                truncated=len(names) > MOST_CHANGES,
                with_values=False,
            )
        changes = found.paths(limit=MOST_CHANGES)
        return Comparison(
            a=a,
            b=b,
            changes=shown_changes(changes),
            truncated=changes.truncated,
            with_values=True,
        )

    def _with_what_is_the_same(
        self, comparison: Comparison, state_a: Mapping[str, Any], state_b: Mapping[str, Any]
    ) -> Comparison:
        """The comparison, and below what differs the keys that do not."""
        alike = [key for key in state_a if key in state_b and same(state_a[key], state_b[key])]
        room = max(MOST_CHANGES - len(comparison.changes), 0)
        renderer = Renderer()
        shown = [
            ShownChange(
                path=printable(f"[{json.dumps(key)}]" if comparison.with_values else key),
                kind=_("same"),
                tone=Tone.QUIET,
                a=renderer.show(state_a[key]) if comparison.with_values else None,
                is_same=True,
            )
            for key in alike[:room]
        ]
        return replace(
            comparison,
            changes=[*comparison.changes, *shown],
            truncated=comparison.truncated or len(alike) > room,
        )

    def _page(
        self,
        request: HttpRequest,
        form: CompareForm,
        *,
        comparison: Comparison | None = None,
        status: int = 200,
    ) -> HttpResponse:
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Compare runs"),
            "opts": self._admin.opts,
            "original": _("Compare"),
            "has_view_permission": True,
            "media": self._admin.media,
            "form": form,
            "confirmation": nonce.issue(request, _NAME, ()),
            "comparison": comparison,
            "address_a": self._address(comparison.a) if comparison else "",
            "address_b": self._address(comparison.b) if comparison else "",
        }
        return TemplateResponse(
            request, "admin/fluxio_django/run/compare.html", context, status=status
        )

    def _address(self, side: Side) -> str:
        return self._admin.address("run_change", side.run.pk)


def shown_changes(changes: Iterable[Change]) -> list[ShownChange]:
    """Differences with their values, which share the bounds of one page."""
    renderer = Renderer()
    return [
        ShownChange(
            path=printable(change.text),
            kind=str(CHANGE_LABELS[change.kind]),
            tone=CHANGE_TONES[change.kind],
            a=None if change.a is ABSENT else renderer.show(change.a),
            b=None if change.b is ABSENT else renderer.show(change.b),
        )
        for change in changes
    ]


def _change(key: str, sides: dict[str, Any]) -> ShownChange:
    if "a" not in sides:
        kind = ChangeKind.ADDED
    elif "b" not in sides:
        kind = ChangeKind.REMOVED
    else:
        kind = ChangeKind.CHANGED
    return ShownChange(path=printable(key), kind=str(CHANGE_LABELS[kind]), tone=CHANGE_TONES[kind])
