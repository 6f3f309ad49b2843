"""Checks of the database that keeps runs, as far as settings tell."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage
from django.db import connections

from fluxio_django.checks.ids import CheckID
from fluxio_django.clock import CLOCKS
from fluxio_django.conf import settings


def check_database_settings(app_configs: object, **_: Any) -> list[CheckMessage]:
    """No such alias; a kind of database in which runs cannot be kept."""
    alias = settings().database
    if alias not in connections:
        return [
            CheckID.UNKNOWN_DATABASE.message(
                f"FLUXIO['DATABASE'] is {alias!r}, which is no alias of DATABASES.",
                hint=f"Choose one of: {', '.join(connections)}.",
                obj="settings.FLUXIO",
            )
        ]
    connection = connections[alias]
    if connection.vendor not in CLOCKS:
        return [
            CheckID.UNFIT_DATABASE.message(
                f"Database {alias!r} is {connection.display_name}, in which runs cannot be kept.",
                hint="Name a SQLite, PostgreSQL, MariaDB or MySQL database in FLUXIO['DATABASE'].",
                obj="settings.FLUXIO",
            )
        ]
    return _shared_sqlite(alias, connection.vendor)


def _shared_sqlite(alias: str, vendor: str) -> list[CheckMessage]:
    if vendor != "sqlite" or settings().dispatcher not in ("celery", "tasks"):
        return []
    return [
        CheckID.SHARED_SQLITE.message(
            f"Runs are kept in SQLite database {alias!r} and executed by workers in other "
            "processes: only one of them can write at a time.",
            hint="Use PostgreSQL, MariaDB or MySQL, or FLUXIO['DISPATCHER'] = 'inline'.",
            obj="settings.FLUXIO",
        )
    ]
