"""W10: how fast ended runs go that are kept no longer; FLUXIO_BENCH_RUNS says how many."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from django.db import connections

from benchmarks.workload import Workload
from fluxio_django.retention import Pruned, prune
from fluxio_django.tables import Tables

RUNS = int(os.environ.get("FLUXIO_BENCH_RUNS", "20000"))
STEPS = 4
"""Rows of each run, the first one included."""

_FILL_RUNS = """
INSERT INTO fluxio_django_run
    (run_id, pipeline, version, status, attempt, head, ip, step, token, owner, takeovers, parent,
     error, subject_id, created_at, updated_at, started_at, finished_at)
SELECT 'w10-' || i, 'bench.' || i %% 7, '0123456789abcdef', 'succeeded', 1, %s, 4, '', i, '', 0, '',
       '', '', moment, moment, moment, moment
FROM (SELECT i, now() - interval '400 days' + i * interval '1 second' AS moment
      FROM generate_series(1, %s) AS i) AS made
"""
_FILL_ROWS = """
INSERT INTO fluxio_django_checkpoint
    (run_id, sequence, attempt, kind, step, ip, branch, background, version, "full", payload,
     digest, size, duration, tries, created_at)
SELECT run.id, s, 1, 'step', 'stage', s, '', false, run.version, false, repeat('x', 200),
       repeat('0', 64), 200, 0.0, 1, run.created_at
FROM fluxio_django_run AS run, generate_series(0, %s) AS s WHERE run.run_id LIKE 'w10-%%'
"""


def fill() -> None:
    """Make the runs, by the database itself."""
    with connections["default"].cursor() as cursor:
        cursor.execute(_FILL_RUNS, [STEPS - 1, RUNS])
        cursor.execute(_FILL_ROWS, [STEPS - 1])
        cursor.execute("ANALYZE fluxio_django_run, fluxio_django_checkpoint")


def pruned_per_second() -> float:
    """Make the runs, prune them, and give the rows that went in a second, runs included."""
    fill()
    began, done = time.perf_counter(), Pruned()
    for batch in prune(Tables("default")):
        done += batch
    seconds = time.perf_counter() - began
    assert done == Pruned(runs=RUNS, rows=RUNS * STEPS)
    return (done.runs + done.rows) / seconds


def deleted_per_second() -> float:
    """The same with two statements over everything, which hold all of it until they are done."""
    fill()
    began = time.perf_counter()
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "DELETE FROM fluxio_django_checkpoint USING fluxio_django_run AS run "
            "WHERE run.id = fluxio_django_checkpoint.run_id AND run.run_id LIKE 'w10-%'"
        )
        cursor.execute("DELETE FROM fluxio_django_run WHERE run_id LIKE 'w10-%'")
    return RUNS * (STEPS + 1) / (time.perf_counter() - began)


def facts() -> Mapping[str, str]:
    """How much there was."""
    return {"runs": f"{RUNS:,}", "rows": f"{RUNS * STEPS:,}"}


def workloads() -> list[Workload]:
    """W10; on PostgreSQL, which makes the runs."""
    if connections["default"].vendor != "postgresql":
        return []
    return [
        Workload(
            name="W10",
            title=f"prune {RUNS:,} ended runs of {STEPS} rows each, in batches",
            unit="rows/s",
            ours=pruned_per_second,
            floor=deleted_per_second,
            floor_title="two raw DELETEs over everything",
            goal=">= 5000 rows/s",
            facts=facts,
        )
    ]
