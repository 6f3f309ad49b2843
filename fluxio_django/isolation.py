"""How a transaction of ours begins, whatever those of the project begin like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


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
