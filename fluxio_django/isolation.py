"""How our transactions begin and what they lock, whatever the project has set for its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import Error, connections, models, transaction

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Found = TypeVar("Found", bound=models.QuerySet[Any])


def locked(found: Found, *, skip_locked: bool = False) -> Found:
    """What is found, locked against all who would change it, and not against rows that refer to it.

    On PostgreSQL, that is; other databases know no such difference.
    """
    weaker = connections[found.db].features.has_select_for_no_key_update
    return found.select_for_update(skip_locked=skip_locked, no_key=weaker)


def commits_nothing(connection: BaseDatabaseWrapper) -> bool:
    """Whether what is written here stays in a transaction that only the caller can commit.

    That is so without autocommit, outside of `atomic()`, which says when it commits.
    """
    if connection.in_atomic_block:
        return False
    is_open = connection.connection is not None
    return not (connection.autocommit if is_open else connection.settings_dict["AUTOCOMMIT"])


@contextmanager
def own_transaction(alias: str) -> Iterator[None]:
    """A transaction in which nobody but us asks anything; one of the caller goes on as it is."""
    with _reading_what_is_committed(connections[alias]), _atomic(alias, durable=False):
        yield


@contextmanager
def transaction_of_stage(alias: str) -> Iterator[None]:
    """A transaction in which a stage asks as well, at the level of isolation the project wants."""
    with _atomic(alias, durable=True):
        yield


@contextmanager
def _atomic(alias: str, *, durable: bool) -> Iterator[None]:
    with ExitStack() as stack:
        with _writing_from_its_start(connections[alias]):
            stack.enter_context(transaction.atomic(using=alias, durable=durable))
        yield


@contextmanager
def _reading_what_is_committed(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """PostgreSQL's transactions are READ COMMITTED, if they begin in here.

    Above that, what one reads after it has waited for a lock is from before it waited.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    connection.close_if_health_check_failed()
    if not connection.get_autocommit():
        yield
        return
    raw: Any = connection.connection
    wanted, level = raw.isolation_level, _read_committed()
    if wanted == level:
        yield
        return
    raw.isolation_level = level
    try:
        yield
    finally:
        if connection.connection is raw:
            with suppress(Error), connection.wrap_database_errors:  # a lost one keeps no level
                raw.isolation_level = wanted


@cache
def _read_committed() -> Any:
    """Imported at first use: projects without PostgreSQL may have no driver for it."""
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    return IsolationLevel.READ_COMMITTED


@contextmanager
def _writing_from_its_start(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """SQLite's transactions have the lock for writing from their start, if they begin in here.

    One that gets it later fails, and cannot wait, when anybody has written since it first read:
    and while a stage is executed its own heartbeat writes, and its progress.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()  # which sets the mode that the project wants
    sqlite: Any = connection
    wanted = sqlite.transaction_mode
    sqlite.transaction_mode = "EXCLUSIVE" if wanted == "EXCLUSIVE" else "IMMEDIATE"
    try:
        yield
    finally:
        sqlite.transaction_mode = wanted
