"""The page on which a queue is paused or resumed, with a reason that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio.errors import ConfigurationError
from fluxio_django import services
from fluxio_django.admin import audit, nonce
from fluxio_django.admin.desk import QueueDesk
from fluxio_django.admin.forms import ReasonForm
from fluxio_django.admin.measures import printable
from fluxio_django.deeds import Deed
from fluxio_django.models import Queue


@dataclass(frozen=True, kw_only=True, slots=True)
class Switch:
    """What can be done to a queue."""

    name: str
    title: Any
    effect: Any
    done: Any
    act: Callable[[str, str], None]


def _resume(name: str, reason: str) -> None:
    # Once in the transaction, so that it is undone with the entry for the trail; and once after it,
    # for a worker that is told of a run earlier than that finds the queue still paused.
    services.resume_queue(name)
    transaction.on_commit(partial(services.resume_queue, name), using=services.database())


PAUSE = Switch(
    name="pause",
    title=gettext_lazy("Pause"),
    effect=gettext_lazy(
        "No worker claims runs of this queue any more. What is being executed goes on, and runs "
        "can still be enqueued."
    ),
    done=gettext_lazy("Paused queue %s."),
    act=services.pause_queue,
)
RESUME = Switch(
    name="resume",
    title=gettext_lazy("Resume"),
    effect=gettext_lazy("Workers claim runs of this queue again, those that wait first."),
    done=gettext_lazy("Resumed queue %s."),
    act=_resume,
)
SWITCHES = {switch.name: switch for switch in (PAUSE, RESUME)}


class SwitchView:
    """Asks for confirmation on GET, and switches a queue on POST."""

    def __init__(self, model_admin: QueueDesk, name: str) -> None:
        self._admin = model_admin
        self._switch = SWITCHES[name]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; Django's admin has checked that the user is staff, and CSRF.

        Raises:
            PermissionDenied: the user may not change queues.
            Http404: there is no such queue.
        """
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not self._admin.has_switch_permission(request):
            raise PermissionDenied
        name = request.GET.get("queue", "")
        if name not in {state.name for state in services.queues()}:
            raise Http404
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            return self._act(request, name, form.cleaned_data["reason"])
        context = {
            **self._admin.admin_site.each_context(request),
            "title": _("%(operation)s queue %(queue)s")
            % {"operation": self._switch.title, "queue": printable(name)},
            "opts": self._admin.opts,
            "original": printable(name),
            "has_view_permission": True,
            "media": self._admin.media,
            "switch": self._switch,
            "form": form,
            "confirmation": nonce.issue(request, self._purpose(name), ()),
            "back": self._admin.address("queue_changelist"),
        }
        return TemplateResponse(request, "admin/fluxio_django/queue/confirm.html", context)

    def _act(self, request: HttpRequest, name: str, reason: str) -> HttpResponse:
        back = HttpResponseRedirect(self._admin.address("queue_changelist"))
        try:
            confirmed = nonce.read(request, self._purpose(name))
            with _alone_with(name) as queue:
                if audit.is_used(request, confirmed.number, queue):
                    messages.warning(request, _("This was confirmed already, once."))
                    return back
                with audit.in_one_language():
                    summary = str(self._switch.title)
                deed = Deed(summary=summary, reason=reason, number=confirmed.number)
                self._admin.log_change(request, queue, deed.message(request))
                self._switch.act(name, reason)
        except nonce.StaleConfirmationError:
            messages.warning(request, _("The page was too old. Look again."))
        except ConfigurationError as problem:
            messages.warning(request, printable(str(problem)))
        else:
            messages.success(request, self._switch.done % printable(name))
        return back

    def _purpose(self, name: str) -> str:
        return f"{self._switch.name}-queue:{name}"


@contextmanager
def _alone_with(name: str) -> Iterator[Queue]:
    """A transaction with the row of a queue, which is made where there is none yet."""
    queues = Queue.objects.using(services.database())
    with audit.together():
        queues.bulk_create([Queue(name=name)], ignore_conflicts=True)
        yield queues.select_for_update().get(name=name)
