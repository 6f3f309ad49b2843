"""`manage.py check` says what is wrong with the set-up, each with an id and a remedy."""

from collections.abc import Iterator

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections
from django.test import override_settings

ALL = ["default", "postgres", "mariadb"]


def found(**options: object) -> dict[str, CheckMessage]:
    messages = checks.run_checks(**options)
    return {message.id: message for message in messages if message.id.startswith("fluxio.")}


def test_a_sound_project_has_nothing_to_be_told() -> None:
    with override_settings(FLUXIO={}):
        assert found() == {}


def test_e001_an_unknown_key() -> None:
    with override_settings(FLUXIO={"LEESE_SECONDS": 30}):
        assert "LEASE_SECONDS" in found()["fluxio.E001"].hint


def test_e001_a_setting_that_is_no_dict() -> None:
    with override_settings(FLUXIO=[("LEASE_SECONDS", 30)]):
        assert "list" in found()["fluxio.E001"].msg


def test_e002_a_value_that_does_not_fit() -> None:
    with override_settings(FLUXIO={"LEASE_SECONDS": "soon"}):
        message = found()["fluxio.E002"]
    assert message.level == checks.ERROR
    assert message.hint == "Give a number of seconds above 0."


@pytest.mark.parametrize("path", ["fluxio_django.NoStore", "fluxio.Pipeline"])
def test_e003_a_path_that_leads_to_no_store(path: str) -> None:
    with override_settings(FLUXIO={"STORE": path}):
        message = found()["fluxio.E003"]
    assert path in message.msg
    assert message.hint.startswith("Use the dotted path of a store")


def test_e004_an_alias_that_is_not_in_databases() -> None:
    with override_settings(FLUXIO={"DATABASE": "archive"}):
        message = found()["fluxio.E004"]
    assert "'archive'" in message.msg
    assert "default" in message.hint


def test_e005_a_kind_of_database_that_cannot_keep_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    with override_settings(FLUXIO={"DATABASE": "default"}):
        assert "PostgreSQL" in found(tags=["fluxio"])["fluxio.E005"].hint


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
