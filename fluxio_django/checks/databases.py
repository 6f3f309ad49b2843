"""Checks of the database that keeps runs, as far as settings tell."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio_django.checks.ids import CheckID
from fluxio_django.clock import CLOCKS
from fluxio_django.conf import settings


def check_database_settings(app_configs: object, **_: Any) -> list[CheckMessage]:
    """No such alias; a database, or a way to use it, in which runs cannot be kept."""
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
    found = [
        _no_autocommit(connection),
        _routed_away(alias),
        _shared_sqlite(alias, connection),
        _shifted_times(connection),
    ]
    return [message for message in found if message is not None]


def _no_autocommit(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    if connection.settings_dict["AUTOCOMMIT"]:
        return None
    return CheckID.NO_AUTOCOMMIT.message(
        f"Database {connection.alias!r} has AUTOCOMMIT = False: steps that count as recorded would "
        "be in an open transaction, and lost with it.",
        hint="Remove AUTOCOMMIT from it, or name an alias of its own in FLUXIO['DATABASE'].",
        obj="settings.DATABASES",
    )


def _routed_away(alias: str) -> CheckMessage | None:
    if router.allow_migrate_model(alias, apps.get_model("fluxio_django", "Run")):
        return None
    return CheckID.ROUTED_AWAY.message(
        f"Runs are kept in database {alias!r}, but a router of DATABASE_ROUTERS does not let "
        "fluxio_django have tables there.",
        hint=f"Have its allow_migrate({alias!r}, 'fluxio_django') return True, or name the "
        "database that the router means in FLUXIO['DATABASE'].",
        obj="settings.DATABASE_ROUTERS",
    )


def _shared_sqlite(alias: str, connection: BaseDatabaseWrapper) -> CheckMessage | None:
    if connection.vendor != "sqlite" or settings().dispatcher not in ("celery", "tasks"):
        return None
    return CheckID.SHARED_SQLITE.message(
        f"Runs are kept in SQLite database {alias!r} and executed by workers in other "
        "processes: only one of them can write at a time.",
        hint="Use PostgreSQL, MariaDB or MySQL, or FLUXIO['DISPATCHER'] = 'inline'.",
        obj="settings.FLUXIO",
    )


def _shifted_times(connection: BaseDatabaseWrapper) -> CheckMessage | None:
    zone = connection.settings_dict["TIME_ZONE"]
    if zone in (None, "UTC") or connection.features.supports_timezones:
        return None
    return CheckID.SHIFTED_TIMES.message(
        f"Database {connection.alias!r} has TIME_ZONE = {zone!r}. Times of runs are written by its "
        "clock in UTC, since a local time comes twice when the clocks are set back; Django would "
        "read them as local times, hours off.",
        hint="Remove TIME_ZONE from it; or add an alias for the same database without TIME_ZONE, "
        "and name it in FLUXIO['DATABASE'].",
        obj="settings.DATABASES",
    )
