"""The operations on runs: what each is called, when it is refused, and the work it orders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fluxio.runtime.environment import default_environment
from fluxio.runtime.reading import Moment
from fluxio.runtime.runs import ForkOrder
from fluxio_django import services
from fluxio_django.admin.forms import ForkForm, ReasonForm, StepForm
from fluxio_django.admin.measures import NOTHING, printable
from fluxio_django.admin.standing import Standing
from fluxio_django.dispatch import Work
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run
from fluxio_django.rights import Right

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Other keys could be made to look like parts of an audit entry.
_PLAIN_KEY = re.compile(r"[\w.\-]{1,60}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Work to be handed over, the run it will execute, and what the audit trail says about it."""

    summary: str
    run_id: str
    work: Work


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Something that can be done with runs.

    `refusal` gives the reason why a run does not allow it, or ""; `effect` a
    sentence about what will happen; `begins` the recorded moment it begins with, given a step or
    None; `order` the work, given what the form holds. `many` says that several runs can be
    chosen at once.
    """

    name: str
    right: Right
    title: StrOrPromise
    done: StrOrPromise
    many: bool
    form: type[ReasonForm]
    refusal: Callable[[Standing], str]
    effect: Callable[[Run], str]
    begins: Callable[[Run, str | None], Moment]
    order: Callable[[Run, Mapping[str, Any]], Order]


def _newest(run: Run, step: str | None) -> Moment:
    return None


def _chosen(run: Run, step: str | None) -> Moment:
    if step is not None:
        return step
    return 0 if run.status == RunStatus.SUCCEEDED else None


def _refuse_execution(standing: Standing) -> str:
    if standing.executing:
        return _("It is being executed by %(owner)s. Wait for it to end.") % {
            "owner": standing.run.owner
        }
    if standing.drift is not None:
        return standing.drift.reason
    return ""


def _refuse_resume(standing: Standing) -> str:
    if standing.run.status == RunStatus.SUCCEEDED:
        return _("It has succeeded, so there is nothing to resume. Replay it instead.")
    return _refuse_execution(standing)


def _resume_effect(run: Run) -> str:
    return _(
        "It goes on from its last checkpoint, at step %(step)s. Steps whose success is recorded "
        "are not run again."
    ) % {"step": printable(run.step) or NOTHING}


def _resume_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    return Order(summary=_("Resume"), run_id=run.run_id, work=partial(services.resume, run.run_id))


def _replay_effect(run: Run) -> str:
    return _(
        "It runs again under the same id, as attempt %(attempt)d. The rows of earlier attempts "
        "stay; the stages run again, with everything they do outside of this database."
    ) % {"attempt": run.attempt + 1}


def _replay_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    step: str | None = cleaned.get("from_step")
    summary = _("Replay from step %s") % step if step else _("Replay")
    return Order(
        summary=summary,
        run_id=run.run_id,
        work=partial(services.replay, run.run_id, from_step=step),
    )


def _fork_effect(run: Run) -> str:
    return _(
        "A new run begins with the recorded state of this one and is linked to it. This run stays "
        "untouched; in the new one the stages run, with everything they do elsewhere."
    )


def _fork_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    step: str | None = cleaned["from_step"]
    patch: Mapping[str, Any] = cleaned["patch"]
    chosen: str = cleaned["as_run_id"] or default_environment().new_run_id()
    summary = _("Fork as %s") % chosen
    if step:
        summary = _("%(fork)s from step %(step)s") % {"fork": summary, "step": step}
    if patch:
        keys = (key if _PLAIN_KEY.fullmatch(key) else "…" for key in patch)
        summary = _("%(fork)s, setting %(keys)s") % {"fork": summary, "keys": ", ".join(keys)}
    wanted = ForkOrder(run_id=run.run_id, from_step=step, as_run_id=chosen, patch=patch)
    return Order(summary=summary, run_id=chosen, work=partial(services.fork, wanted))


RESUME = Operation(
    name="resume",
    right=Right.RESUME,
    title=gettext_lazy("Resume"),
    done=gettext_lazy("Resuming"),
    many=True,
    form=ReasonForm,
    refusal=_refuse_resume,
    effect=_resume_effect,
    begins=_newest,
    order=_resume_order,
)

REPLAY = Operation(
    name="replay",
    right=Right.REPLAY,
    title=gettext_lazy("Replay"),
    done=gettext_lazy("Replaying"),
    many=True,
    form=StepForm,
    refusal=_refuse_execution,
    effect=_replay_effect,
    begins=_chosen,
    order=_replay_order,
)

FORK = Operation(
    name="fork",
    right=Right.FORK,
    title=gettext_lazy("Fork"),
    done=gettext_lazy("Forking"),
    many=False,
    form=ForkForm,
    refusal=_refuse_execution,
    effect=_fork_effect,
    begins=_chosen,
    order=_fork_order,
)

OPERATIONS = (RESUME, REPLAY, FORK)
