"""The use cases behind commands, admin and views: one call each, all sync.

What is read here is for showing: what FLUXIO["REDACT"] hides comes wrapped in a `Secret`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asgiref.sync import async_to_sync

from fluxio.context import Context, FinalContext
from fluxio.diff import Diff, compare
from fluxio.errors import NoCheckpointError
from fluxio.runtime.history import HistoryEntry, Log, read_all, read_newest
from fluxio.runtime.owner import is_provably_dead
from fluxio.runtime.reading import Moment, checked_run_id
from fluxio.runtime.runs import ForkOrder, Watchers
from fluxio.store.base import Journal, Row
from fluxio.store.lone import open_journal
from fluxio.store.payload import ErrorBody
from fluxio.types import OnConflict, RunStatus
from fluxio_django.conf import default_store, settings
from fluxio_django.dispatch import Work, dispatch_after_commit
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.redaction import shown_text, shown_values
from fluxio_django.registry import pipelines

_SUGGESTED = 5


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
) -> FinalContext:
    """Run a registered pipeline in this process, to its end."""
    pipeline = pipelines[name]
    return pipeline.invoke_sync(initial, run_id=run_id, on_conflict=on_conflict, watch=watch)


def resume(run_id: str, *, watch: Watchers | None = None) -> FinalContext:
    """Go on with a run from its last checkpoint, in this process."""
    return pipeline_of(find_run(run_id)).resume_sync(run_id, watch=watch)


def replay(
    run_id: str, *, from_step: str | None = None, watch: Watchers | None = None
) -> FinalContext:
    """Run again under the same id as a new attempt, in this process."""
    return pipeline_of(find_run(run_id)).replay_sync(run_id, from_step=from_step, watch=watch)


def fork(order: ForkOrder, *, watch: Watchers | None = None) -> FinalContext:
    """Run a copy of a run under a new id, in this process."""
    return pipeline_of(find_run(order.run_id)).fork_sync(
        order.run_id,
        from_step=order.from_step,
        as_run_id=order.as_run_id,
        patch=order.patch,
        watch=watch,
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
        return Context.create(shown_values(pipeline_of(run).state_sync(run_id, at)))
    if at is not None and not 0 <= at <= run.head:
        raise NoCheckpointError(
            f"Run {run_id!r} has rows 0 to {run.head}; there is no row {at}.", run_id=run_id
        )
    rows: list[Row] = async_to_sync(read_newest)(_journal(), run_id, upto=at)
    return Context.create(shown_values(Log.open(run_id, rows).values()))


def provenance(run_id: str) -> dict[str, int]:
    """For each key of a run's context, the sequence of the row that set it last."""
    return Log.open(run_id, _rows(run_id)).provenance()


def is_interrupted(run: Run) -> bool:
    """Whether a run counts as running though its worker is gone: it can be resumed."""
    if run.status != RunStatus.RUNNING:
        return False
    if not run.owner or is_provably_dead(run.owner):
        return True
    return Run.objects.using(database()).lapsed().filter(pk=run.pk).exists()


def launch(work: Work, *, run_id: str) -> None:
    """Hand work to the dispatcher once the surrounding transaction is durable."""
    dispatch_after_commit(work, run_id, using=database())


def database() -> str:
    """The alias of the database in which the app keeps its runs."""
    return settings().database


def _journal() -> Journal:
    return open_journal(default_store())


def _rows(run_id: str) -> list[Row]:
    rows: list[Row] = async_to_sync(read_all)(_journal(), run_id)
    return rows
