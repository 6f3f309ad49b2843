"""The database's own clock, the only one that leases go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import models

from fluxio.errors import ConfigurationError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseClock:
    """SQL for the time of the statement, in UTC. `later` takes one parameter; NULL gives NULL."""

    now: str
    later: str


# Django's own Now() is in the session's time zone on MySQL, so it cannot be compared with columns.
CLOCKS = {
    "postgresql": DatabaseClock(
        now="STATEMENT_TIMESTAMP()",
        later="(STATEMENT_TIMESTAMP() + %s * INTERVAL '1 second')",
    ),
    "sqlite": DatabaseClock(
        now="STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')",
        later="STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s)",
    ),
    "mysql": DatabaseClock(
        now="UTC_TIMESTAMP(6)",
        later="(UTC_TIMESTAMP(6) + INTERVAL %s MICROSECOND)",
    ),
}


def clock_of(connection: BaseDatabaseWrapper) -> DatabaseClock:
    """The clock of a database.

    Raises:
        ConfigurationError: runs cannot be kept in this kind of database.
    """
    try:
        return CLOCKS[connection.vendor]
    except KeyError:
        raise ConfigurationError(
            f"Database {connection.alias!r} is {connection.display_name}; runs can be kept in "
            "SQLite, PostgreSQL, MariaDB and MySQL. Name such a database in FLUXIO['DATABASE']."
        ) from None


_INSTANTS = {
    "postgresql": ("STATEMENT_TIMESTAMP()", "(STATEMENT_TIMESTAMP() + INTERVAL '{:f} seconds')"),
    "sqlite": ("'NOW'", "'NOW', '{:+f} seconds'"),
    "mysql": ("UTC_TIMESTAMP(6)", "(UTC_TIMESTAMP(6) + INTERVAL {:f} SECOND)"),
}


def moved(statement: str, seconds: float, vendor: str) -> str:
    """A statement of ours as it reads so many seconds later; for tests that move the clock."""
    instant, later = _INSTANTS[vendor]
    return statement.replace(instant, later.format(seconds))


def seconds_parameter(seconds: float | None, connection: BaseDatabaseWrapper) -> Any:
    """The parameter of `DatabaseClock.later` for so many seconds; None gives NULL."""
    if seconds is None:
        return None
    match connection.vendor:
        case "sqlite":
            return f"{seconds:+.6f} seconds"
        case "mysql":
            return round(seconds * 1_000_000)
        case _:
            return float(seconds)


class DatabaseTime(models.Expression):
    """The time of the statement, `seconds` later where given, for use in querysets.

    Seconds that are an expression become the parameter as they are.
    """

    def __init__(self, seconds: float | models.Expression | None = None) -> None:
        super().__init__(output_field=models.DateTimeField())
        self.seconds = seconds

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """The SQL and its parameters."""
        if self.seconds is None:
            return clock_of(connection).now, ()
        if isinstance(self.seconds, models.Expression):
            return clock_of(connection).later, (self.seconds,)
        return clock_of(connection).later, (seconds_parameter(self.seconds, connection),)
