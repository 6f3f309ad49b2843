"""What the checks that ask a database have in common."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from fluxio_django.conf import settings


def database_of_runs(databases: Sequence[str] | None) -> BaseDatabaseWrapper | None:
    """The database that keeps runs, None where it is not among those that may be asked."""
    alias = settings().database
    return connections[alias] if alias in (databases or ()) and alias in connections else None


def answer_of(connection: BaseDatabaseWrapper, query: str, *values: str) -> str | None:
    """The first value that a query gives, as text; None where it gives no row."""
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        row = cursor.fetchone()
    return None if row is None else str(row[0])
