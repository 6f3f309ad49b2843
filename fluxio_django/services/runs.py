"""One run: found, started, carried on, replayed, forked, cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import QuerySet

from fluxio.context import FinalContext
from fluxio.errors import FluxioError, NoCheckpointError
from fluxio.passages import Force
from fluxio.runtime.owner import is_provably_dead
from fluxio.runtime.reading import checked_run_id
from fluxio.runtime.runs import ForkOrder, Watchers
from fluxio.types import OnConflict, RunStatus
from fluxio_django.conf import settings
from fluxio_django.faults import RACES, changed_too_often, surely
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.records import SeenRun, next_token
from fluxio_django.registry import pipelines
from fluxio_django.rights import Right
from fluxio_django.signals import send_ended
from fluxio_django.subjects import about
from fluxio_django.tables import Tables

OPEN_STATUSES = tuple(status.value for status in RunStatus if status.is_open)
"""The statuses of runs that have not ended."""

_SUGGESTED = 5


class RunEndedError(FluxioError):
    """What was asked for makes no sense, since the run has ended."""

    run_id: str
    status: RunStatus


class UnknownRunError(NoCheckpointError):
    """No run with this id is in the database."""


def find_run(run_id: str) -> Run:
    """The row of a run.

    Raises:
        UnknownRunError: there is none; the message lists the newest ids.
        InvalidRunIDError: it cannot be an id at all.
    """
    run = Run.objects.using(database()).filter(run_id=checked_run_id(run_id)).first()
    if run is not None:
        return run
    newest = Run.objects.using(database()).values_list("run_id", flat=True)[:_SUGGESTED]
    listed = ", ".join(newest) or "none; start one with fluxio_run"
    raise UnknownRunError(f"No run {run_id!r} is recorded. Newest runs: {listed}.", run_id=run_id)


def pipeline_of(run: Run) -> DjangoPipeline:
    """The registered pipeline that a run belongs to.

    Raises:
        UnknownPipelineError: it is registered no more.
    """
    return pipelines[run.pipeline]


def runs_about(subject: models.Model) -> QuerySet[Run]:
    """The runs that were linked to a model instance, newest first."""
    tables = Tables(database())
    return Run.objects.using(tables.alias).filter(**about(tables, subject))


def start(
    name: str,
    initial: Mapping[str, Any],
    *,
    run_id: str | None = None,
    on_conflict: OnConflict = OnConflict.REJECT,
    watch: Watchers | None = None,
    subject: models.Model | None = None,
    requested_by: models.Model | None = None,
) -> FinalContext:
    """Run a registered pipeline in this process, to its end; see `DjangoPipeline.invoke`."""
    return pipelines[name].invoke_sync(
        initial,
        run_id=run_id,
        on_conflict=on_conflict,
        watch=watch,
        subject=subject,
        requested_by=requested_by,
    )


def resume(
    run_id: str, *, watch: Watchers | None = None, force: Force | None = None
) -> FinalContext:
    """Go on with a run from its last checkpoint, in this process.

    `force` lets it go on though other code recorded it; see `forced_by`.
    """
    return pipeline_of(find_run(run_id)).resume_sync(run_id, watch=watch, force=force)


def forced_by(user: Any, reason: str, origin: str = "") -> Force:
    """A user's decision that a run goes on whatever version recorded it; kept in the run's log.

    `origin` is from where it was made, an address for instance.

    Raises:
        PermissionDenied: the user lacks the right `force_version`.
    """
    if not user.has_perm(Right.FORCE.permission):
        raise PermissionDenied(f"It takes the permission {Right.FORCE.permission}.")
    name = str(user.get_username())
    return Force(by=f"{name} from {origin}" if origin else name, reason=reason)


def replay(
    run_id: str,
    *,
    from_step: str | None = None,
    watch: Watchers | None = None,
    force: Force | None = None,
) -> FinalContext:
    """Run again under the same id as a new attempt, in this process; `force` as for `resume`."""
    return pipeline_of(find_run(run_id)).replay_sync(
        run_id, from_step=from_step, watch=watch, force=force
    )


def fork(order: ForkOrder, *, watch: Watchers | None = None) -> FinalContext:
    """Run a copy of a run under a new id, in this process."""
    return pipeline_of(find_run(order.run_id)).fork_sync(
        order.run_id,
        from_step=order.from_step,
        as_run_id=order.as_run_id,
        patch=order.patch,
        watch=watch,
        force=order.force,
    )


def cancel(run_id: str, reason: str = "") -> RunStatus:
    """End a run: at once where nobody executes it, else at its next await or stage boundary.

    Returns the status it has now: CANCELLED, or RUNNING when its worker was asked to stop. What was
    recorded stays; a cancelled run can be resumed.

    Raises:
        UnknownRunError: there is none.
        RunEndedError: it has ended already.
    """
    run, tables = find_run(run_id), Tables(database())
    status = surely(tables.alias, _Cancellation(tables, run_id, reason))
    if status is RunStatus.CANCELLED:
        tell = partial(send_ended, run_id, run.pipeline, status)
        transaction.on_commit(tell, using=tables.alias)
    return status


class _Cancellation:
    """One wish to end a run; call it until it gives the status that the run has now."""

    def __init__(self, tables: Tables, run_id: str, reason: str) -> None:
        self._tables = tables
        self._run_id = run_id
        self._reason = reason
        # What our last try would leave behind; its answer may have been lost.
        self._token: int | None = None

    def __call__(self) -> RunStatus:
        for _ in range(RACES):
            seen = seen_run(self._tables, self._run_id)
            if seen.record.token == self._token:
                return RunStatus.CANCELLED
            if not seen.record.status.is_open:
                raise RunEndedError(
                    f"Run {self._run_id!r} is {seen.record.status} already; there is nothing to "
                    "cancel.",
                    run_id=self._run_id,
                    status=seen.record.status,
                )
            status = self._try(seen)
            if status is not None:
                return status
        raise changed_too_often(self._run_id, "cancelled")

    def _try(self, seen: SeenRun) -> RunStatus | None:
        runs = self._tables.runs
        dead = seen.held and is_provably_dead(seen.record.owner or "")
        if seen.held and not dead:
            asked = runs.ask_to_cancel(self._run_id, self._reason)
            return RunStatus.RUNNING if asked else None
        self._token = next_token(seen)
        ended = runs.cancel(seen, self._reason, self._token, owner_is_dead=dead)
        return RunStatus.CANCELLED if ended else None


def seen_run(tables: Tables, run_id: str) -> SeenRun:
    """A run as it stands; an UnknownRunError where it has gone meanwhile."""
    seen = tables.runs.seen(run_id)
    if seen is None:
        raise UnknownRunError(f"Run {run_id!r} is recorded no more.", run_id=run_id)
    return seen


def database() -> str:
    """The alias of the database in which the app keeps its runs."""
    return settings().database
