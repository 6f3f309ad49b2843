"""System checks: what is wrong with the set-up, before it goes wrong at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio.errors import ConfigurationError
from fluxio_django.clock import CLOCKS
from fluxio_django.conf import default_store, problems, settings


def register_checks() -> None:
    """Make Django run the checks of this module."""
    register(check_settings, "fluxio")
    register(check_store, "fluxio")
    register(check_database_settings, "fluxio")
    register(check_database_servers, Tags.database)


def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """fluxio.E001: FLUXIO has an unknown key. fluxio.E002: one of its values does not fit."""
    return [
        Error(
            problem.message,
            hint=problem.hint,
            obj="settings.FLUXIO",
            id="fluxio.E002" if problem.known else "fluxio.E001",
        )
        for problem in problems()
    ]


def check_store(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """fluxio.E003: FLUXIO["STORE"] leads to no store."""
    try:
        default_store()
    except ConfigurationError as problem:
        message, _separator, remedy = str(problem).rpartition(". Use ")
        return [Error(f"{message}.", hint=f"Use {remedy}", obj="settings.FLUXIO", id="fluxio.E003")]
    return []


def check_database_settings(
    app_configs: Sequence[AppConfig] | None, **_: Any
) -> list[CheckMessage]:
    """fluxio.E004: no such alias. fluxio.E005: a kind of database in which runs cannot be kept."""
    alias = settings().database
    if alias not in connections:
        return [
            Error(
                f"FLUXIO['DATABASE'] is {alias!r}, which is no alias of DATABASES.",
                hint=f"Choose one of: {', '.join(connections)}.",
                obj="settings.FLUXIO",
                id="fluxio.E004",
            )
        ]
    connection = connections[alias]
    if connection.vendor not in CLOCKS:
        return [
            Error(
                f"Database {alias!r} is {connection.display_name}, in which runs cannot be kept.",
                hint="Name a SQLite, PostgreSQL, MariaDB or MySQL database in FLUXIO['DATABASE'].",
                obj="settings.FLUXIO",
                id="fluxio.E005",
            )
        ]
    return []


def check_database_servers(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """fluxio.W001: commits may be lost. fluxio.W002: SQLite lets readers and writers collide.

    Asks the database, so it runs with `manage.py check --database ALIAS` and before `migrate`.
    """
    alias = settings().database
    if alias not in (databases or ()) or alias not in connections:
        return []
    connection = connections[alias]
    found = [_unsafe_commits(connection), _colliding_sqlite(connection)]
    return [message for message in found if message is not None]


# For each kind of server: a query, the answers by which a commit survives a crash, the remedy.
_SAFE_COMMITS = {
    "postgresql": (
        "SHOW synchronous_commit",
        {"on", "local", "remote_write", "remote_apply"},
        "Set synchronous_commit = on for this role or database.",
    ),
    "mysql": (
        "SELECT @@innodb_flush_log_at_trx_commit",
        {"1"},
        "Set innodb_flush_log_at_trx_commit = 1.",
    ),
    "sqlite": (
        "PRAGMA synchronous",
        {"1", "2", "3"},
        "Set PRAGMA synchronous = NORMAL (with WAL) or FULL in OPTIONS['init_command'].",
    ),
}


def _unsafe_commits(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    if connection.vendor not in _SAFE_COMMITS:
        return None
    query, safe, remedy = _SAFE_COMMITS[connection.vendor]
    if _answer(connection, query) in safe:
        return None
    return checks.Warning(
        f"Database {connection.alias!r} reports commits as done before they are on disk; after a "
        "crash, steps that were recorded could run again.",
        hint=remedy,
        id="fluxio.W001",
    )


def _colliding_sqlite(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    if connection.vendor != "sqlite" or _answer(connection, "PRAGMA journal_mode") != "delete":
        return None
    return checks.Warning(
        f"SQLite database {connection.alias!r} is in rollback-journal mode: readers and writers "
        "block each other.",
        hint="Put 'init_command': 'PRAGMA journal_mode=WAL' into its OPTIONS.",
        id="fluxio.W002",
    )


def _answer(connection: BaseDatabaseWrapper, query: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return str(cursor.fetchone()[0]).lower()
