"""How our transactions begin and what they lock, whatever the project has set for its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections, models, transaction

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Instance = TypeVar("Instance", bound=models.Model)


def locked(
    found: models.QuerySet[Instance], *, skip_locked: bool = False
) -> models.QuerySet[Instance]:
    """What is found, locked against all who would change it, and not against rows that refer to it.

    On PostgreSQL, that is; other databases know no such difference.
    """
    weaker = connections[found.db].features.has_select_for_no_key_update
    return found.select_for_update(skip_locked=skip_locked, no_key=weaker)


@contextmanager
def own_transaction(alias: str, *, durable: bool = False) -> Iterator[None]:
    """A transaction in which we read before we write; one of the caller goes on as it is."""
    with ExitStack() as stack:
        with _writing_from_its_start(connections[alias]):
            stack.enter_context(transaction.atomic(using=alias, durable=durable))
        yield


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
