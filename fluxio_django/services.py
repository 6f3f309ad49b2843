"""The use cases behind commands, admin and views: one call each, all sync.

What is read here is for showing: what FLUXIO["REDACT"] hides comes wrapped in a `Secret`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import QuerySet

from fluxio.context import Context, FinalContext
from fluxio.diff import Diff, compare
from fluxio.errors import FluxioError, NoCheckpointError
from fluxio.passages import Force
from fluxio.runtime.history import HistoryEntry, Log, read_all, read_newest
from fluxio.runtime.owner import is_provably_dead
from fluxio.runtime.reading import Moment, checked_run_id
from fluxio.runtime.runs import ForkOrder, Watchers
from fluxio.store.admission import run_in_use
from fluxio.store.base import Journal, Row
from fluxio.store.lone import open_journal
from fluxio.store.payload import ErrorBody
from fluxio.types import OnConflict, RunStatus
from fluxio_django import compatibility, forgetting, queueing, recovery, retention
from fluxio_django.compatibility import Finding
from fluxio_django.conf import default_store, settings
from fluxio_django.dispatch import Work, deliver_after_commit, work_after_commit
from fluxio_django.faults import surely
from fluxio_django.forgetting import Forgetting, Forgot, Target, Trace
from fluxio_django.handles import RunHandle
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.progress import Progress, progress_of
from fluxio_django.queueing import Wish
from fluxio_django.queues import QueueState, Ticket
from fluxio_django.records import SeenRun, storable
from fluxio_django.redaction import shown_text, shown_values
from fluxio_django.registry import pipelines
from fluxio_django.retention import Due, Pruned
from fluxio_django.rights import Right
from fluxio_django.signals import send_ended
from fluxio_django.subjects import about
from fluxio_django.tables import Tables

OPEN_STATUSES = tuple(status.value for status in RunStatus if status.is_open)
"""The statuses of runs that have not ended."""

_SUGGESTED = 5
_NO_WISH = Wish()


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


def examine(
    statuses: Collection[str] = OPEN_STATUSES, pipeline: str | None = None
) -> Iterator[Finding]:
    """What the code at hand would do with each run in these statuses; nothing is changed."""
    return compatibility.examine(Tables(database()), statuses, pipeline)


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


def runs_about(subject: models.Model) -> QuerySet[Run]:
    """The runs that were linked to a model instance, newest first."""
    tables = Tables(database())
    return Run.objects.using(tables.alias).filter(**about(tables, subject))


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


def diff(a: str, b: str, *, at_a: Moment = None, at_b: Moment = None) -> Diff:
    """Compare two runs, of whatever pipelines, at recorded moments."""
    return compare(dict(state(a, at_a)), dict(state(b, at_b)))


def history(run_id: str) -> list[HistoryEntry]:
    """Every row of a run, decoded; needs no registered pipeline."""
    find_run(run_id)
    entries = Log.open(run_id, _rows(run_id)).entries()
    return [
        replace(entry, writes=shown_values(entry.writes), error=shown_error(entry.error))
        for entry in entries
    ]


def shown_error(error: ErrorBody | None) -> ErrorBody | None:
    """A failure as people may see it."""
    if error is None:
        return None
    return replace(error, message=shown_text(error.message), traceback=shown_text(error.traceback))


def state(run_id: str, at: Moment = None) -> Context:
    """The context of a run after a row, before a step, or at its newest moment.

    Only a moment that is named by a step needs the registered pipeline.
    """
    run = find_run(run_id)
    if isinstance(at, str):
        return Context.create(shown_values(pipeline_of(run).shown_sync(run_id, at)))
    if at is not None and not 0 <= at <= run.head:
        raise NoCheckpointError(
            f"Run {run_id!r} has rows 0 to {run.head}; there is no row {at}.", run_id=run_id
        )
    rows: list[Row] = async_to_sync(read_newest)(_journal(), run_id, upto=at)
    return Context.create(shown_values(Log.open(run_id, rows).values()))


def provenance(run_id: str, at: int | None = None) -> dict[str, int]:
    """For each key of a run's context, after a row or now, the row that set it last."""
    return Log.open(run_id, _rows(run_id, upto=at)).provenance()


def progress(run: Run) -> Progress | None:
    """How far the step that a run is at says it is; None where it says nothing.

    It is what the row held when `run` was read: read it again for news.
    """
    return progress_of(run)


def is_interrupted(run: Run) -> bool:
    """Whether a run counts as running though its worker is gone: it can be resumed."""
    return run.pk in interrupted([run])


def interrupted(runs: Iterable[Run]) -> set[int]:
    """The primary keys of those runs that are interrupted; one query at most."""
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    left = {run.pk for run in running if not run.owner or is_provably_dead(run.owner)}
    unsure = [run.pk for run in running if run.pk not in left]
    if unsure:
        lapsed = Run.objects.using(database()).lapsed().filter(pk__in=unsure)
        left.update(lapsed.values_list("pk", flat=True))
    return left


def launch(work: Work, *, run_id: str) -> None:
    """Have work done in this process once the surrounding transaction is durable."""
    work_after_commit(work, run_id, using=database())


def enqueue(
    name: str, initial: Mapping[str, Any], *, run_id: str | None = None, wish: Wish = _NO_WISH
) -> RunHandle:
    """Write a queued run of a registered pipeline; a worker gets it after the commit.

    Raises:
        UnknownPipelineError: there is no such pipeline.
        FluxioError: see `DjangoPipeline.enqueue`.
    """
    return pipelines[name].enqueue_as(initial, run_id, wish)


def requeue(run_id: str) -> RunHandle:
    """Have a worker go on with a run from its last checkpoint; a queued one is dispatched again.

    A run that was given up gets as many takeovers as a new one.

    Raises:
        UnknownRunError: there is none.
        RunIDInUseError: it is being executed.
        RunEndedError: it has succeeded; it can be replayed.
    """
    find_run(run_id)
    tables = Tables(database())
    tickets = surely(tables.alias, partial(_requeue, tables, run_id))
    return RunHandle(run_id, tables, deliver_after_commit(tickets, using=tables.alias))


def cancel(run_id: str, reason: str = "") -> RunStatus:
    """End a run: at once where nobody executes it, else at its next await or stage boundary.

    Returns the status it has now: CANCELLED, or RUNNING when its worker was asked to stop. What was
    recorded stays; a cancelled run can be resumed.

    Raises:
        UnknownRunError: there is none.
        RunEndedError: it has ended already.
    """
    run, tables = find_run(run_id), Tables(database())
    status = surely(tables.alias, partial(_cancel, tables, run_id, reason))
    if status is RunStatus.CANCELLED:
        tell = partial(send_ended, run_id, run.pipeline, status)
        transaction.on_commit(tell, using=tables.alias)
    return status


def _requeue(tables: Tables, run_id: str) -> list[Ticket]:
    while True:
        seen = _seen(tables, run_id)
        if seen.held and not is_provably_dead(seen.record.owner or ""):
            raise run_in_use(seen.record)
        if seen.record.status is RunStatus.SUCCEEDED:
            raise RunEndedError(
                f"Run {run_id!r} has succeeded, so there is nothing to go on with. Replay it.",
                run_id=run_id,
                status=seen.record.status,
            )
        tickets = queueing.requeue(tables, seen)
        if tickets is not None:
            return tickets


def _cancel(tables: Tables, run_id: str, reason: str) -> RunStatus:
    why = f"Cancelled: {reason}" if reason else "Cancelled."
    while True:
        seen = _seen(tables, run_id)
        if not seen.record.status.is_open:
            raise RunEndedError(
                f"Run {run_id!r} is {seen.record.status} already; there is nothing to cancel.",
                run_id=run_id,
                status=seen.record.status,
            )
        dead = seen.held and is_provably_dead(seen.record.owner or "")
        if seen.held and not dead:
            if tables.runs.ask_to_cancel(run_id, reason):
                return RunStatus.RUNNING
        elif tables.runs.cancel(seen, why, owner_is_dead=dead):
            return RunStatus.CANCELLED


def _seen(tables: Tables, run_id: str) -> SeenRun:
    seen = tables.runs.seen(run_id)
    if seen is None:
        raise UnknownRunError(f"Run {run_id!r} is recorded no more.", run_id=run_id)
    return seen


def traces_of(target: Target) -> list[Trace]:
    """The runs in which an object has left something; nothing is changed."""
    return forgetting.traces(Tables(database()), target)


def forget(target: Target, wish: Forgetting) -> list[Forgot]:
    """Mask or delete what an object has left in runs; gives what became of each of them.

    Open runs are passed over, and told of.
    """
    tables = Tables(database())
    return list(forgetting.forget(tables, target, forgetting.traces(tables, target), wish))


def due_to_be_pruned() -> list[Due]:
    """What FLUXIO["RETENTION"] would have deleted now, by pipeline and status."""
    return retention.due(Tables(database()))


def prune() -> Iterator[Pruned]:
    """Delete ended runs that FLUXIO["RETENTION"] keeps no longer; gives what each batch deleted."""
    return retention.prune(Tables(database()))


def pause_queue(name: str, reason: str = "") -> None:
    """Let no worker claim runs of a queue; what is being executed goes on.

    Raises:
        ConfigurationError: FLUXIO["QUEUES"] does not name it.
    """
    tables = Tables(database())
    tables.queues.pause(queueing.checked_queue(name), storable(reason)[:500])


def resume_queue(name: str) -> None:
    """Let the runs of a queue be claimed again, and hand over those that wait.

    Raises:
        ConfigurationError: FLUXIO["QUEUES"] does not name it.
    """
    tables = Tables(database())
    tables.queues.resume(queueing.checked_queue(name))
    tables.runs.make_queue_due(name)
    recovery.hand_over(tables)


def queues() -> list[QueueState]:
    """Every queue that FLUXIO names or that runs wait in, and how it stands."""
    return recovery.queue_states(Tables(database()), settings().queues)


def database() -> str:
    """The alias of the database in which the app keeps its runs."""
    return settings().database


def _journal() -> Journal:
    return open_journal(default_store())


def _rows(run_id: str, upto: int | None = None) -> list[Row]:
    rows: list[Row] = async_to_sync(read_all)(_journal(), run_id, upto=upto)
    return rows
