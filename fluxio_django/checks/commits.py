"""Checks that ask the database whether what it says is committed stays committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio_django.checks.asking import answer_of, database_of_runs
from fluxio_django.checks.ids import CheckID


def check_commits(
    app_configs: object, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Commits that a crash can undo; SQLite whose readers and writers collide."""
    connection = database_of_runs(databases)
    if connection is None:
        return []
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
    if str(answer_of(connection, query)).lower() in safe:
        return None
    return CheckID.UNSAFE_COMMITS.message(
        f"Database {connection.alias!r} reports commits as done before they are on disk; after a "
        "crash, steps that were recorded could run again.",
        hint=remedy,
    )


def _colliding_sqlite(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    if connection.vendor != "sqlite":
        return None
    if str(answer_of(connection, "PRAGMA journal_mode")).lower() != "delete":
        return None
    return CheckID.COLLIDING_SQLITE.message(
        f"SQLite database {connection.alias!r} is in rollback-journal mode: readers and writers "
        "block each other.",
        hint="Put 'init_command': 'PRAGMA journal_mode=WAL' into its OPTIONS.",
    )
