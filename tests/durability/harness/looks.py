"""A look at each statement of a connection, also at those of SQLite that pass Django by."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

Result = TypeVar("Result")

Look = Callable[..., Any]
"""A wrapper as Django takes them: of `execute(sql, params, many, context)`, and what it takes."""

_PLACE = "_fluxio_looks"
_OPENING = ("PRAGMA", "select sqlite_")
"""How Django's statements on a new connection begin; where one fails it is dropped unclosed."""


@contextmanager
def looking(connection: BaseDatabaseWrapper, look: Look) -> Iterator[None]:
    """Let `look` carry out what a connection is asked for while the block runs."""
    look_on(connection, look)
    try:
        yield
    finally:
        _looks_of(connection).remove(look)


def look_on(connection: BaseDatabaseWrapper, look: Look) -> None:
    """Let it do so from now on, once.

    On SQLite `execute_wrappers` would keep our own statements from being sent past Django; there
    the connection itself is one that can be watched, its COMMITs included.
    """
    looks = _looks_of(connection)
    if look not in looks:
        looks.append(look)


def _looks_of(connection: BaseDatabaseWrapper) -> list[Look]:
    if connection.vendor != "sqlite":
        return connection.execute_wrappers
    known: list[Look] | None = getattr(connection, _PLACE, None)
    if known is None:
        known = []
        setattr(connection, _PLACE, known)
        usual, watched = connection.get_connection_params, _watched(known)
        connection.get_connection_params = lambda: {  # type: ignore[method-assign]
            **usual(),
            "factory": watched,
        }
        connection.close()  # what was opened before is not watched
    return known


def _watched(looks: list[Look]) -> type[sqlite3.Connection]:
    def seen(sql: str, carry_out: Callable[[], Result], parameters: Any, many: bool) -> Result:
        def execute(sql: str, parameters: Any, many: bool, context: Any) -> Any:
            return carry_out()

        if sql.startswith(_OPENING):
            return carry_out()
        todo = execute
        for look in looks:
            todo = _around(look, todo)
        return todo(sql, parameters, many, {})

    class Watched(sqlite3.Connection):
        def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
            class Cursor(factory):  # type: ignore[misc]
                def execute(self, sql: str, parameters: Any = ()) -> Any:
                    return seen(
                        sql, lambda: super(Cursor, self).execute(sql, parameters), (), False
                    )

                def executemany(self, sql: str, parameters: Any) -> Any:
                    return seen(sql, partial(super().executemany, sql, parameters), (), True)

            return super().cursor(Cursor)

        def execute(self, sql: str, parameters: Any = ()) -> Any:
            return self.cursor().execute(sql, parameters)

        def commit(self) -> None:
            seen("COMMIT", super().commit, (), False)

    return Watched


def _around(look: Look, todo: Callable[..., Any]) -> Callable[..., Any]:
    return lambda sql, parameters, many, context: look(todo, sql, parameters, many, context)
