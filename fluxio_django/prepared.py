"""How the constant statements of the hot path are sent: each is parsed and planned only once.

Django binds parameters on the client, so that the server sees a new text every time, and planning
it costs more than carrying it out. Here a statement is prepared once per connection (see
`prepared_cursor`), unless a transaction is open, which a statement that is missing would break.

SQLite's driver knows what it has prepared by its text; there, Django's own way round to it is what
costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from fluxio_django.prepared_cursor import PreparedCursor


def execute(connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]) -> int:
    """Carry out a statement that is sent again and again, and give the number of its rows.

    Django's execute wrappers and query log see it as they see any other.
    """
    if not can_prepare(connection):
        with connection.cursor() as plain:
            plain.execute(statement, parameters)
            return int(plain.rowcount)
    return _carried_out(connection, statement, parameters).rowcount


def select_texts(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]
) -> list[str]:
    """Do as `execute` where `can_prepare`, and give the texts in the first column of the answer.

    Parameters that are lists become arrays of texts.
    """
    return _carried_out(connection, statement, parameters).texts()


def select_rows(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """Do as `execute` where `can_prepare`, and give the rows of the answer as the driver does."""
    return _carried_out(connection, statement, parameters).rows()


def _carried_out(
    connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]
) -> PreparedCursor:
    cursor = _cursor_class()(connection.connection)
    if connection.execute_wrappers or connection.queries_logged:
        bare: Any = cursor
        wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
        wrap(bare).execute(statement, parameters)
        return cursor
    try:
        cursor.execute(statement, parameters)
    except Exception:
        with connection.wrap_database_errors:
            raise
    return cursor


Work = Sequence[tuple[str, Sequence[Any]]]
"""Statements with their parameters, in order."""


def transact(connection: BaseDatabaseWrapper, work: Work) -> int:
    """Carry out statements in a transaction of their own, where `can_transact`.

    Gives the number of rows of the last one; where that is 0, nothing was done.
    """
    raw: Any = connection.connection
    changed = 0
    try:
        raw.execute("BEGIN IMMEDIATE")
        try:
            for statement, parameters in work:
                changed = raw.execute(_with_question_marks(statement), parameters).rowcount
            raw.execute("COMMIT" if changed else "ROLLBACK")
        except BaseException:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            raise
    except Exception:
        with connection.wrap_database_errors:
            raise
    return changed


def can_transact(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction may be made past Django: on SQLite, where nobody listens or is in one.

    Opens the connection where that is due.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return False
    if connection.execute_wrappers or connection.queries_logged:
        return False
    if connection.connection is None:
        connection.ensure_connection()
    return bool(connection.autocommit)


@cache
def _with_question_marks(statement: str) -> str:
    return statement.replace("%s", "?").replace("%%", "%")


def can_prepare(connection: BaseDatabaseWrapper) -> bool:
    """Whether statements are prepared here: PostgreSQL by psycopg 3, outside of transactions.

    Opens the connection where that is due.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block or not _driver_prepares():
        return False
    connection.close_if_health_check_failed()
    if connection.connection is None:
        connection.ensure_connection()
    return bool(connection.autocommit)


@cache
def _driver_prepares() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


@cache
def _cursor_class() -> type[PreparedCursor]:
    """Imported at first use: projects without PostgreSQL may have no psycopg."""
    from fluxio_django.prepared_cursor import PreparedCursor

    return PreparedCursor
