"""Whether a run has moved on: what an open page asks now and then, to know when to look again."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils.crypto import salted_hmac

from fluxio.types import RunStatus as CoreStatus
from fluxio_django.admin.asked import keys_in
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.status import badge_of, status_of
from fluxio_django.models import Run

SECONDS = 2.0
"""How often an open page asks."""

_SALT = "fluxio_django.admin.pulse"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse:
    """Where a page asks how its run stands, how often, and what the answer was so far."""

    address: str
    mark: str
    seconds: float


def pulse_of(model_admin: RunDesk, run: Run) -> Pulse | None:
    """The pulse of a run that may still move by itself; None for one that has ended."""
    status = status_of(run)
    if status is None or not CoreStatus(status.value).is_open:
        return None
    address = model_admin.address("run_pulse", run=run.pk)
    return Pulse(address=address, mark=mark_of(run), seconds=SECONDS)


class PulseView:
    """Answers with a mark that changes whenever the page of the run would."""

    def __init__(self, model_admin: RunDesk) -> None:
        self._admin = model_admin

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff.

        Raises:
            PermissionDenied: the user may see no runs, or not this one.
            Http404: the run is unknown, or not for this user.
        """
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self._admin.has_view_permission(request):
            raise PermissionDenied
        (run,) = self._admin.visible(request, keys_in(request, most=1))
        if not self._admin.has_view_permission(request, run):
            raise PermissionDenied
        answer = JsonResponse({"mark": mark_of(run)})
        answer["X-Content-Type-Options"] = "nosniff"
        return answer


def mark_of(run: Run) -> str:
    """A short text that tells nothing but whether two looks at a run were the same."""
    facts = [
        badge_of(run).text,
        run.head,
        run.attempt,
        run.token,
        run.step,
        run.updated_at,
        run.progress_done,
        run.progress_at,
        run.cancel_requested_at,
        run.held_back,
    ]
    return salted_hmac(_SALT, "\n".join(map(str, facts)), algorithm="sha256").hexdigest()[:16]
