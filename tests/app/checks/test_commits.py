"""`manage.py check --database` says when a commit may be lost, or readers and writers collide."""

from collections.abc import Iterator

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from tests.app.checks.found import found


def test_a_sound_database_has_nothing_to_be_told(database: str) -> None:
    with override_settings(FLUXIO={"DATABASE": database}):
        assert found(databases=[database]) == {}


def test_the_database_is_asked_only_when_that_is_wanted(
    database: str,
) -> None:
    no_query = connections[database].execute_wrapper(lambda *call: pytest.fail("a query"))
    with override_settings(FLUXIO={"DATABASE": database}), no_query:
        assert found() == {}


@pytest.fixture
def careless(database: str) -> Iterator[str]:
    """A connection whose commits do not wait for the disk."""
    connection = connections[database]
    if connection.vendor == "mysql":
        pytest.skip("there it is a setting of the whole server")
    with connection.cursor() as cursor:
        setting = {
            "postgresql": "SET synchronous_commit = off",
            "sqlite": "PRAGMA synchronous = OFF",
        }
        cursor.execute(setting[connection.vendor])
    yield database
    connection.close()


def test_w001_commits_that_a_crash_can_undo(careless: str) -> None:
    with override_settings(FLUXIO={"DATABASE": careless}):
        message = found(databases=[careless])["fluxio.W001"]
    assert message.level == checks.WARNING
    assert "synchronous" in message.hint


@pytest.mark.django_db(transaction=True)
def test_w002_sqlite_whose_readers_and_writers_block_each_other() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode = DELETE")
        assert cursor.fetchone() == ("delete",)
    try:
        with override_settings(FLUXIO={"DATABASE": "default"}):
            assert "WAL" in found(databases=["default"])["fluxio.W002"].hint
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
