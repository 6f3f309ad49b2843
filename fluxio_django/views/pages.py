"""Pages that people start a run on: a form, then how it goes, then what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from secrets import token_hex
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import FormView

from fluxio.errors import EncodingError, InvalidRunIDError, RunIDInUseError
from fluxio.runtime.reading import checked_run_id
from fluxio.types import OnConflict, RunStatus
from fluxio_django import services
from fluxio_django.handles import RunHandle
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.queueing import Wish
from fluxio_django.registry import pipelines
from fluxio_django.tables import Tables
from fluxio_django.values import short
from fluxio_django.views.access import known_to
from fluxio_django.views.problems import Problem
from fluxio_django.views.representation import rows_after
from fluxio_django.views.throttle import count_start

KEY = "fluxio_key"
"""The field by which a form that is sent twice is recognised."""
FRAGMENT = "X-Fluxio-Fragment"
"""Asks for the changing part of a page only."""
ENDED = "X-Fluxio-Ended"
"""Says that there is more to see than a fragment shows."""

_SESSION = "fluxio_runs"
_MOST_REMEMBERED = 50
_STARTED = "fluxio:started:"
_SECONDS_BETWEEN_CLICKS = 3600
_KEY = re.compile(r"[0-9a-f]{32}")


if TYPE_CHECKING:
    _FormView = FormView[forms.Form]
else:
    _FormView = FormView


@method_decorator(never_cache, name="dispatch")
class PipelineFormView(_FormView):
    """A form that starts a run of a pipeline, and the pages of the run, all under one address.

    The run is enqueued with the user who asked for it. Its pages are shown to whoever started it,
    also when nobody is signed in, as long as the session lasts; and to those to whom
    FLUXIO["VISIBLE_TO"] shows the run. Whoever would start a run that somebody else has started
    is refused, unless it is shown to him. Everything works without JavaScript, by reloading.

    Attributes:
        pipeline: the name of a registered pipeline.
        form_class: what people fill in.
        shows: keys of the final context that the result page shows, each masked where it has to be.
        refresh_seconds: how often the page of a run looks for news.
        base_template: what the pages extend; it has the blocks `title`, `head` and `main`.
        template_name, run_template_name, fragment_template_name: the form's page, the run's page,
            and the part of the latter that changes.

    Raises:
        ImproperlyConfigured: the pipeline is missing.
        UnknownPipelineError: it is not registered.
    """

    pipeline: ClassVar[str] = ""
    shows: ClassVar[Sequence[str]] = ()
    refresh_seconds: ClassVar[int] = 2
    base_template: ClassVar[str] = "fluxio_django/page.html"
    template_name = "fluxio_django/run_form.html"
    run_template_name: ClassVar[str] = "fluxio_django/run.html"
    fragment_template_name: ClassVar[str] = "fluxio_django/includes/run.html"

    # --- what a project says

    def initial_context(self, form: forms.Form) -> Mapping[str, Any]:
        """The first values of the run; what the form has cleaned, unless overridden."""
        return form.cleaned_data

    def get_run_id(self, form: forms.Form) -> str | None:
        """The id of the run; one that nobody can guess where None."""
        return None

    def get_subject(self, form: forms.Form) -> models.Model | None:
        """A saved instance that the run is about."""
        return None

    # --- requests

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The form; or the run that the address names."""
        if "run" not in request.GET:
            return super().get(request, *args, **kwargs)
        return self._run_page(self.find_run(request.GET["run"]))

    def form_valid(self, form: forms.Form) -> HttpResponse:
        """Start a run and go to its page."""
        try:
            count_start(self._who)
            handle = self._start(form)
        except Problem as problem:
            form.add_error(None, problem.detail)
            return self._refused(form, problem.status, problem.headers)
        except EncodingError as problem:
            raise ImproperlyConfigured(
                f"What {type(self).__name__} starts its run with cannot be stored: {problem} "
                "Override initial_context; a file is saved first, and passed by its name."
            ) from problem
        except RunIDInUseError:
            return self._taken(form)
        if handle.is_new or self._has_started(handle.run_id):
            self._remember(handle.run_id)
        elif not self._is_shown(handle.run_id):
            return self._taken(form)
        return HttpResponseRedirect(f"{self.request.path}?run={handle.run_id}")

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        """The form with what is wrong with it."""
        return self._refused(form, HTTPStatus.UNPROCESSABLE_ENTITY)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the form's page shows."""
        sent = self.request.POST.get(KEY, "")
        key = sent if _KEY.fullmatch(sent) else token_hex(16)
        more = {"base_template": self.base_template, "key_field": KEY, "key": key}
        return super().get_context_data(**{**more, **kwargs})

    # --- the run

    def find_run(self, run_id: str) -> Run:
        """A run of this pipeline that is shown to whoever asks.

        Raises:
            Http404: there is none.
        """
        try:
            runs = Tables().runs.filter(pipeline=self.pipeline, run_id=checked_run_id(run_id))
        except InvalidRunIDError:
            raise Http404 from None
        user = getattr(self.request, "user", None)
        if run_id not in self._remembered():
            if user is None or not user.is_authenticated:
                raise Http404
            runs = runs.filter(pk__in=known_to(user).values("pk"))
        found: Run | None = runs.first()
        if found is None:
            raise Http404
        return found

    def run_context(self, run: Run) -> dict[str, Any]:
        """What the page of a run, and its changing part, show."""
        status = RunStatus(run.status)
        values = services.state(run.run_id) if status is RunStatus.SUCCEEDED and self.shows else {}
        shown = {key: short(values[key]) for key in self.shows if key in values}
        return {
            "base_template": self.base_template,
            "fragment_template": self.fragment_template_name,
            "view": self,
            "run": run,
            "is_open": status.is_open,
            "succeeded": status is RunStatus.SUCCEEDED,
            "progress": services.progress(run),
            "steps": [row for row in rows_after(run, -1) if row["step"]],
            "result": shown,
            "address": f"{self.request.path}?run={run.run_id}",
        }

    def _run_page(self, run: Run) -> HttpResponse:
        context = self.run_context(run)
        fragment = FRAGMENT in self.request.headers
        template = self.fragment_template_name if fragment else self.run_template_name
        response = self.response_class(request=self.request, template=[template], context=context)
        if fragment and not context["is_open"]:
            response.headers[ENDED] = "1"
        return response

    def _start(self, form: forms.Form) -> RunHandle:
        pipeline: DjangoPipeline = pipelines[self._named()]
        wish = Wish(
            on_conflict=OnConflict.RETURN,
            subject=self.get_subject(form),
            requested_by=self._user,
        )
        key = self._run_id_of_key()
        run_id = self.get_run_id(form) or key
        handle = pipeline.enqueue_as(self.initial_context(form), run_id, wish)
        if handle.is_new and key not in (None, handle.run_id):
            note = partial(cache.set, f"{_STARTED}{key}", handle.run_id, _SECONDS_BETWEEN_CLICKS)
            transaction.on_commit(note, using=services.database())
        return handle

    def _has_started(self, run_id: str) -> bool:
        """Whether this visitor has made the run: in this session, or by sending this form before.

        The second of two clicks may come before there is a session.
        """
        key = self._run_id_of_key()
        by_key = () if key is None else (key, cache.get(f"{_STARTED}{key}"))
        return run_id in (*self._remembered(), *by_key)

    def _is_shown(self, run_id: str) -> bool:
        try:
            self.find_run(run_id)
        except Http404:
            return False
        return True

    def _run_id_of_key(self) -> str | None:
        """The same id for a form that is sent twice; other people's keys lead elsewhere."""
        key = self.request.POST.get(KEY, "")
        if _KEY.fullmatch(key) is None:
            return None
        parts = f"{self._who}\n{self.pipeline}\n{key}"
        return salted_hmac("fluxio_django.views.pages", parts, algorithm="sha256").hexdigest()[:40]

    def _named(self) -> str:
        if not self.pipeline:
            raise ImproperlyConfigured(
                f"{type(self).__name__} starts no pipeline. Set its attribute `pipeline` to the "
                "name of one; fluxio_list shows all."
            )
        return self.pipeline

    @property
    def _user(self) -> Any:
        user = getattr(self.request, "user", None)
        return user if user is not None and user.is_authenticated else None

    @property
    def _who(self) -> str:
        if self._user is not None:
            return str(self._user.pk)
        return f"at {self.request.META.get('REMOTE_ADDR', '')}"

    def _remember(self, run_id: str) -> None:
        session: Any = getattr(self.request, "session", None)
        if session is not None:
            others = [each for each in self._remembered() if each != run_id]
            session[_SESSION] = [*others, run_id][-_MOST_REMEMBERED:]

    def _remembered(self) -> list[str]:
        session: Any = getattr(self.request, "session", None)
        return [] if session is None else list(session.get(_SESSION, ()))

    def _taken(self, form: forms.Form) -> HttpResponse:
        form.add_error(
            None, "There is such a run already. Only those who started it can follow it."
        )
        return self._refused(form, HTTPStatus.CONFLICT)

    def _refused(
        self, form: forms.Form, status: HTTPStatus, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        response = self.render_to_response(self.get_context_data(form=form), status=status)
        for name, value in (headers or {}).items():
            response.headers[name] = value
        return response
