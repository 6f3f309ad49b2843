"""What runs have recorded, for showing.

What FLUXIO["REDACT"] hides comes wrapped in a `Secret`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from asgiref.sync import async_to_sync

from fluxio.context import Context
from fluxio.diff import Diff, compare
from fluxio.errors import NoCheckpointError
from fluxio.runtime.history import HistoryEntry, Log, read_recorded
from fluxio.runtime.owner import is_provably_dead
from fluxio.runtime.reading import Moment, checked_run_id
from fluxio.store.admission import no_checkpoint
from fluxio.store.base import Row
from fluxio.store.lone import open_journal
from fluxio.store.payload import ErrorBody
from fluxio.types import RunStatus
from fluxio_django.conf import default_store
from fluxio_django.models import Run
from fluxio_django.progress import Progress, progress_of
from fluxio_django.redaction import shown_text, shown_values
from fluxio_django.services.runs import find_run, pipeline_of
from fluxio_django.tables import Tables


def diff(a: str, b: str, *, at_a: Moment = None, at_b: Moment = None) -> Diff:
    """Compare two runs, of whatever pipelines, at recorded moments."""
    return compare(dict(state(a, at_a)), dict(state(b, at_b)))


def history(run_id: str) -> list[HistoryEntry]:
    """Every row of a run, decoded; needs no registered pipeline."""
    entries = Log.open(run_id, _recorded(run_id, whole=True)).entries()
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
    if isinstance(at, str):
        shown = pipeline_of(find_run(run_id)).shown_sync(run_id, at)
        return Context.create(shown_values(shown))
    values = Log.open(run_id, _recorded(run_id, upto=at)).values()
    return Context.create(shown_values(values))


def provenance(run_id: str, at: int | None = None) -> dict[str, int]:
    """For each key of a run's context, after a row or now, the row that set it last."""
    return Log.open(run_id, _recorded(run_id, whole=True, upto=at)).provenance()


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
        lapsed = Tables().runs.lapsed().filter(pk__in=unsure)
        left.update(lapsed.values_list("pk", flat=True))
    return left


def _recorded(run_id: str, *, whole: bool = False, upto: int | None = None) -> list[Row]:
    """The rows of a run's newest state, or all, up to a sequence.

    They go together, whoever begins the run anew meanwhile.
    """
    rows: list[Row] | None = async_to_sync(_read)(checked_run_id(run_id), whole, upto)
    if rows is None:
        find_run(run_id)  # says which ones there are
        raise no_checkpoint(run_id)
    return rows


async def _read(run_id: str, whole: bool, upto: int | None) -> list[Row] | None:
    journal = open_journal(default_store())
    record = await journal.run(run_id)
    if record is None:
        return None
    if upto is not None and not 0 <= upto <= record.head:
        raise NoCheckpointError(
            f"Run {run_id!r} has rows 0 to {record.head}; there is no row {upto}.", run_id=run_id
        )
    _, rows = await read_recorded(journal, record, whole=whole, upto=upto)
    return rows
