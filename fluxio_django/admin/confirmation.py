"""The page between a wish and the deed: it says what will happen, then hands it over, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio.errors import FluxioError
from fluxio_django import services
from fluxio_django.admin import audit, nonce
from fluxio_django.admin.asked import keys_in
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.forms import ReasonForm, StepForm
from fluxio_django.admin.measures import NOTHING, printable
from fluxio_django.admin.names import OperationName
from fluxio_django.admin.operations import FORCE, OPERATIONS, Order
from fluxio_django.admin.standing import Standing, reached_steps, standing_of, unreadable
from fluxio_django.admin.status import Badge, badge_of
from fluxio_django.deeds import Deed, origin
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run

MOST_RUNS = 100
"""How many runs one confirmation covers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A run that was chosen, and why it is left out, if it is."""

    standing: Standing
    badge: Badge
    refusal: str
    effect: str

    @property
    def is_forced(self) -> bool:
        """Whether it goes on only because somebody decides so, for the code has changed."""
        return not self.refusal and self.standing.drift is not None

    @property
    def step(self) -> str:
        """The step it would go on with."""
        return printable(self.run.step)

    @property
    def run(self) -> Run:
        """The run."""
        return self.standing.run


class ConfirmationView:
    """Asks for confirmation on GET, and acts on POST."""

    template = "admin/fluxio_django/run/confirm.html"

    def __init__(self, model_admin: RunDesk, name: OperationName) -> None:
        self._admin = model_admin
        self._operation = OPERATIONS[name]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff, and CSRF.

        Raises:
            PermissionDenied: the user lacks the right, or it for one of the runs.
            Http404: a run is unknown, or not for this user.
        """
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        candidates = self._candidates(request, self._chosen(request))
        if request.method != "POST":
            return self._page(request, candidates, self._form(request, candidates))
        return self._sent(request, candidates)

    def _sent(self, request: HttpRequest, candidates: Sequence[Candidate]) -> HttpResponse:
        """The answer to a form that was sent."""
        form = self._form(request, candidates, data=request.POST)
        if not self._is_sound(candidates, form):
            return self._page(request, candidates, form)
        try:
            return self._act(request, candidates, form)
        except FluxioError as problem:
            # The transaction is rolled back by now, with the entries for the trail.
            reason = printable(str(problem.args[0] if problem.args else problem))
            return self._turned_away(request, [each.run for each in candidates], reason)

    def _is_sound(self, candidates: Sequence[Candidate], form: ReasonForm) -> bool:
        """Whether what was filled in can be done."""
        return form.is_valid()

    # --- who, and whether

    def _chosen(self, request: HttpRequest) -> list[Run]:
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        return self._allowed(
            request, keys_in(request, most=MOST_RUNS if self._operation.many else 1)
        )

    def _allowed(self, request: HttpRequest, keys: Sequence[int]) -> list[Run]:
        """The runs, each of which the user may see and treat so."""
        runs = self._admin.visible(request, keys)
        if not all(self._admin.may(request, self._operation.right, run) for run in runs):
            raise PermissionDenied
        return runs

    def _candidates(self, request: HttpRequest, runs: Sequence[Run]) -> list[Candidate]:
        # Of many, those that other code recorded are left out without asking each for its log.
        alone = len(runs) == 1
        forced = alone and self._admin.may_force(request)
        standings = [standing_of(run, thorough=alone) for run in runs]
        return [
            Candidate(
                standing=standing,
                badge=badge_of(standing.run),
                refusal=self._operation.refusal(standing, forced),
                effect=self._operation.effect(standing),
            )
            for standing in standings
        ]

    # --- asking

    def _form(
        self, request: HttpRequest, candidates: Sequence[Candidate], data: Any = None
    ) -> ReasonForm:
        only = candidates[0] if len(candidates) == 1 else None
        drifted = only is not None and only.is_forced
        if not issubclass(self._operation.form, StepForm):
            return self._operation.form(data, drifted=drifted)
        steps = step_choices(only.standing) if only is not None else ()
        initial = {"from_step": request.GET.get("from_step", "")}
        return self._operation.form(data, initial=initial, steps=steps, drifted=drifted)

    def _page(
        self,
        request: HttpRequest,
        candidates: Sequence[Candidate],
        form: ReasonForm,
        **more: Any,
    ) -> HttpResponse:
        runs = [candidate.run for candidate in candidates]
        ready = [candidate for candidate in candidates if not candidate.refusal]
        only = candidates[0] if len(candidates) == 1 else None
        title = (
            _("%(operation)s run %(run)s")
            % {"operation": self._operation.title, "run": only.run.run_id}
            if only
            else _("%(operation)s %(count)d runs")
            % {"operation": self._operation.title, "count": len(candidates)}
        )
        context = {
            **self._admin.admin_site.each_context(request),
            "title": title,
            "opts": self._admin.opts,
            "original": only.run if only else title,
            "has_view_permission": True,
            "media": self._admin.media,
            "operation": self._operation,
            "candidates": candidates,
            "ready": ready,
            "only": only,
            "form": form,
            "confirmation": nonce.issue(request, self._operation.name, runs),
            "back": self._back(runs),
            **more,
        }
        return TemplateResponse(request, self.template, context)

    # --- acting

    def _act(
        self, request: HttpRequest, shown: Sequence[Candidate], form: ReasonForm
    ) -> HttpResponse:
        runs = [candidate.run for candidate in shown]
        try:
            confirmed = nonce.read(request, self._operation.name)
        except nonce.StaleConfirmationError:
            return self._turned_away(request, runs, _("The page was too old. Look again."))
        damaged = {each.run.pk: self._damage(each, form) for each in shown}
        if len(runs) == 1 and damaged[runs[0].pk]:
            return self._turned_away(request, runs, damaged[runs[0].pk])
        keys = sorted(damaged)
        with audit.alone_with(keys):
            fresh = self._allowed(request, keys)
            if any(audit.is_used(request, confirmed.number, run) for run in fresh):
                return self._turned_away(request, runs, _("This was confirmed already, once."))
            if not all(confirmed.still_fits(run) for run in fresh):
                return self._turned_away(
                    request, runs, _("The run has moved on since the page was shown. Look again.")
                )
            candidates = self._candidates(request, fresh)
            if len(candidates) == 1 and candidates[0].refusal:
                return self._turned_away(request, runs, candidates[0].refusal)
            orders = [
                self._hand_over(request, candidate, form, confirmed.number)
                for candidate in candidates
                if not candidate.refusal and not damaged[candidate.run.pk]
            ]
        return self._done(request, runs, orders)

    def _damage(self, candidate: Candidate, form: ReasonForm) -> str:
        """Why the state that a run would begin with cannot be read, or ""."""
        if self._operation.begins is None:
            return ""
        step = None if candidate.is_forced else form.cleaned_data.get("from_step")
        return unreadable(candidate.run, self._operation.begins(candidate.run, step))

    def _hand_over(
        self, request: HttpRequest, candidate: Candidate, form: ReasonForm, number: str
    ) -> Order:
        run, reason = candidate.run, form.cleaned_data["reason"]
        cleaned = dict(form.cleaned_data)
        if candidate.is_forced:
            cleaned[FORCE] = services.forced_by(request.user, reason, origin(request))
        with audit.in_one_language():
            order = self._operation.order(run, cleaned)
        deed = Deed(summary=order.summary, reason=reason, number=number)
        self._admin.log_change(request, run, deed.message(request))
        if self._operation.at_once:
            order.work()
        else:
            services.launch(order.work, run_id=order.run_id)
        return order

    def _turned_away(self, request: HttpRequest, runs: Sequence[Run], why: str) -> HttpResponse:
        messages.warning(request, why)
        return HttpResponseRedirect(self._back(runs))

    def _done(
        self, request: HttpRequest, runs: Sequence[Run], orders: Sequence[Order]
    ) -> HttpResponse:
        left_out = len(runs) - len(orders)
        if orders:
            messages.success(request, self._success(runs, orders))
        if left_out:
            messages.warning(
                request,
                ngettext(
                    "%d run was left out: its state does not allow it.",
                    "%d runs were left out: their state does not allow it.",
                    left_out,
                )
                % left_out,
            )
        # What is gone has no page any more.
        gone = any(order.is_last for order in orders)
        return HttpResponseRedirect(self._back(() if gone else runs))

    def _success(self, runs: Sequence[Run], orders: Sequence[Order]) -> str:
        if len(orders) > 1:
            return ngettext("%(done)s %(count)d run.", "%(done)s %(count)d runs.", len(orders)) % {
                "done": self._operation.done,
                "count": len(orders),
            }
        order = orders[0]
        if order.is_last:
            return f"{self._operation.done} {order.run_id}."
        if order.run_id in {run.run_id for run in runs}:
            address = self._back([run for run in runs if run.run_id == order.run_id])
        else:
            # The new run has no page before a worker has begun it; the list finds it by its id.
            address = self._admin.address("run_changelist", q=order.run_id)
        return format_html('{} <a href="{}">{}</a>.', self._operation.done, address, order.run_id)

    def _back(self, runs: Sequence[Run]) -> str:
        if len(runs) == 1:
            return self._admin.address("run_change", runs[0].pk)
        return self._admin.address("run_changelist")


def step_choices(standing: Standing) -> list[tuple[str, str]]:
    """From where a run can be run again: step keys with labels, "" for where it goes on."""
    run = standing.run
    if run.status == RunStatus.SUCCEEDED:
        start = _("the beginning")
    else:
        start = _("the last checkpoint, at step %s") % (printable(run.step) or NOTHING)
    return [("", start), *((key, _("step %s") % key) for key in reached_steps(standing))]
