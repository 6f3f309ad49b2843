"""A database with a million finished runs, made once by PostgreSQL itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from benchmarks.pipelines import noops
from benchmarks.project import fresh_database, lasting_database
from fluxio import Pipeline
from fluxio_django.models import Run
from fluxio_django.registry import pipelines

ALIAS = "million"
RUNS = int(os.environ.get("FLUXIO_BENCH_ADMIN_RUNS", "1000000"))
RECORDED = 100_000
"""So many of the newest runs have a log of `STEPS` rows; the pages of a run read no other."""
STEPS = 8
NAMES = 20
BUSY = 5_000
"""So many runs wait in the queues, or are being executed."""

PIPELINE = "bench.0"

_VERSIONS = """
INSERT INTO fluxio_django_pipelineversion (pipeline, version, manifest, first_seen)
SELECT 'bench.' || i, left(md5(i || '-' || v), 64), '{{}}', now() - v * interval '30 days'
FROM generate_series(0, {names} - 1) AS i, generate_series(0, 2) AS v
ON CONFLICT DO NOTHING
"""
_FINISHED = """
INSERT INTO fluxio_django_run
    (run_id, pipeline, version, status, attempt, head, ip, step, token, owner, takeovers, parent,
     error, error_type, subject_id, created_at, updated_at, started_at, finished_at)
SELECT 'order-' || i, 'bench.' || i % {names},
       CASE WHEN i % {names} = 0 THEN '{version}'
            ELSE left(md5(i % {names} || '-' || i / {names} % 3), 64) END,
       status, 1, {steps}, {steps}, CASE WHEN status = 'succeeded' THEN '' ELSE 's3' END, i, '', 0,
       '', CASE WHEN status = 'failed' THEN 'the gateway did not answer' ELSE '' END,
       CASE WHEN status = 'failed' THEN (ARRAY['TimeoutError', 'ValueError', 'KeyError'])[1 + i % 3]
            ELSE '' END,
       '', moment, moment, moment, moment + i % 900 * interval '1 second'
FROM (SELECT i, now() - ({runs} - i) * interval '30 seconds' AS moment,
             CASE WHEN i % 41 = 0 THEN 'failed' WHEN i % 977 = 0 THEN 'cancelled'
                  WHEN i % 9973 = 0 THEN 'dead' ELSE 'succeeded' END AS status
      FROM generate_series(1, {runs}) AS i) AS made
"""
_UNDER_WAY = """
INSERT INTO fluxio_django_run
    (run_id, pipeline, version, status, attempt, head, ip, step, token, owner, takeovers, parent,
     error, subject_id, queue, available_at, lease_expires_at, created_at, updated_at, started_at)
SELECT 'busy-' || i, 'bench.' || i % {names}, '{version}',
       CASE WHEN i % 50 = 0 THEN 'running' ELSE 'queued' END, 1, 0, 0, 's0', i,
       CASE WHEN i % 50 = 0 THEN 'worker' ELSE '' END, 0, '', '', '', 'queue-' || i % 5, moment,
       CASE WHEN i % 50 = 0 THEN moment + i % 3 * interval '1 hour' END, moment, moment,
       CASE WHEN i % 50 = 0 THEN moment END
FROM (SELECT i, now() - i * interval '1 second' AS moment
      FROM generate_series(1, {busy}) AS i) AS made
"""
_ROWS = """
INSERT INTO fluxio_django_checkpoint
    (run_id, sequence, attempt, kind, step, ip, branch, background, version, "full", payload,
     digest, size, duration, tries, created_at)
SELECT run.id, s, 1, CASE WHEN s = 0 THEN 'start' ELSE 'step' END, 's' || s, s, '', false,
       run.version, false, repeat('x', 200), repeat('0', 64), 200, (run.id % 97) * 0.01, 1,
       run.created_at
FROM (SELECT id, version, created_at FROM fluxio_django_run WHERE finished_at IS NOT NULL
      ORDER BY created_at DESC LIMIT {recorded}) AS run, generate_series(0, {steps}) AS s
"""


@contextmanager
def million() -> Iterator[None]:
    """Runs live in that database as long as this lasts; the first time they are made, in minutes.

    With FLUXIO_BENCH_KEEP set the database is left there, to be found the next time.
    """
    connect()
    pipelines.add(PIPELINE, pipeline)
    try:
        with override_settings(FLUXIO={"DATABASE": ALIAS, "DISPATCHER": "eager"}):
            if Run.objects.using(ALIAS).count() < RUNS:
                fill()
            yield
    finally:
        pipelines.remove(PIPELINE)


def pipeline() -> Pipeline:
    """What the runs that are looked at one by one are of."""
    return Pipeline(noops(STEPS, asynchronous=False), durable=True)


def connect() -> None:
    """Add the database to those that Django knows, and bring its tables up to date."""
    if ALIAS in connections.databases:
        return
    name = "fluxio_bench_million"
    make = lasting_database if "FLUXIO_BENCH_KEEP" in os.environ else fresh_database
    make(name)
    connections.databases[ALIAS] = {**connections.databases["default"], "NAME": name}
    call_command("migrate", verbosity=0, database=ALIAS)


def fill() -> None:
    """Make the runs; those that the pages show one by one are executed in earnest."""
    handle = pipelines[PIPELINE]
    facts = {
        "runs": RUNS,
        "busy": BUSY,
        "names": NAMES,
        "steps": STEPS,
        "recorded": RECORDED,
        "version": handle.version,
    }
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("TRUNCATE fluxio_django_run, fluxio_django_pipelineversion CASCADE")
        for statement in (_VERSIONS, _FINISHED, _ROWS, _UNDER_WAY):
            cursor.execute(statement.format(**facts))
        cursor.execute("ANALYZE")
    for number in range(3):
        handle.invoke_sync({"number": number}, run_id=f"shown-{number}")
