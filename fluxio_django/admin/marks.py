"""How far a run came through its pipeline: what each step's newest row says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from fluxio_django import services
from fluxio_django.admin.standing import Standing
from fluxio_django.enums import RowKind, RunStatus
from fluxio_django.models import Checkpoint

_MOST_ROWS = 2_000


class StepState(Enum):
    """What became of a step: the name of a class in the style sheet, a sign, and words."""

    DONE = "done", "✓", _("done")
    FAILED = "failed", "✕", _("failed")
    CURRENT = "current", "▸", _("under way")
    DUE = "due", "▸", _("due")
    OPEN = "open", "", _("not run")

    def __init__(self, tone: str, sign: str, label: Promise) -> None:
        self.tone = tone
        self.sign = sign
        self.label = label

    @property
    def is_reached(self) -> bool:
        """Whether the run came to the step."""
        return self is not StepState.OPEN


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """The state of a step, and the primary key of the row that says so, if one does."""

    state: StepState
    row: int | None = None


NO_MARK = Mark(state=StepState.OPEN)


def marks_of(standing: Standing) -> Mapping[str, Mark]:
    """The marks of the steps that a run came to, by step key; one query.

    The newest attempt counts; of earlier ones, what lies before the step with which it began.
    """
    run = standing.run
    found = Checkpoint.objects.using(services.database()).filter(run=run.pk).order_by("-sequence")
    rows = list(found.values_list("step", "kind", "attempt", "pk")[:_MOST_ROWS])
    marks: dict[str, Mark] = {}
    earlier: dict[str, Mark] = {}
    for step, kind, attempt, key in rows:
        if not step:
            continue
        state = StepState.FAILED if kind == RowKind.ERROR else StepState.DONE
        (marks if attempt == run.attempt else earlier).setdefault(step, Mark(state=state, row=key))
    if run.step and run.status not in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.DEAD):
        state = StepState.CURRENT if standing.executing else StepState.DUE
        marks.setdefault(run.step, Mark(state=state))
    before = _before_the_first(standing, marks)
    return {**{key: mark for key, mark in earlier.items() if key in before}, **marks}


def _before_the_first(standing: Standing, marks: Mapping[str, Mark]) -> set[str]:
    """The steps that the program has before the first one of the newest attempt."""
    if standing.same_code is None:
        return set()
    before: set[str] = set()
    for call in standing.same_code.compiled.calls:
        if call.key in marks:
            return before
        before.add(call.key)
    return set()
