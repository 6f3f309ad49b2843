"""All failed runs of a pipeline at once: first how many those are, then each into its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio.errors import FluxioError
from fluxio_django import services
from fluxio_django.admin import audit, nonce
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.forms import ReasonForm
from fluxio_django.admin.measures import printable
from fluxio_django.admin.operations import REQUEUE
from fluxio_django.admin.standing import standing_of
from fluxio_django.deeds import Deed
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run

MOST_AT_ONCE = 500
MOST_COUNTED = 10_000

_NAME = "redrive"
_STATUSES = (RunStatus.FAILED, RunStatus.DEAD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What would happen: `runs` are those that are put into their queues, the oldest first.

    `found` counts what failed, `MOST_COUNTED` at most; `left_out` those of `runs` that the code at
    hand cannot go on with, by the reason.
    """

    pipeline: str
    status: str
    found: int
    runs: Sequence[Run]
    left_out: Sequence[tuple[str, int]]
    errors: Sequence[tuple[str, int]]

    @property
    def is_capped(self) -> bool:
        """Whether there are more than are counted."""
        return self.found >= MOST_COUNTED

    @property
    def later(self) -> bool:
        """Whether some are left for another time."""
        return self.found > MOST_AT_ONCE


class RedriveView:
    """Asks for confirmation on GET, and requeues on POST exactly the runs it asked about."""

    def __init__(self, model_admin: RunDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff, and CSRF.

        Raises:
            PermissionDenied: the user lacks the right to resume runs.
            Http404: there is no such pipeline among the runs of this user.
        """
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not self._admin.may(request, REQUEUE.right):
            raise PermissionDenied
        pipeline = request.GET.get("pipeline", "")
        status = request.GET.get("status", RunStatus.FAILED.value)
        if not pipeline or not pipeline.isprintable() or status not in _STATUSES:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            return self._act(request, pipeline, status, form.cleaned_data["reason"])
        preview = self._preview(request, pipeline, status)
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("Redrive %s") % printable(pipeline),
            "opts": self._admin.opts,
            "original": _("Redrive"),
            "has_view_permission": True,
            "media": self._admin.media,
            "preview": preview,
            "form": form,
            "confirmation": nonce.issue(request, _NAME, preview.runs),
            "back": self._back(pipeline, status),
        }
        return TemplateResponse(request, "admin/fluxio_django/run/redrive.html", context)

    def _failed(self, request: HttpRequest, pipeline: str, status: str) -> QuerySet[Run]:
        runs = self._admin.get_queryset(request)
        return runs.filter(pipeline=pipeline, status=status).order_by("created_at", "id")

    def _preview(self, request: HttpRequest, pipeline: str, status: str) -> Preview:
        failed = self._failed(request, pipeline, status)
        oldest = list(failed[:MOST_AT_ONCE])
        found = len(oldest)
        if found == MOST_AT_ONCE:
            found = failed.order_by().only("pk")[:MOST_COUNTED].count()
        ready, left_out = self._sorted(request, oldest)
        return Preview(
            pipeline=printable(pipeline),
            status=status,
            found=found,
            runs=ready,
            left_out=left_out.most_common(),
            errors=Counter(run.error_type or _("unknown") for run in ready).most_common(10),
        )

    def _sorted(self, request: HttpRequest, runs: Sequence[Run]) -> tuple[list[Run], Counter[str]]:
        """Those that can go on, and how many cannot for which reason."""
        ready: list[Run] = []
        left_out: Counter[str] = Counter()
        refusals: dict[str, str] = {}
        for run in runs:
            if not self._admin.may(request, REQUEUE.right, run):
                left_out[_("You may not resume it.")] += 1
                continue
            # All runs of one version are alike in this: none of them is being executed.
            if run.version not in refusals:
                standing = standing_of(run, thorough=False)
                refusals[run.version] = REQUEUE.refusal(standing, False)
            if refusals[run.version]:
                left_out[refusals[run.version]] += 1
            else:
                ready.append(run)
        return ready, left_out

    def _act(self, request: HttpRequest, pipeline: str, status: str, reason: str) -> HttpResponse:
        try:
            confirmed = nonce.read(request, _NAME)
        except nonce.StaleConfirmationError:
            messages.warning(request, _("The page was too old. Look again."))
            return HttpResponseRedirect(request.get_full_path())
        keys = sorted(confirmed.tokens)[:MOST_AT_ONCE]
        deed = Deed(summary="Redrive", reason=reason, number=confirmed.number)
        done = 0
        try:
            with audit.alone_with(keys):
                failed = self._failed(request, pipeline, status).filter(pk__in=keys)
                ready, _left_out = self._sorted(request, list(failed))
                for run in ready:
                    # Whoever sends the form twice finds that each of them has moved on.
                    if confirmed.still_fits(run):
                        self._admin.log_change(request, run, deed.message(request))
                        services.requeue(run.run_id)
                        done += 1
        except FluxioError as problem:
            # The transaction is rolled back by now: none of them was requeued.
            messages.error(request, printable(str(problem.args[0] if problem.args else problem)))
            return HttpResponseRedirect(self._back(pipeline, status))
        told = ngettext("%d run was requeued.", "%d runs were requeued.", done) % done
        (messages.success if done else messages.warning)(request, told)
        return HttpResponseRedirect(self._back(pipeline, status))

    def _back(self, pipeline: str, status: str) -> str:
        return self._admin.address("run_changelist", pipeline=pipeline, status=status)
