"""Ended runs go when they are old enough, and nothing else goes with them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio import Context, stage
from fluxio.pipeline import Pipeline
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, recovery, retention, services
from fluxio_django.conf import problems
from fluxio_django.conf import settings as fluxio_settings
from fluxio_django.management.commands.fluxio_prune import Command
from fluxio_django.models import Checkpoint, DeduplicationKey, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.retention import Due, Gardener, Pruned, prune
from fluxio_django.tables import Tables
from tests.app.commands.conftest import Shell
from tests.shown import shown

NAME = "retention.tests"


@stage(version="1")
def one(ctx: Context) -> Context:
    return ctx.set("one", 1)


@stage(version="1")
def two(ctx: Context) -> Context:
    return ctx.set("two", 2)


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    for name in (NAME, f"{NAME}.other"):
        pipelines.add(name, lambda: Pipeline([one, two], durable=True))
    yield pipelines[NAME]
    for name in (NAME, f"{NAME}.other"):
        pipelines.remove(name)


@pytest.fixture
def shell() -> Shell:
    return Shell()


def age(run_id: str, days: float, status: str = "succeeded", **facts: Any) -> None:
    """Let a run have ended (or, where it is open, been created) so many days ago."""
    then = timezone.now() - timedelta(days=days)
    ended = None if RunStatus(status).is_open else then
    runs = Run.objects.using(fluxio_settings().database).filter(run_id=run_id)
    assert runs.update(created_at=then, finished_at=ended, status=status, **facts) == 1


def left(database: str) -> list[str]:
    return sorted(Run.objects.using(database).values_list("run_id", flat=True))


def pruned() -> Pruned:
    return sum(services.prune(), Pruned())


def test_runs_go_by_the_age_of_their_status(pipeline: DjangoPipeline, database: str) -> None:
    for status, days in {"succeeded": 90, "failed": 180, "cancelled": 180, "dead": 365}.items():
        for difference in (-1, 1):
            pipeline.invoke_sync({}, run_id=f"{status}{difference:+}")
            age(f"{status}{difference:+}", days + difference, status)
    assert pruned() == Pruned(runs=4, rows=12)
    assert left(database) == ["cancelled-1", "dead-1", "failed-1", "succeeded-1"]
    assert Checkpoint.objects.using(database).count() == 12


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
def test_open_runs_stay_however_old_they_are(
    pipeline: DjangoPipeline, database: str, status: str
) -> None:
    pipeline.invoke_sync({}, run_id="r")
    age("r", 10_000, status)
    Run.objects.using(database).update(finished_at=timezone.now() - timedelta(days=10_000))
    assert pruned() == Pruned()
    assert services.due_to_be_pruned() == []
    assert left(database) == ["r"]


def test_a_pipeline_can_have_times_of_its_own(
    pipeline: DjangoPipeline, database: str, settings: Any
) -> None:
    settings.FLUXIO = {
        **settings.FLUXIO,
        "RETENTION": {
            "*": {"succeeded": timedelta(days=10), "failed": 5},
            NAME: {"succeeded": None, "failed": 0.5},
        },
    }
    for name in (NAME, f"{NAME}.other"):
        for status in ("succeeded", "failed"):
            run_id = f"{name}:{status}"
            pipelines[name].invoke_sync({}, run_id=run_id)
            age(run_id, 7, status)
    assert {(due.pipeline, due.status) for due in services.due_to_be_pruned()} == {
        (NAME, "failed"),
        (f"{NAME}.other", "failed"),
    }
    pruned()
    assert left(database) == [f"{NAME}.other:succeeded", f"{NAME}:succeeded"]


def test_retention_can_be_turned_off(pipeline: DjangoPipeline, settings: Any) -> None:
    settings.FLUXIO = {**settings.FLUXIO, "RETENTION": None}
    pipeline.invoke_sync({}, run_id="r")
    age("r", 10_000)
    assert (services.due_to_be_pruned(), pruned()) == ([], Pruned())


@pytest.mark.parametrize(
    "wrong",
    [
        {"*": 30},
        {"*": {"running": 3}},
        {"*": {"succeeded": -1}},
        {"*": {"succeeded": "3 days"}},
        {"*": {"succeeded": timedelta(0)}},
        {"*": {"succeeded": True}},
        {"*": {"succeeded": 1e9}},
        {"*": {"succeeded": 0}},
        {"*": {"succeeded": 10**400}},
        {3: {}},
        30,
        [],
    ],
    ids=shown,
)
def test_what_makes_no_sense_is_told_and_deletes_nothing(wrong: Any, settings: Any) -> None:
    """The default would delete what somebody has wanted to keep, and written wrongly."""
    settings.FLUXIO = {"RETENTION": wrong}
    (problem,) = problems()
    assert problem.key == "RETENTION"
    assert "no run is deleted until it fits" in problem.message
    assert fluxio_settings().retention is None


def test_a_fork_keeps_all_it_has_when_its_source_goes(
    pipeline: DjangoPipeline, database: str
) -> None:
    pipeline.invoke_sync({"given": 1}, run_id="source")
    final = pipeline.fork_sync("source", as_run_id="fork")
    before = [list(row) for row in rows_of(database, "fork")]
    age("source", 100)
    assert pruned().runs == 1
    fork = Run.objects.using(database).get(run_id="fork")
    assert (fork.parent, fork.parent_sequence) == ("", None)
    assert [list(row) for row in rows_of(database, "fork")] == before
    assert dict(pipeline.resume_sync("fork")) == dict(final)
    assert pipeline.replay_sync("fork", from_step="two")["given"] == 1


def rows_of(database: str, run_id: str) -> Any:
    return Checkpoint.objects.using(database).filter(run__run_id=run_id).values_list()


def test_the_source_of_an_open_fork_is_needed_still(
    pipeline: DjangoPipeline, database: str
) -> None:
    pipeline.invoke_sync({}, run_id="source")
    pipeline.fork_sync("source", as_run_id="fork")
    age("source", 100)
    age("fork", 0, "running")
    assert pruned() == Pruned()
    age("fork", 0, "failed")
    assert pruned().runs == 1
    assert left(database) == ["fork"]


def test_its_deduplication_key_goes_with_a_run(pipeline: DjangoPipeline, database: str) -> None:
    for run_id in ("old", "new"):
        pipeline.invoke_sync({}, run_id=run_id)
        DeduplicationKey.objects.using(database).create(pipeline=NAME, key=run_id, run_id=run_id)
    age("old", 100)
    pruned()
    keys = DeduplicationKey.objects.using(database).values_list("key", flat=True)
    assert list(keys) == ["new"]


def test_keys_whose_runs_went_without_them_go_too(pipeline: DjangoPipeline, database: str) -> None:
    keys = DeduplicationKey.objects.using(database)
    pipeline.invoke_sync({}, run_id="kept")
    for run_id in ("kept", "gone"):
        keys.create(pipeline=NAME, key=run_id, run_id=run_id)
    pruned()
    assert list(keys.values_list("run_id", flat=True)) == ["kept"]


def test_its_deduplication_key_goes_with_a_run_that_a_store_forgets(
    pipeline: DjangoPipeline, database: str
) -> None:
    pipeline.invoke_sync({}, run_id="r")
    keys = DeduplicationKey.objects.using(database)
    keys.create(pipeline=NAME, key="k", run_id="r")
    DjangoStore(database).delete_blocking("r")
    assert not keys.exists()


@pytest.mark.parametrize("again", ["r", "s"])
def test_a_key_that_is_being_taken_again_is_left_alone(
    pipeline: DjangoPipeline, database: str, again: str
) -> None:
    if not connections[database].features.has_select_for_update_skip_locked:
        pytest.skip("this database locks no rows that could be passed over")
    keys = DeduplicationKey.objects.using(database)
    keys.create(pipeline=NAME, key="k", run_id="r")
    waits = {"postgres": "SET lock_timeout = '1s'", "mariadb": "SET innodb_lock_wait_timeout = 1"}
    with connections[database].cursor() as cursor:
        cursor.execute(waits[database])
    other = connections.create_connection(database)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE fluxio_django_deduplicationkey SET run_id = %s", [again])
        pruned()
        other.commit()
    finally:
        other.close()
        connections[database].close()
    assert keys.get().run_id == again


def test_batches_are_small_and_a_prune_that_was_stopped_goes_on(
    pipeline: DjangoPipeline, database: str
) -> None:
    for number in range(7):
        pipeline.invoke_sync({}, run_id=f"r{number}")
        age(f"r{number}", 100 + number)
    batches = prune(Tables(database), rows_at_once=6)
    assert next(batches) == Pruned(runs=2, rows=6)
    assert left(database) == ["r0", "r1", "r2", "r3", "r4"]  # the oldest went first
    batches.close()
    assert [batch.rows for batch in prune(Tables(database), rows_at_once=6)] == [6, 6, 3]
    assert left(database) == []


def test_a_run_longer_than_a_batch_is_a_batch(pipeline: DjangoPipeline, database: str) -> None:
    pipeline.invoke_sync({}, run_id="r")
    age("r", 100)
    assert list(prune(Tables(database), rows_at_once=1)) == [Pruned(runs=1, rows=3)]


def test_a_run_that_goes_on_meanwhile_is_left_alone(
    pipeline: DjangoPipeline, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id in ("a", "b"):
        pipeline.invoke_sync({}, run_id=run_id)
        age(run_id, 100)
    locked = retention.lock_runs

    def replayed_first(tables: Tables, wanted: Any, keys: list[int]) -> list[int]:
        Run.objects.using(database).filter(run_id="a").update(status="running", finished_at=None)
        return locked(tables, wanted, keys)

    monkeypatch.setattr(retention, "lock_runs", replayed_first)
    assert pruned().runs == 1
    assert left(database) == ["a"]
    assert Checkpoint.objects.using(database).count() == 3


def test_a_run_that_somebody_has_locked_holds_nobody_up(
    pipeline: DjangoPipeline, database: str
) -> None:
    if not connections[database].features.has_select_for_update_skip_locked:
        pytest.skip("this database locks no rows that could be passed over")
    for run_id in ("a", "b"):
        pipeline.invoke_sync({}, run_id=run_id)
        age(run_id, 100)
    other = connections.create_connection(database)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT id FROM fluxio_django_run WHERE run_id = 'a' FOR UPDATE")
        assert pruned().runs == 1
        assert left(database) == ["a"]
        other.rollback()
    finally:
        other.close()
    assert pruned().runs == 1


def test_the_sweep_prunes_little_by_little_and_rests(
    pipeline: DjangoPipeline, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(recovery, "gardener", Gardener(lambda: now[0]))
    pipeline.invoke_sync({}, run_id="r")
    age("r", 100)
    assert recovery.sweep(database).pruned == 1
    assert recovery.sweep(database).pruned == 0
    pipeline.invoke_sync({}, run_id="s")
    age("s", 100)
    now[0] = 3_599.0
    with CaptureQueriesContext(connections[database]) as resting:
        assert recovery.sweep(database).pruned == 0
    now[0] = 3_601.0
    with CaptureQueriesContext(connections[database]) as working:
        assert recovery.sweep(database).pruned == 1
    assert len(working) > len(resting)


def test_a_prune_inside_a_transaction_of_the_caller_is_undone_with_it(
    pipeline: DjangoPipeline, database: str
) -> None:
    pipeline.invoke_sync({}, run_id="r")
    age("r", 100)
    with transaction.atomic(using=database):
        assert pruned().runs == 1
        transaction.set_rollback(True, using=database)
    assert left(database) == ["r"]
    assert Checkpoint.objects.using(database).count() == 3


def test_the_command_says_what_it_would_do_and_does_it(
    pipeline: DjangoPipeline, database: str, shell: Shell
) -> None:
    for number in range(3):
        pipeline.invoke_sync({}, run_id=f"r{number}")
        age(f"r{number}", 100)
    pipeline.invoke_sync({}, run_id="young")
    assert services.due_to_be_pruned() == [Due(pipeline=NAME, status="succeeded", runs=3, rows=9)]
    assert "3 runs with 9 rows would be deleted." in shell("fluxio_prune", "--dry-run")
    facts = shell.json("fluxio_prune", "--dry-run")
    assert (facts["dry_run"], facts["runs"], facts["items"][0]["pipeline"]) == (True, 3, NAME)
    assert len(left(database)) == 4
    assert "Deleted 3 runs with 9 rows." in shell("fluxio_prune")
    assert left(database) == ["young"]
    assert shell.json("fluxio_prune") == {"dry_run": False, "runs": 0, "rows": 0, "kept": 0}


def test_progress_is_told_while_it_takes_long(
    pipeline: DjangoPipeline, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        pipeline.invoke_sync({}, run_id=f"r{number}")
        age(f"r{number}", 100)
    monkeypatch.setattr(retention, "_RUNS_AT_ONCE", 2)
    command = Command()
    seconds = iter(range(100))
    command.clock = lambda: float(next(seconds))
    assert " 50 %: 2 runs with 6 rows deleted" in shell(command)


@pytest.mark.soak
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.timeout(1800)
def test_a_million_ended_runs_are_pruned_in_bounded_memory(settings: Any) -> None:
    settings.FLUXIO = {"DATABASE": "postgres"}
    with connections["postgres"].cursor() as cursor:
        cursor.execute(_A_MILLION_RUNS)
        cursor.execute(_A_ROW_FOR_EACH)
        cursor.execute("ANALYZE fluxio_django_run, fluxio_django_checkpoint")
    tracemalloc.start()
    try:
        done = pruned()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done == Pruned(runs=500_000, rows=500_000)
    assert Run.objects.using("postgres").count() == 500_000
    assert Checkpoint.objects.using("postgres").count() == 500_000
    assert not Checkpoint.objects.using("postgres").filter(run__run_id__lt="young").exists()
    assert peak < 20 * 1024 * 1024


_A_MILLION_RUNS = """
INSERT INTO fluxio_django_run
    (run_id, pipeline, version, status, attempt, head, ip, step, token, owner, takeovers, parent,
     error, subject_id, created_at, updated_at, started_at, finished_at)
SELECT CASE WHEN i % 2 = 0 THEN 'young-' ELSE 'old-' END || i, 'many', '0123456789abcdef',
       'succeeded', 1, 0, 1, '', i, '', 0, '', '', '', moment, moment, moment, moment
FROM (SELECT i, now() - interval '1 day' * (CASE WHEN i % 2 = 0 THEN 1 ELSE 200 END) AS moment
      FROM generate_series(1, 1000000) AS i) AS made
"""
_A_ROW_FOR_EACH = """
INSERT INTO fluxio_django_checkpoint
    (run_id, sequence, attempt, kind, step, ip, branch, background, version, "full", payload,
     digest, size, duration, tries, created_at)
SELECT id, 0, 1, 'start', '', 0, '', false, version, true, repeat('x', 200), repeat('0', 64), 200,
       0.0, 0, created_at
FROM fluxio_django_run
"""
