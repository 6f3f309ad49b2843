"""How runs, their history and their values are written as JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.urls import reverse

from fluxio.diff import ABSENT, Change, Diff
from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.log import Line
from fluxio_django.models import Run
from fluxio_django.records import moment_of
from fluxio_django.redaction import shown_text
from fluxio_django.tables import Tables
from fluxio_django.values import json_value, json_values

LONGEST_ERROR = 2_000
MOST_CHANGES = 300
MOST_ROWS = 500


def run_facts(run: Run, *, interrupted: bool, with_values: bool) -> dict[str, Any]:
    """A run as everybody sees it who may know of it; what an error says is a value."""
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "version": run.version,
        "status": run.status,
        "interrupted": interrupted,
        "attempt": run.attempt,
        "head": run.head,
        "step": run.step or None,
        "progress": _progress(run),
        "error": _error(run, with_values),
        "created_at": _utc(run.created_at),
        "updated_at": _utc(run.updated_at),
        "started_at": _utc(run.started_at),
        "finished_at": _utc(run.finished_at),
        "links": links(run),
    }


def links(run: Run) -> dict[str, str]:
    """Where the run itself, its parts, and what can be done with it are found."""
    found = {
        name: reverse(f"fluxio:{name}", args=[run.run_id])
        for name in ("history", "result", "events", "cancel", "resume")
    }
    return {"self": reverse("fluxio:run", args=[run.run_id]), **found}


def line_facts(line: Line, *, with_values: bool) -> dict[str, Any]:
    """A row of a run's history; without values it has the keys that were written only."""
    facts: dict[str, Any] = {"sequence": line.sequence, "damaged": bool(line.damage)}
    row = line.checkpoint
    if row is None:
        return facts
    facts |= {
        "attempt": row.attempt,
        "kind": row.kind,
        "step": row.step or None,
        "branch": row.branch or None,
        "background": row.background,
        "tries": row.tries,
        "duration": row.duration,
        "size": row.size,
        "created_at": _utc(row.created_at),
        "wrote": None,
        "error": None,
    }
    if line.body is not None:
        facts["wrote"] = json_values(line.writes) if with_values else sorted(line.writes)
    if line.error is not None:
        facts["error"] = {"type": line.error.type}
        if with_values:
            facts["error"]["message"] = line.error.message[:LONGEST_ERROR]
    return facts


def rows_after(run: Run, after: int) -> list[dict[str, Any]]:
    """What everybody may know of the rows after a sequence, the newest 500 at most; one query."""
    first = max(after + 1, run.head - MOST_ROWS + 1)
    if first > run.head:
        return []
    rows = Tables(services.database()).rows.filter(run=run.pk, sequence__range=(first, run.head))
    names = ("sequence", "attempt", "kind", "step", "branch", "duration", "tries")
    return list(rows.order_by("sequence").values(*names))


def result_facts(
    run: Run, values: Mapping[str, Any], *, shows: Collection[str], with_values: bool
) -> dict[str, Any]:
    """What a run ended with: all of it, or the keys that everybody is shown."""
    shown = values if with_values else {key: values[key] for key in shows if key in values}
    return {
        "run_id": run.run_id,
        "status": run.status,
        "complete": len(shown) == len(values),
        "result": json_values(shown),
    }


def diff_facts(found: Diff, *, with_values: bool) -> dict[str, Any]:
    """What differs between two runs; without values just the names of the keys."""
    if not with_values:
        return {"keys": list(found)[:MOST_CHANGES], "truncated": len(found) > MOST_CHANGES}
    changes = found.paths(limit=MOST_CHANGES)
    return {
        "keys": list(found)[:MOST_CHANGES],
        "truncated": changes.truncated or len(found) > MOST_CHANGES,
        "changes": [_change(change) for change in changes],
    }


def _change(change: Change) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": change.text, "kind": change.kind.value}
    if change.a is not ABSENT:
        facts["a"] = json_value(change.a)
    if change.b is not ABSENT:
        facts["b"] = json_value(change.b)
    return facts


def _progress(run: Run) -> dict[str, Any] | None:
    progress = services.progress(run)
    if progress is None:
        return None
    return {"done": progress.done, "total": progress.total, "note": progress.note}


def _error(run: Run, with_values: bool) -> dict[str, Any] | None:
    if not run.error or run.status == RunStatus.SUCCEEDED:
        return None
    kind = run.error_type or run.error.partition(":")[0]
    facts = {"type": kind[:200] if kind.replace(".", "").isidentifier() else None}
    if with_values:
        facts["message"] = shown_text(run.error)[:LONGEST_ERROR]
    return facts


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment_of(moment, connections[services.database()]).astimezone(UTC).isoformat()
