"""Group commit: statements that claim or commit many runs of this process at once (PostgreSQL).

Each parameter of the statement for one run becomes an array with a text for every run. A statement
says which runs it has dealt with; the others were lost, locked or taken, and are dealt with one by
one by whoever asked. So what becomes of one run never depends on another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connections, models

from fluxio.store.base import Claim, Commit
from fluxio_django.clock import clock_of
from fluxio_django.prepared import can_prepare, select_texts
from fluxio_django.records import ROW_COLUMNS, Beginning, row_parameters
from fluxio_django.statements import (
    BEGIN_COLUMNS,
    GIVEN_COLUMNS,
    MOVED,
    MOVED_WITH_ROWS,
    PROOF,
    Table,
    begin_parameters,
    column_of,
    fence_parameters,
    storable_note,
    type_of,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_FENCED = (*MOVED, "lease_expires_at", "finished_at", *MOVED_WITH_ROWS)
"""What a commit changes, in the order of `fence_parameters`; `updated_at` moves besides."""
_PROOF = (*PROOF, "head")
"""What has to be as the claim left it, in the order in which `fence_parameters` goes on."""


def can_group(connection: BaseDatabaseWrapper) -> bool:
    """Whether many runs can be dealt with in one statement here."""
    return can_prepare(connection)


def commit_together(
    alias: str, models_used: tuple[Table, Table], commits: Sequence[tuple[Claim, Commit]]
) -> frozenset[str]:
    """Commit one row for each of these runs, and give the ids of those for which it was done.

    A run whose claim is lost, and one whose row somebody has locked, is passed over.
    """
    connection = connections[alias]
    asked = [
        [
            *fence_parameters(claim, commit, connection),
            *row_parameters(claim.run_id, commit.rows[0], connection),
        ]
        for claim, commit in commits
    ]
    statement = _commit_statement(alias, *models_used)
    return frozenset(select_texts(connection, statement, _arrays(asked)))


def begin_together(
    alias: str,
    models_used: tuple[Table, Table],
    beginnings: Sequence[Beginning],
) -> frozenset[str]:
    """Insert runs with their first rows, and give the ids of those that were free."""
    connection = connections[alias]
    asked = []
    for record, note, lease_seconds, row in beginnings:
        noted = storable_note(note, models_used[0], connection)
        run = begin_parameters(record, noted, lease_seconds, connection)
        asked.append([*run, *row_parameters(record.run_id, row, connection)])
    statement = _begin_statement(alias, *models_used)
    return frozenset(select_texts(connection, statement, _arrays(asked)))


def _arrays(asked: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(values) for values in zip(*asked, strict=True)]


@cache
def _commit_statement(alias: str, run: Table, checkpoint: Table) -> str:
    connection = connections[alias]
    quote, clock = connection.ops.quote_name, clock_of(connection)
    table, key = quote(run._meta.db_table), quote(column_of(run, "id"))
    new = {name: f"new_{name}" for name in _FENCED}
    old = {name: f"old_{name}" for name in _PROOF}
    values = {name: f"held.{new[name]}::{type_of(connection, run, name)}" for name in _FENCED}
    values["lease_expires_at"] = clock.later.replace(
        "%s", f"held.{new['lease_expires_at']}::double precision"
    )
    values["finished_at"] = f"CASE WHEN held.{new['finished_at']}::boolean THEN {clock.now} END"
    values["updated_at"] = clock.now
    values["takeovers"] = "0"
    changes = ", ".join(f"{quote(column_of(run, name))} = {text}" for name, text in values.items())
    proof = " AND ".join(
        f"{table}.{quote(column_of(run, name))} = {_compared(connection, run, name, old[name])}"
        for name in _PROOF
    )
    given = [*new.values(), *old.values()]
    return (
        f"WITH given AS ({_given([*given, *_row_fields()])}), "  # noqa: S608
        f"held AS (SELECT {table}.{key} AS run_key, given.* FROM given JOIN {table} ON {proof} "
        f"FOR NO KEY UPDATE OF {table} SKIP LOCKED), "
        f"moved AS (UPDATE {table} SET {changes} FROM held WHERE {table}.{key} = held.run_key "
        f"RETURNING held.*), "
        f"added AS ({_add_rows(connection, checkpoint, 'moved')}) "
        f"SELECT {old['run_id']} FROM moved"
    )


@cache
def _begin_statement(alias: str, run: Table, checkpoint: Table) -> str:
    connection = connections[alias]
    quote, clock = connection.ops.quote_name, clock_of(connection)
    table, key = quote(run._meta.db_table), quote(column_of(run, "id"))
    columns = [quote(column_of(run, name)) for name in BEGIN_COLUMNS]
    fields = [f"new_{name}" for name in BEGIN_COLUMNS[: GIVEN_COLUMNS + 2]]
    values = [
        f"{field}::{type_of(connection, run, name)}"
        for field, name in zip(fields, BEGIN_COLUMNS[:GIVEN_COLUMNS], strict=False)
    ]
    lease, ended = fields[GIVEN_COLUMNS:]
    values.append(clock.later.replace("%s", f"{lease}::double precision"))
    values.append(f"CASE WHEN {ended}::boolean THEN {clock.now} END")
    values += [clock.now] * (len(BEGIN_COLUMNS) - len(values))
    run_id = quote(column_of(run, "run_id"))
    return (
        f"WITH given AS ({_given([*fields, *_row_fields()])}), "  # noqa: S608
        f"begun AS (INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {', '.join(values)} FROM given ON CONFLICT ({run_id}) DO NOTHING "
        f"RETURNING {key} AS run_key, {run_id} AS begun_id), "
        f"known AS (SELECT begun.run_key, begun.begun_id, given.* FROM begun JOIN given "
        f"ON begun.begun_id = {_compared(connection, run, 'run_id', 'new_run_id')}), "
        f"added AS ({_add_rows(connection, checkpoint, 'known')}) "
        f"SELECT begun_id FROM begun"
    )


def _given(fields: Sequence[str]) -> str:
    arrays = ", ".join(["%s::text[]"] * len(fields))
    return f"SELECT * FROM unnest({arrays}) AS given({', '.join(fields)})"  # noqa: S608


def _row_fields() -> list[str]:
    return [f"row_{name}" for name in ROW_COLUMNS]


def _add_rows(connection: BaseDatabaseWrapper, checkpoint: Table, source: str) -> str:
    quote = connection.ops.quote_name
    columns = [quote(column_of(checkpoint, name)) for name in ("run", *ROW_COLUMNS)]
    values = [
        f"{field}::{type_of(connection, checkpoint, name)}"
        for field, name in zip(_row_fields(), ROW_COLUMNS, strict=True)
    ]
    return (
        f"INSERT INTO {quote(checkpoint._meta.db_table)} ({', '.join(columns)}) "  # noqa: S608
        f"SELECT {source}.run_key, {', '.join(values)} FROM {source}"
    )


def _compared(connection: BaseDatabaseWrapper, model: Table, name: str, field: str) -> str:
    """A given value as it is compared with a column, under the column's own collation."""
    kind = type_of(connection, model, name)
    column = model._meta.get_field(name)
    assert isinstance(column, models.Field)
    collation = column.db_parameters(connection).get("collation")
    shown = f" COLLATE {connection.ops.quote_name(collation)}" if collation else ""
    return f"given.{field}::{kind}{shown}"
