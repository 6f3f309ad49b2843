"""Transactions of ours that a process which stands still inside them cannot keep open for ever."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.db import Error, connections

from fluxio_django.isolation import own_transaction, transaction_of_stage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_LEASES_OF_IDLING = 2
"""How long a process that stopped may keep rows locked against its heir, in leases."""
_LEVELS_THAT_FOLLOW = ("read committed", "read uncommitted")
"""At these a statement sees what others have committed before it."""


@contextmanager
def bounded_transaction(
    alias: str, lease_seconds: float, *, of_stage: bool = False
) -> Iterator[bool]:
    """A transaction that the server gives up when nothing is heard of it for two leases.

    One in which a stage asks as well is durable, and as isolated as the project wants. Gives
    whether it may not change a row that others have changed since it began: so it is above READ
    COMMITTED on PostgreSQL, and on newer servers of MariaDB.

    PostgreSQL counts milliseconds and MariaDB whole seconds; long statements are not affected.
    MySQL and SQLite know no such limit, and a transaction of the caller keeps its own.
    """
    connection = connections[alias]
    idle_seconds = longest_idling(lease_seconds)
    ours = not connection.in_atomic_block
    with (
        _bounded_session(connection, idle_seconds if ours else None),
        transaction_of_stage(alias) if of_stage else own_transaction(alias),
    ):
        level = _bound(connection, idle_seconds) if ours else _LEVELS_THAT_FOLLOW[0]
        yield level not in _LEVELS_THAT_FOLLOW


def _bound(connection: BaseDatabaseWrapper, idle_seconds: float) -> str | None:
    """Set the limit where it is one of the transaction, and give the level of isolation."""
    match connection.vendor:
        case "postgresql":
            milliseconds = max(1, round(idle_seconds * 1000))
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('transaction_isolation'), "
                    "set_config('idle_in_transaction_session_timeout', %s, true)",
                    [str(milliseconds)],
                )
                return str(cursor.fetchone()[0])
        case "mysql":
            mysql: Any = connection
            level: str | None = mysql.isolation_level  # None is the server's own
            return level
        case _:
            return _LEVELS_THAT_FOLLOW[0]  # nobody else can write meanwhile


def longest_idling(lease_seconds: float) -> float:
    """For how many seconds a transaction under such a lease may stand still."""
    return lease_seconds * _LEASES_OF_IDLING


@contextmanager
def _bounded_session(connection: BaseDatabaseWrapper, idle_seconds: float | None) -> Iterator[None]:
    """MariaDB has the limit for a whole session, so that it is taken back after the transaction."""
    if idle_seconds is None or not is_mariadb(connection):
        yield
        return
    _set(
        connection,
        "SET @fluxio_idle = @@SESSION.idle_transaction_timeout, "
        "SESSION idle_transaction_timeout = %s",
        max(1, math.ceil(idle_seconds)),
    )
    try:
        yield
    finally:
        # Where the connection is lost its settings are, too.
        if connection.connection is not None:
            with suppress(Error):
                _set(connection, "SET SESSION idle_transaction_timeout = @fluxio_idle")


def is_mariadb(connection: BaseDatabaseWrapper) -> bool:
    """Whether it is MariaDB, and not the MySQL that Django takes it for."""
    return bool(getattr(connection, "mysql_is_mariadb", False))


def _set(connection: BaseDatabaseWrapper, statement: str, *values: str | int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
