"""What the errors of a database mean: try again, connect anew, or give up."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar

from django.db import (
    DataError,
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connections,
)

from fluxio.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Result = TypeVar("Result")

PAUSES = (0.0, 0.02, 0.1, 0.3, 1.0, 2.0)
"""Seconds to wait before each new try, on average; there is one try more than pauses."""

RACES = 10
"""How often a run may change between being seen and being changed."""

# Serialization failure, deadlock, lock not available.
_POSTGRESQL_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_POSTGRESQL_NO_CHARACTER = "22P05"  # untranslatable
# Record changed since last read, lock wait timeout, deadlock.
_MYSQL_CONFLICTS = frozenset({1020, 1205, 1213})
_MYSQL_NO_CHARACTER = 1366  # incorrect string value; Django calls it operational
_SQLITE_CONFLICTS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_PRIMARY_CODE = 0xFF

# A server that is stopped, has crashed or is starting; class 08 is about connections as well.
_POSTGRESQL_AWAY = frozenset({"57P01", "57P02", "57P03"})
# Shutdown in progress, connection killed, cannot connect, gone away, lost during a query.
_MYSQL_AWAY = frozenset({1053, 1927, 2002, 2003, 2006, 2013, 2055})


class Fault(Enum):
    """What to do about a database error."""

    CONFLICT = auto()
    """Others were in the way and nothing was applied: try again."""
    LOST = auto()
    """The connection failed, so the outcome is unknown: connect anew, look, and try again."""
    FATAL = auto()
    """It would fail again."""


def fault_of(error: Error, connection: BaseDatabaseWrapper) -> Fault:
    """Tell the faults apart by the driver's own code."""
    cause = error.__cause__
    match connection.vendor:
        case "postgresql":
            conflict = getattr(cause, "sqlstate", None) in _POSTGRESQL_CONFLICTS
        case "mysql":
            conflict = bool(error.args) and error.args[0] in _MYSQL_CONFLICTS
        case _:
            code = getattr(cause, "sqlite_errorcode", None) or 0
            conflict = code & _SQLITE_PRIMARY_CODE in _SQLITE_CONFLICTS
    if conflict:
        return Fault.CONFLICT
    if _lacks_character(error):
        return Fault.FATAL
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return Fault.LOST
    return Fault.FATAL


def is_away(error: Error, connection: BaseDatabaseWrapper) -> bool:
    """Whether the server could not be reached, or let go of the connection.

    A connection that PostgreSQL closes because its transaction idles for too long is no such case.
    """
    cause = error.__cause__
    match connection.vendor:
        case "postgresql":
            state = getattr(cause, "sqlstate", "unknown")
            return state is None or state in _POSTGRESQL_AWAY or state.startswith("08")
        case "mysql":
            return bool(error.args) and error.args[0] in _MYSQL_AWAY
        case _:
            return False


def surely(alias: str, work: Callable[[], Result]) -> Result:
    """Call `work` until the database answers, a bounded number of times.

    `work` is repeated after conflicts and lost connections, so it has to recognise what an earlier
    try of it did. In a transaction of the caller nothing is repeated: it is broken by then.

    Raises:
        StoreError: the database failed for good.
    """
    for pause in (*PAUSES, None):
        try:
            return work()
        except Error as error:
            connection = connections[alias]
            fault = fault_of(error, connection)
            if pause is None or fault is Fault.FATAL or connection.in_atomic_block:
                raise store_error(alias, error) from error
            if fault is Fault.LOST:
                connection.close()
        wait(pause)
    raise AssertionError("the last try returns or raises")


def changed_too_often(run_id: str, what: str) -> StoreError:
    """The error for a run that others changed, or seemed to change, each time it was looked at."""
    return StoreError(
        f"Run {run_id!r} changed {RACES} times while it was being {what}. Try again, and outside "
        "of the surrounding transaction if that reads what was there when it began (REPEATABLE "
        "READ)."
    )


def wait(seconds: float) -> None:
    """Let others go first; the time is spread, so that rivals do not meet again."""
    time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311


def _lacks_character(error: Error) -> bool:
    untranslatable = getattr(error.__cause__, "sqlstate", None) == _POSTGRESQL_NO_CHARACTER
    return untranslatable or error.args[:1] == (_MYSQL_NO_CHARACTER,)


def store_error(alias: str, error: Error) -> StoreError:
    """The error for what a database could not do; it says whether it may be able to later."""
    reason = str(error).partition("\n")[0]
    remedy = "What was recorded before is untouched; resume the run when the database is back."
    if isinstance(error, ProgrammingError) or reason.startswith("no such table"):
        remedy = "Run `manage.py migrate` on it."
    elif _lacks_character(error):
        remedy = "It has no place for a character; see `manage.py check --database`."
    elif isinstance(error, DataError):
        remedy = "A value does not fit its column; shorten the pipeline's or the stage's name."
    fatal = fault_of(error, connections[alias]) is Fault.FATAL
    kind = StoreError if fatal else StoreUnavailableError
    return kind(f"Database {alias!r} failed: {reason}. {remedy}", alias=alias)
