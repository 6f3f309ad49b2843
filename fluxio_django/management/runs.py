"""Facts about recorded runs, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import connections
from django.utils import timezone

from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.reading import Moment, checked_run_id
from fluxio.store.base import RowKind
from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.management.refusal import refusal
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.progress import Progress
from fluxio_django.records import moment_of
from fluxio_django.redaction import shown_text
from fluxio_django.values import json_values

INTERRUPTED = "interrupted"
"""What a run is called that counts as running though its worker is gone."""

STATUSES = (*RunStatus, INTERRUPTED)

_TONES = {
    RunStatus.SUCCEEDED.value: Tone.GOOD,
    RunStatus.FAILED.value: Tone.BAD,
    RunStatus.DEAD.value: Tone.BAD,
    INTERRUPTED: Tone.CAREFUL,
}


def find_run(run_id: str) -> Run:
    """The row of a run.

    Raises:
        InvalidRunIDError: this can be no run id, so the database is not asked.
        UnknownRunError: there is none; the message lists the newest ids.
    """
    return services.find_run(checked_run_id(run_id))


def status_of(run: Run) -> str:
    """The status as it is shown, which is one of `STATUSES`."""
    return INTERRUPTED if services.is_interrupted(run) else run.status


def status_text(status: str) -> Text:
    """A status in its tone."""
    return Text(status, _TONES.get(status, Tone.PLAIN))


def run_facts(run: Run, status: str) -> dict[str, Any]:
    """What --json says of a run; moments are in UTC."""
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "version": run.version,
        "status": status,
        "attempt": run.attempt,
        "head": run.head,
        "step": run.step or None,
        "error": shown_text(run.error) or None,
        "parent": run.parent or None,
        "parent_sequence": run.parent_sequence,
        "owner": run.owner or None,
        "lease_expires_at": iso(run.lease_expires_at),
        "takeovers": run.takeovers,
        "queue": run.queue,
        "priority": run.priority,
        "held_back": run.held_back or None,
        "progress": _progress_facts(run),
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
        "finished_at": iso(run.finished_at),
    }


def _progress_facts(run: Run) -> dict[str, Any] | None:
    progress = services.progress(run)
    if progress is None:
        return None
    return {"done": progress.done, "total": progress.total, "note": progress.note}


def entry_facts(entry: HistoryEntry, *, values: bool) -> dict[str, Any]:
    """What --json says of a row of a run's log; without values it has the keys only."""
    facts: dict[str, Any] = {
        "sequence": entry.sequence,
        "attempt": entry.attempt,
        "kind": entry.kind.value,
        "step": entry.step or None,
        "branch": entry.branch or None,
        "background": entry.background,
        "wrote": json_values(entry.writes) if values else list(entry.writes),
        "route": entry.route,
        "tries": entry.tries,
        "duration": entry.duration,
        "size": entry.size,
        "created_at": entry.created_at.isoformat(),
    }
    if entry.carried is not None:
        facts["carried"] = asdict(entry.carried)
    if entry.forgotten is not None:
        facts["forgotten"] = asdict(entry.forgotten)
    if entry.error is not None:
        facts["error"] = {"type": entry.error.type, "message": entry.error.message}
    return facts


def outcome_of(entry: HistoryEntry) -> str:
    """What a row of a run's log says, in one line."""
    if entry.forgotten is None:
        return _recorded(entry)
    masked = entry.forgotten
    return f"{_recorded(entry)} (masked {masked.at} by {masked.by}: {masked.reason})"


def _recorded(entry: HistoryEntry) -> str:
    match entry.kind:
        case RowKind.START if entry.carried is not None:
            told = entry.carried
            by = f" by {told.by}: {told.reason}" if told.by else ""
            return f"goes on from version {told.version} ({told.kind}{by})"
        case RowKind.START:
            return "the initial context" if entry.sequence == 0 else "begins again here"
        case RowKind.STEP:
            wrote = f"wrote {', '.join(entry.writes)}" if entry.writes else "wrote nothing"
            return wrote if entry.route is None else f"{wrote} -> {entry.route}"
        case RowKind.ERROR:
            return "failed" if entry.error is None else f"{entry.error.type}: {entry.error.message}"
        case RowKind.END:
            return "cancelled"


def progress_words(progress: Progress | None) -> str:
    """How far a step says it is, in one line; "" where it says nothing."""
    if progress is None:
        return ""
    of = "" if progress.total is None else f" of {progress.total:,}"
    share = "" if progress.share is None else f" ({progress.share:.0%})"
    return f"{progress.done:,}{of}{share} {progress.note}".rstrip()


def step_key(pipeline: DjangoPipeline, name: str) -> str:
    """The key of a step, by its key or by the name of its stage.

    Raises:
        CommandError: there is no such step, or several; the message lists what is there.
    """
    try:
        return pipeline.compiled.call(name).key
    except KeyError as problem:
        raise refusal(str(problem.args[0])) from problem


def moment_of_run(run_id: str, at: Moment) -> Moment:
    """The moment itself, with the full key of its step where it names one.

    Raises:
        NoCheckpointError: no such run.
        CommandError: no such step.
    """
    if not isinstance(at, str):
        return at
    return step_key(services.pipeline_of(find_run(run_id)), at)


def local(moment: datetime | None) -> str:
    """A moment of a row in the current time zone, to the second; "" for None."""
    if moment is None:
        return ""
    return _aware(moment).astimezone(timezone.get_current_timezone()).strftime("%Y-%m-%d %H:%M:%S")


def elapsed(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def iso(moment: datetime | None) -> str | None:
    """A moment of a row in UTC, as --json has it."""
    return None if moment is None else _aware(moment).isoformat()


def _aware(moment: datetime) -> datetime:
    return moment_of(moment, connections[services.database()])
