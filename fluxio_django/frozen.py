"""Queries that are asked again and again: put into SQL once per database, then only filled in.

Building and compiling a query takes Django several times as long as carrying it out. What a query
means is still said once, by a query set; `Given` stands in it for a value that every asking has
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections, models
from django.db.models.sql import InsertQuery, UpdateQuery

from fluxio_django.prepared import can_prepare, select_rows

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler


class Given(models.Expression):
    """A value that is given by name when the query is asked, as the driver takes it."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, tuple[Any, ...]]:
        """A placeholder, and this expression as what is to be put there."""
        return "%s", (self,)


def given_text(name: str) -> Any:
    """A text that is given later; it may stand wherever a query set takes a value."""
    return Given(name, models.TextField())


def given_number(name: str) -> Any:
    """A whole number that is given later."""
    return Given(name, models.BigIntegerField())


@dataclass(frozen=True, slots=True)
class Frozen:
    """A query as SQL; its parameters are constants, or `Given`."""

    statement: str
    parameters: tuple[Any, ...]
    columns: tuple[Any, ...] = ()
    """The expressions that are selected, where the values in the database need converting."""

    def filled(self, values: Mapping[str, Any]) -> list[Any]:
        """The parameters, with these values where some are given."""
        return [values[it.name] if type(it) is Given else it for it in self.parameters]

    def rows(self, connection: BaseDatabaseWrapper, values: Mapping[str, Any]) -> list[Any]:
        """What the query finds, as tuples of values, like `values_list`."""
        parameters = self.filled(values)
        if can_prepare(connection):
            found = select_rows(connection, self.statement, parameters)
        else:
            with connection.cursor() as cursor:
                cursor.execute(self.statement, parameters)
                found = cursor.fetchall()
        return list(self._converted(connection, found)) if self.columns else found

    def _converted(
        self, connection: BaseDatabaseWrapper, found: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[Any, ...]]:
        converters = [_converters(connection, column) for column in self.columns]
        for row in found:
            values = list(row)
            for place, (column, convert) in enumerate(zip(self.columns, converters, strict=True)):
                for one in convert:
                    values[place] = one(values[place], column, connection)
            yield tuple(values)


_frozen: dict[tuple[str, Hashable], Frozen] = {}


def frozen_query(alias: str, key: Hashable, build: Callable[[], models.QuerySet[Any]]) -> Frozen:
    """The query that `build` gives, a `values_list`; the key tells it from all others."""
    known = _frozen.get((alias, key))
    if known is None:
        connection, query = connections[alias], build().query
        compiler = query.get_compiler(connection=connection)
        statement, parameters = compiler.as_sql()
        columns = tuple(selected[0] for selected in compiler.select)
        converts = any(_converters(connection, column) for column in columns)
        known = Frozen(statement, tuple(map(_plain, parameters)), columns if converts else ())
        _frozen[alias, key] = known
    return known


def frozen_update(
    alias: str,
    key: Hashable,
    build: Callable[[], tuple[models.QuerySet[Any], Mapping[str, Any]]],
) -> Frozen:
    """The update that `build` gives: of which rows, and what they are set to."""
    known = _frozen.get((alias, key))
    if known is None:
        rows, changes = build()
        query: Any = rows.query.chain(UpdateQuery)
        query.add_update_values(changes)
        query.clear_select_clause()
        statement, parameters = query.get_compiler(connection=connections[alias]).as_sql()
        known = _frozen[alias, key] = Frozen(statement, tuple(map(_plain, parameters)))
    return known


def frozen_insert(alias: str, key: Hashable, build: Callable[[], models.Model]) -> Frozen:
    """The insertion of the instance that `build` gives; its primary key is the database's."""
    known = _frozen.get((alias, key))
    if known is None:
        made = build()
        query: Any = InsertQuery(type(made))
        fields = [field for field in made._meta.concrete_fields if not field.primary_key]
        query.insert_values(fields, [made])
        ((statement, parameters),) = query.get_compiler(connection=connections[alias]).as_sql()
        known = _frozen[alias, key] = Frozen(statement, tuple(map(_plain, parameters)))
    return known


def _plain(value: Any) -> Any:
    """A constant without the subclass that says what it means: drivers are fastest without."""
    match value:
        case bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case _:
            return value


def _converters(connection: BaseDatabaseWrapper, column: Any) -> list[Callable[..., Any]]:
    return [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
