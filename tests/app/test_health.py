"""A probe learns whether runs are being worked on, in few queries, on every database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio_django import health, services
from fluxio_django.models import Queue, Run
from fluxio_django.queues import AT_GATE


@pytest.fixture(autouse=True)
def _asked(database: str) -> Any:
    with override_settings(FLUXIO={"DATABASE": database, "HEALTH_WAIT_SECONDS": 60}):
        yield


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def run(database: str, run_id: str, **facts: Any) -> None:
    Run.objects.using(database).create(run_id=run_id, pipeline="p", **facts)


def test_where_nothing_waits_all_is_well(database: str) -> None:
    run(database, "done", status="succeeded", created_at=ago(9000))
    assert services.health() == health.Health(lapsed_runs=0)


def test_a_run_that_waits_too_long_is_a_problem(database: str) -> None:
    run(database, "young", available_at=ago(5))
    found = services.health()
    assert found.problems == ()
    assert found.oldest_wait is not None
    assert 5 <= found.oldest_wait < 60
    run(database, "old", available_at=ago(100))
    (problem,) = services.health().problems
    assert "has waited for a worker" in problem


@pytest.mark.parametrize(
    "facts",
    [
        {"available_at": ago(-9000)},
        {"held_back": f"{AT_GATE}2 of 2 are running"},
        {"queue": "paused"},
    ],
    ids=["put off", "at a limit", "in a paused queue"],
)
def test_a_run_that_no_worker_may_begin_with_is_none(database: str, facts: dict[str, Any]) -> None:
    Queue.objects.using(database).create(name="paused", paused_at=timezone.now())
    run(database, "waits", created_at=ago(9000), **{"available_at": ago(9000), **facts})
    assert services.health() == health.Health(lapsed_runs=0)


def test_a_run_whose_worker_is_gone_is_counted_and_a_problem_when_nobody_takes_it_over(
    database: str,
) -> None:
    run(database, "alive", status="running", lease_expires_at=ago(-30))
    run(database, "just now", status="running", lease_expires_at=ago(5))
    found = services.health()
    assert (found.problems, found.lapsed_runs) == ((), 1)
    run(database, "long ago", status="running", lease_expires_at=ago(100))
    found = services.health()
    assert found.lapsed_runs == 2
    assert found.problems == (
        "Runs whose worker is gone have waited for another one for over 60 s: 1.",
    )


def test_a_migration_that_is_not_applied_is_a_problem(database: str) -> None:
    recorder = MigrationRecorder(connections[database])
    newest = recorder.migration_qs.filter(app="fluxio_django").order_by("name").last()
    assert newest is not None
    newest.delete()
    try:
        assert services.health().problems == ("Migrations of fluxio_django are not applied.",)
    finally:
        recorder.record_applied(newest.app, newest.name)


def test_a_database_that_does_not_answer_is_a_problem_and_not_raised(database: str) -> None:
    def fail(*call: object) -> None:
        raise OperationalError("the server is gone")

    with connections[database].execute_wrapper(fail):
        assert services.health() == health.Health(problems=("The database does not answer.",))


def test_five_queries_are_enough_however_long_the_queue_is(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        run(database, f"r{number}", created_at=ago(30 - number), available_at=ago(30 - number))
    run(database, "requeued", created_at=ago(5), available_at=ago(500))
    monkeypatch.setattr(health, "_MOST_LOOKED_AT", 3)
    with CaptureQueriesContext(connections[database]) as queries:
        found = services.health()
    assert len(queries) <= 5
    # Of a queue that is longer than what is looked at the first ones count.
    assert found.oldest_wait is not None
    assert 30 <= found.oldest_wait < 60
