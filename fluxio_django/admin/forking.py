"""The pages of a fork: its context edited key by key, then what that changes, then the deed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from fluxio.diff import compare
from fluxio.errors import FluxioError, ValidationError
from fluxio.program import MAIN_LANE, Call
from fluxio.runtime.reading import Moment
from fluxio.runtime.schemas import validate
from fluxio_django import services
from fluxio_django.admin.comparison import MOST_CHANGES, ShownChange, shown_changes
from fluxio_django.admin.confirmation import Candidate, ConfirmationView, step_choices
from fluxio_django.admin.desk import RunDesk
from fluxio_django.admin.editing import EditableKey, ForkForm, editable_keys
from fluxio_django.admin.forms import ReasonForm
from fluxio_django.admin.measures import printable
from fluxio_django.admin.names import OperationName
from fluxio_django.admin.operations import FORK
from fluxio_django.admin.travel import MOST_BYTES
from fluxio_django.enums import RunStatus
from fluxio_django.log import bytes_of_state
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.redaction import shown_values
from fluxio_django.rights import Right

PREVIEW, SHOW, EDIT = "_preview", "_show", "_edit"
"""What the buttons are called that lead to another look at the form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a fork would begin with, compared with what is recorded.

    Without values, `names` are the keys that are set. `stays` counts the keys that are left alone.
    """

    run_id: str
    start: str
    changes: Sequence[ShownChange] = ()
    names: Sequence[str] = ()
    truncated: bool = False
    stays: int = 0


class ForkView(ConfirmationView):
    """Asks what the fork begins with on GET, shows what that changes, and forks on POST."""

    template = "admin/fluxio_django/run/fork.html"

    def __init__(self, model_admin: RunDesk) -> None:
        super().__init__(model_admin, OperationName.FORK)

    def _sent(self, request: HttpRequest, candidates: Sequence[Candidate]) -> HttpResponse:
        if SHOW in request.POST or EDIT in request.POST:
            return self._page(request, candidates, self._once_more(request, candidates[0]))
        if PREVIEW not in request.POST:
            return super()._sent(request, candidates)
        form = self._form(request, candidates, data=request.POST)
        if candidates[0].refusal or not self._is_sound(candidates, form):
            return self._page(request, candidates, form)
        try:
            preview = self._preview(request, candidates[0], form)
        except (FluxioError, KeyError, ValueError) as problem:
            form.add_error(None, _reason(problem))
            return self._page(request, candidates, form)
        return self._page(request, candidates, form, preview=preview)

    # --- the form

    def _form(
        self, request: HttpRequest, candidates: Sequence[Candidate], data: Any = None
    ) -> ReasonForm:
        shown = request.GET.get("from_step", "")
        if data is not None:
            shown = data.get("shown_from", shown)
        return self._made(request, candidates[0], shown, data, {"from_step": shown})

    def _made(
        self,
        request: HttpRequest,
        only: Candidate,
        shown: str,
        data: Any,
        initial: Mapping[str, Any],
    ) -> ForkForm:
        return ForkForm(
            data,
            initial=dict(initial),
            steps=step_choices(only.standing),
            drifted=only.is_forced,
            keys=self._keys(request, only, shown),
            shown=shown,
        )

    def _once_more(self, request: HttpRequest, only: Candidate) -> ForkForm:
        """The form as it was sent; for another step, with that step's context.

        What was written over a value stays; what was as it is recorded becomes so again.
        """
        before = request.POST.get("shown_from", "")
        shown = request.POST.get("from_step", "") if SHOW in request.POST else before
        initial = {name: request.POST[name] for name in request.POST if name != "shown_from"}
        for key in self._keys(request, only, before):
            if initial.get(key.name, "").replace("\r\n", "\n") == key.text:
                del initial[key.name]
        form = self._made(request, only, shown, None, initial)
        for key, field in form.key_fields:
            if field is not None and key.name in initial:
                field.field.initial = initial[key.name]
        return form

    def _keys(self, request: HttpRequest, only: Candidate, step: str) -> list[EditableKey]:
        """The keys of the context at a step, for those who may see values."""
        if only.refusal or not self._with_values(request, only):
            return []
        if bytes_of_state(only.run) > MOST_BYTES:
            return []
        try:
            return editable_keys(self._state(only, step or None))
        except (FluxioError, KeyError, ValueError):
            return []

    def _with_values(self, request: HttpRequest, only: Candidate) -> bool:
        # What other code recorded is read by that code's steps, which are not at hand.
        return not only.is_forced and self._admin.may(request, Right.VALUES, only.run)

    def _is_sound(self, candidates: Sequence[Candidate], form: ReasonForm) -> bool:
        if not form.is_valid():
            return False
        misfit = _misfit(candidates[0], form.cleaned_data)
        if misfit:
            form.add_error(None, misfit)
        return not misfit

    # --- the preview

    def _preview(self, request: HttpRequest, only: Candidate, form: ReasonForm) -> Preview:
        cleaned = form.cleaned_data
        step: str | None = cleaned["from_step"]
        patch: Mapping[str, Any] = cleaned["patch"]
        start = dict(step_choices(only.standing))[step or ""]
        run_id = cleaned["as_run_id"] or ""
        if not self._with_values(request, only):
            names = [printable(key[:200]) for key in patch]
            return Preview(run_id=run_id, start=start, names=names)
        before = dict(self._state(only, step))
        changes = compare(before, {**before, **shown_values(patch)}).paths(limit=MOST_CHANGES)
        return Preview(
            run_id=run_id,
            start=start,
            changes=shown_changes(changes),
            truncated=changes.truncated,
            stays=len(before.keys() - patch.keys()),
        )

    def _state(self, only: Candidate, step: str | None) -> Mapping[str, Any]:
        return services.state(only.run.run_id, _moment(only, step))


def _moment(only: Candidate, step: str | None) -> Moment:
    assert FORK.begins is not None
    return FORK.begins(only.run, step)


def _misfit(only: Candidate, cleaned: Mapping[str, Any]) -> str:
    """Why the first step would not take the context, or ""; its schema decides."""
    pipeline = only.standing.pipeline
    if pipeline is None:
        return ""
    step: str | None = cleaned["from_step"]
    call = _first_call(pipeline, only, step)
    # The context of a branch is not the one that is edited.
    if call is None or call.lane != MAIN_LANE or call.stage.input_schema is None:
        return ""
    try:
        state = pipeline.state_sync(only.run.run_id, _moment(only, step))
        validate(call.stage, call.stage.input_schema, state.update(cleaned["patch"]), "input")
    except ValidationError as problem:
        return _reason(problem)
    except (FluxioError, KeyError, ValueError):
        # Whatever else is wrong is found, and named, where the fork is made.
        return ""
    return ""


def _first_call(pipeline: DjangoPipeline, only: Candidate, step: str | None) -> Call | None:
    program = pipeline.compiled
    if step is None and only.run.status == RunStatus.SUCCEEDED:
        first = program.instructions[0]
        return first if isinstance(first, Call) else None
    try:
        return program.call(step or only.run.step)
    except KeyError:
        return None


def _reason(problem: Exception) -> str:
    return printable(str(problem.args[0] if problem.args else problem))
