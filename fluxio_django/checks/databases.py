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
    return []
