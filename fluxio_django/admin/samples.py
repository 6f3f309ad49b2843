"""What the newest runs of pipelines say about them: figures from samples, for all is too much."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from statistics import median
from typing import NamedTuple

from django.db.models import QuerySet

from fluxio_django import services
from fluxio_django.enums import RowKind, RunStatus
from fluxio_django.models import Checkpoint, Run

MOST_ENDED = 500
"""How many ended runs of one pipeline are looked at."""
MOST_ROWS = 10_000
"""How many rows of their logs are looked at."""
MOST_OPEN = 5_000
"""How many open runs are counted."""
MOST_NEWEST = 2_000
"""How many runs of all pipelines are looked at."""

FAILED_STATUSES = (RunStatus.FAILED, RunStatus.DEAD)
_ENDED = (RunStatus.SUCCEEDED, *FAILED_STATUSES)
_PERCENTILE = 0.95


class EndedRun(NamedTuple):
    """What is looked at of a run that ended by itself; `seconds` is None where that is unknown."""

    pk: int
    run_id: str
    pipeline: str
    version: str
    failed: bool
    seconds: float | None
    created_at: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in seconds, ascending; there is at least one."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Half of them are at most as long."""
        return median(self.seconds)

    @property
    def p95(self) -> float:
        """95 of 100 are at most as long, by the nearest rank."""
        return self.seconds[ceil(_PERCENTILE * len(self.seconds)) - 1]


@dataclass(slots=True)
class Rate:
    """How many ended, and how many of those failed."""

    ended: int = 0
    failed: int = 0

    def add(self, failed: bool) -> None:
        """Count one more."""
        self.ended += 1
        self.failed += failed

    @property
    def percent(self) -> float:
        """How many of 100 failed; there has to be one that ended."""
        return 100 * self.failed / self.ended


@dataclass(slots=True)
class StepSample:
    """What is known of one step: how long it took, and how often it failed for good."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSamples:
    """The steps of the newest runs by key; `runs` of them were looked at, in `rows` rows."""

    by_key: Mapping[str, StepSample]
    runs: int
    rows: int


def spread_of(seconds: Iterable[float | None]) -> Spread | None:
    """The spread of what is known; None where that is nothing."""
    known = sorted(each for each in seconds if each is not None)
    return Spread(known) if known else None


def rate_of(runs: Iterable[EndedRun]) -> Rate:
    """How many of these runs failed."""
    rate = Rate()
    for run in runs:
        rate.add(run.failed)
    return rate


def newest_ended(runs: QuerySet[Run], pipeline: str) -> list[EndedRun]:
    """The newest runs of a pipeline that ended by themselves, the newest first.

    One query for each status: that is the order in which the index has them.
    """
    found: list[EndedRun] = []
    for status in _ENDED:
        some = runs.filter(pipeline=pipeline, status=status).order_by("-created_at", "-id")
        found += _ended(some[:MOST_ENDED])
    found.sort(key=lambda run: (run.created_at, run.pk), reverse=True)
    return found[:MOST_ENDED]


def _ended(runs: QuerySet[Run]) -> list[EndedRun]:
    """Those of the runs that ended by themselves."""
    found = []
    for pk, run_id, pipeline, version, status, started, created, finished, head in runs.values_list(
        "pk",
        "run_id",
        "pipeline",
        "version",
        "status",
        "started_at",
        "created_at",
        "finished_at",
        "head",
    ):
        if status in _ENDED:
            failed = status in FAILED_STATUSES
            seconds = _seconds(started or created, finished)
            found.append(
                EndedRun(pk, run_id, pipeline, version, failed, seconds, created, head + 1)
            )
    return found


def _seconds(begun: datetime, ended: datetime | None) -> float | None:
    return None if ended is None else max((ended - begun).total_seconds(), 0.0)


def steps_of(ended: Sequence[EndedRun]) -> StepSamples:
    """How the steps of runs went, of so many of the newest as have few enough rows; one query."""
    chosen: list[int] = []
    rows = 0
    for run in ended:
        if chosen and rows + run.rows > MOST_ROWS:
            break
        chosen.append(run.pk)
        rows += run.rows
    by_key: dict[str, StepSample] = defaultdict(StepSample)
    read = 0
    for step, kind, seconds in _rows_of(chosen):
        read += 1
        if kind == RowKind.STEP:
            by_key[step].seconds.append(seconds)
        elif kind == RowKind.ERROR:
            by_key[step].failures += 1
    return StepSamples(by_key=by_key, runs=len(chosen), rows=read)


def _rows_of(keys: Sequence[int]) -> Iterable[tuple[str, str, float]]:
    if not keys:
        return ()
    rows = Checkpoint.objects.using(services.database()).filter(run__in=keys).order_by()
    return rows.values_list("step", "kind", "duration")[:MOST_ROWS]


def open_by_version(runs: QuerySet[Run], pipeline: str) -> Counter[str]:
    """How many runs of a pipeline are open, by version; `MOST_OPEN` in all at most."""
    waiting = runs.filter(pipeline=pipeline, status__in=services.OPEN_STATUSES).order_by()
    return Counter(waiting.values_list("version", flat=True)[:MOST_OPEN])


def open_by_pipeline(runs: QuerySet[Run]) -> Counter[str]:
    """How many runs are open, by pipeline; `MOST_OPEN` in all at most."""
    waiting = runs.filter(status__in=services.OPEN_STATUSES).order_by()
    return Counter(waiting.values_list("pipeline", flat=True)[:MOST_OPEN])


def newest_by_pipeline(runs: QuerySet[Run]) -> Mapping[str, list[EndedRun]]:
    """Those of the newest runs of all pipelines that ended by themselves, by pipeline."""
    found: dict[str, list[EndedRun]] = defaultdict(list)
    for run in _ended(runs.order_by("-created_at", "-id")[:MOST_NEWEST]):
        found[run.pipeline].append(run)
    return found
