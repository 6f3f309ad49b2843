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
from fluxio.types import RunStatus as CoreStatus
from fluxio_django import services
from fluxio_django.admin.editing import ForkForm
from fluxio_django.admin.forms import ReasonForm, StepForm
from fluxio_django.admin.measures import NOTHING, printable
from fluxio_django.admin.names import OperationName
from fluxio_django.admin.standing import Standing
from fluxio_django.admin.status import status_of
from fluxio_django.dispatch import Work
from fluxio_django.enums import RunStatus
from fluxio_django.models import Run
from fluxio_django.rights import Right
from fluxio_django.tables import Tables

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FORCE = "forced"
"""Among what a form holds: somebody's decision to go on though the code has changed."""

# Other keys could be made to look like parts of an audit entry.
_PLAIN_KEY = re.compile(r"[\w.\-]{1,60}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Work to be done, the run it is about, and what the audit trail says of it.

    `is_last` says that the run is gone afterwards.
    """

    summary: str
    run_id: str
    work: Work
    is_last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """Something that can be done with runs.

    `refusal` gives the reason why a run does not allow it, or "", also for who may force a run of
    another version; `effect` a sentence about what will happen; `begins` the recorded moment it
    begins with, given a step or None; `order` the work, given what the form holds. `many` says that
    several runs can be chosen at once, `at_once` that it is done in the transaction of its audit
    entry, and not by a worker later. What is `is_occasional` is not mentioned where it is refused.
    """

    name: OperationName
    right: Right
    title: StrOrPromise
    done: StrOrPromise
    many: bool
    form: type[ReasonForm]
    refusal: Callable[[Standing, bool], str]
    effect: Callable[[Standing], str]
    order: Callable[[Run, Mapping[str, Any]], Order]
    begins: Callable[[Run, str | None], Moment] | None = None
    at_once: bool = False
    is_occasional: bool = False


def _newest(run: Run, step: str | None) -> Moment:
    return None


def _chosen(run: Run, step: str | None) -> Moment:
    if step is not None:
        return step
    return 0 if run.status == RunStatus.SUCCEEDED else None


def _refuse_execution(standing: Standing, forced: bool) -> str:
    if standing.executing:
        return _("It is being executed by %(owner)s. Wait for it to end.") % {
            "owner": standing.run.owner
        }
    drift = standing.drift
    if drift is not None and not (forced and drift.can_be_forced):
        return drift.reason
    return ""


def _refuse_resume(standing: Standing, forced: bool) -> str:
    if standing.run.status == RunStatus.SUCCEEDED:
        return _("It has succeeded, so there is nothing to resume. Replay it instead.")
    return _refuse_execution(standing, forced)


def _resume_effect(standing: Standing) -> str:
    return _(
        "It goes on from its last checkpoint, at step %(step)s. Steps whose success is recorded "
        "are not run again."
    ) % {"step": printable(standing.run.step) or NOTHING}


def _resume_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    work = partial(services.resume, run.run_id, force=cleaned.get(FORCE))
    return Order(summary=_summary(_("Resume"), cleaned), run_id=run.run_id, work=work)


def _summary(text: str, cleaned: Mapping[str, Any]) -> str:
    forced = cleaned.get(FORCE) is not None
    return _("%s, though the code has changed") % text if forced else text


def _replay_effect(standing: Standing) -> str:
    return _(
        "It runs again under the same id, as attempt %(attempt)d. The rows of earlier attempts "
        "stay; the stages run again, with everything they do outside of this database."
    ) % {"attempt": standing.run.attempt + 1}


def _replay_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    step: str | None = cleaned.get("from_step")
    summary = _("Replay from step %s") % step if step else _("Replay")
    return Order(
        summary=_summary(summary, cleaned),
        run_id=run.run_id,
        work=partial(services.replay, run.run_id, from_step=step, force=cleaned.get(FORCE)),
    )


def _fork_effect(standing: Standing) -> str:
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
    wanted = ForkOrder(
        run_id=run.run_id,
        from_step=step,
        as_run_id=chosen,
        patch=patch,
        force=cleaned.get(FORCE),
    )
    return Order(
        summary=_summary(summary, cleaned), run_id=chosen, work=partial(services.fork, wanted)
    )


def _refuse_requeue(standing: Standing, forced: bool) -> str:
    if standing.run.status == RunStatus.SUCCEEDED:
        return _("It has succeeded, so there is nothing to go on with. Replay it instead.")
    return _refuse_execution(standing, False)


def _requeue_effect(standing: Standing) -> str:
    if standing.run.status == RunStatus.QUEUED:
        return _("It is queued already; a worker is told of it once more.")
    return _(
        "It waits in queue %(queue)s until a worker goes on with it, from its last checkpoint, at "
        "step %(step)s. Takeovers are counted afresh."
    ) % {"queue": standing.run.queue, "step": printable(standing.run.step) or NOTHING}


def _requeue_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    work = partial(services.requeue, run.run_id)
    return Order(summary=_("Requeue"), run_id=run.run_id, work=work)


def _refuse_cancel(standing: Standing, forced: bool) -> str:
    run = standing.run
    if not _is_open(run):
        return _("It has ended, so there is nothing to cancel.")
    if standing.executing and run.cancel_requested_at is not None:
        return _("Its worker was asked to stop already.")
    return ""


def _cancel_effect(standing: Standing) -> str:
    if standing.executing:
        return _(
            "Its worker is asked to stop: that happens at its next await, or before its next "
            "stage. What is recorded stays, and the run can be resumed."
        )
    return _("It ends at once, as cancelled. What is recorded stays, and the run can be resumed.")


def _cancel_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    work = partial(services.cancel, run.run_id, cleaned["reason"])
    return Order(summary=_("Cancel"), run_id=run.run_id, work=work)


def _refuse_prune(standing: Standing, forced: bool) -> str:
    if _is_open(standing.run):
        return _("It has not ended. Cancel it first.")
    return ""


def _prune_effect(standing: Standing) -> str:
    return _(
        "The run and all %(rows)d rows of its log are deleted, for good. Its forks stay, and so "
        "does the audit trail in the log of the admin."
    ) % {"rows": standing.run.head + 1}


def _prune_order(run: Run, cleaned: Mapping[str, Any]) -> Order:
    runs = Tables(services.database()).runs
    return Order(
        summary=_("Delete"), run_id=run.run_id, work=partial(runs.forget, run.run_id), is_last=True
    )


def _is_open(run: Run) -> bool:
    status = status_of(run)
    return status is not None and CoreStatus(status.value).is_open


RESUME = Operation(
    name=OperationName.RESUME,
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
    name=OperationName.REPLAY,
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
    name=OperationName.FORK,
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

REQUEUE = Operation(
    name=OperationName.REQUEUE,
    right=Right.RESUME,
    title=gettext_lazy("Requeue"),
    done=gettext_lazy("Requeued"),
    many=True,
    form=ReasonForm,
    refusal=_refuse_requeue,
    effect=_requeue_effect,
    order=_requeue_order,
    at_once=True,
    is_occasional=True,
)

CANCEL = Operation(
    name=OperationName.CANCEL,
    right=Right.CANCEL,
    title=gettext_lazy("Cancel"),
    done=gettext_lazy("Cancelled, or asked to stop:"),
    many=True,
    form=ReasonForm,
    refusal=_refuse_cancel,
    effect=_cancel_effect,
    order=_cancel_order,
    at_once=True,
    is_occasional=True,
)

PRUNE = Operation(
    name=OperationName.PRUNE,
    right=Right.PRUNE,
    title=gettext_lazy("Delete"),
    done=gettext_lazy("Deleted"),
    many=True,
    form=ReasonForm,
    refusal=_refuse_prune,
    effect=_prune_effect,
    order=_prune_order,
    at_once=True,
    is_occasional=True,
)

OPERATIONS: Mapping[OperationName, Operation] = {
    operation.name: operation for operation in (RESUME, REPLAY, FORK, REQUEUE, CANCEL, PRUNE)
}
