"""Runs whose worker is gone: which ones to take over, and which ones to give up."""

from __future__ import annotations

from functools import partial

from fluxio_django.conf import settings
from fluxio_django.faults import surely
from fluxio_django.records import SeenRun
from fluxio_django.tables import Tables

_AT_ONCE = 100


def to_take_over(using: str | None = None, *, limit: int = _AT_ONCE) -> list[SeenRun]:
    """Runs whose lease expired and which may be tried once more, the longest waiting first."""
    return _lapsed(using, given_up=False, limit=limit)


def bury(using: str | None = None, *, limit: int = _AT_ONCE) -> list[SeenRun]:
    """Mark runs as dead that lost their worker too often, with the reason; blocks.

    A run that somebody claims in the meantime stays alive.
    """
    tables = Tables(using)
    hopeless = _lapsed(using, given_up=True, limit=limit)
    return [seen for seen in hopeless if surely(tables.alias, partial(_bury, tables, seen))]


def _bury(tables: Tables, seen: SeenRun) -> bool:
    return tables.runs.bury(seen, _reason(seen))


def _lapsed(using: str | None, *, given_up: bool, limit: int) -> list[SeenRun]:
    tables, maximum = Tables(using), settings().max_takeovers
    runs = tables.runs.lapsed()
    runs = runs.filter(takeovers__gte=maximum) if given_up else runs.filter(takeovers__lt=maximum)
    return surely(tables.alias, lambda: runs.order_by("lease_expires_at")[:limit].as_seen())


def _reason(seen: SeenRun) -> str:
    record = seen.record
    return (
        f"Given up after {record.takeovers} takeovers: each time the worker died or lost its lease "
        f"at step {record.step!r}. Find out why that step kills its worker, then resume the run."
    )
