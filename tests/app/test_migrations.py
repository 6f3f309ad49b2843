"""Tables that older versions made and filled are brought up to date while others write to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from fluxio import Context, stage
from fluxio.pipeline import Pipeline
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline

APP = "fluxio_django"
OLDER = ["0001_initial", "0002_queueing"]
NEWEST = "0004_links"
LATER = {"fluxio_run_by_error", "fluxio_run_by_queue", "fluxio_run_by_version", "fluxio_run_due"}


def migrate(database: str, name: str) -> None:
    executor = MigrationExecutor(connections[database])
    executor.migrate([(APP, name)])


def indexes(database: str) -> set[str]:
    with connections[database].cursor() as cursor:
        table = Run._meta.db_table
        return set(connections[database].introspection.get_constraints(cursor, table))


@pytest.fixture
def restored(database: str) -> Iterator[str]:
    """A database whose tables are up to date again after the test."""
    yield database
    migrate(database, NEWEST)


def pipeline(database: str, calls: list[str]) -> DjangoPipeline:
    @stage(version="1")
    def reserve(ctx: Context) -> Context:
        calls.append("reserve")
        return ctx.set("reserved", True)

    @stage(version="1")
    def charge(ctx: Context) -> Context:
        calls.append("charge")
        if calls.count("charge") == 1:
            raise ValueError("the card")
        return ctx.set("charged", True)

    store = DjangoStore(using=database)
    made = Pipeline([reserve, charge], durable=True, checkpoint_store=store)
    return made.bound_to(DjangoPipeline, name="tests", store=lambda: store)


def test_the_newest_migration_is_the_one_tested_here() -> None:
    graph = MigrationLoader(None).graph
    assert graph.leaf_nodes(APP) == [(APP, NEWEST)]


@pytest.mark.parametrize("older", OLDER)
def test_a_run_goes_on_whose_rows_stood_in_older_tables(restored: str, older: str) -> None:
    calls: list[str] = []
    orders = pipeline(restored, calls)
    with pytest.raises(ValueError, match="the card"):
        orders.invoke_sync({}, run_id="r")
    migrate(restored, older)
    assert not indexes(restored) & LATER
    migrate(restored, NEWEST)
    assert indexes(restored) >= LATER
    assert dict(orders.resume_sync("r")) == {"reserved": True, "charged": True}
    assert calls == ["reserve", "charge", "charge"]
    assert Run.objects.using(restored).get().queue == "default"


def test_what_was_broken_off_between_two_indexes_is_carried_on(restored: str) -> None:
    connection = connections[restored]
    migrate(restored, OLDER[-1])
    done, unfinished = [it for it in Run._meta.indexes if it.name in LATER][:2]
    with connection.schema_editor() as editor:
        editor.add_index(Run, done)
        editor.add_index(Run, unfinished)
    if connection.vendor == "postgresql":
        _set_valid(restored, unfinished.name, valid=False)
    migrate(restored, NEWEST)
    assert indexes(restored) >= LATER
    if connection.vendor == "postgresql":
        assert all(_is_valid(restored, name) for name in LATER)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_nobody_waits_for_an_index_that_waits_for_somebody() -> None:
    import psycopg

    connection = connections["postgres"]
    for run_id in ("busy", "free"):
        Run.objects.using("postgres").create(run_id=run_id, pipeline="p", version="v")
    migrate("postgres", OLDER[-1])
    migrating = threading.Thread(target=_migrate_in_a_thread)
    with psycopg.connect(**connection.get_connection_params()) as long:
        long.execute("UPDATE fluxio_django_run SET head = 1 WHERE run_id = 'busy'")
        migrating.start()
        _wait_for_the_index(migrating)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
            cursor.execute("UPDATE fluxio_django_run SET head = 2 WHERE run_id = 'free'")
            assert cursor.rowcount == 1
            cursor.execute("RESET lock_timeout")
        assert migrating.is_alive()
        long.rollback()
    migrating.join(60)
    assert indexes("postgres") >= LATER


def _migrate_in_a_thread() -> None:
    try:
        migrate("postgres", NEWEST)
    finally:
        connections.close_all()


def _wait_for_the_index(migrating: threading.Thread) -> None:
    waiting = (
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX%'"
    )
    while migrating.is_alive():
        with connections["postgres"].cursor() as cursor:
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                return
    pytest.fail("the index waited for nobody")


def _set_valid(database: str, name: str, *, valid: bool) -> None:
    with connections[database].cursor() as cursor:
        change = "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = to_regclass(%s)"
        cursor.execute(change, [valid, name])


def _is_valid(database: str, name: str) -> bool:
    with connections[database].cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
        return bool(cursor.fetchone()[0])
