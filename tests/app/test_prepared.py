"""Constant statements are planned once per connection, and never in a way that could go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from fluxio.testing.conformance.samples import commit, opening, row
from fluxio_django import DjangoStore, prepared_cursor
from fluxio_django.journal import DjangoJournal
from fluxio_django.prepared import can_prepare, execute, select_rows, select_texts
from fluxio_django.prepared_cursor import PreparedCursor

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["postgres"]),
]

ADD = "INSERT INTO prepared_numbers VALUES (%s)"
LISTED = "SELECT * FROM unnest(%s::text[])"
EACH = ["a", 'b"\\', "7", "t"]
UNUSUAL = {
    UUID(int=7): "00000000000000000000000000000007",
    Decimal("1.50"): "1.50",
    date(2026, 2, 28): "2026-02-28",
}
"""Values of types that hardly any statement of ours has."""
PREPARED = "SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements"


@pytest.fixture
def connection() -> Iterator[BaseDatabaseWrapper]:
    connection = connections["postgres"]
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE prepared_numbers (number bigint)")
    yield connection
    connection.close()


def ask(connection: BaseDatabaseWrapper, sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def numbers(connection: BaseDatabaseWrapper) -> list[int]:
    return [number for (number,) in ask(connection, "SELECT number FROM prepared_numbers")]


def test_a_statement_is_planned_once_and_carried_out_often(
    connection: BaseDatabaseWrapper,
) -> None:
    assert [execute(connection, ADD, [number]) for number in (1, 2, 3)] == [1, 1, 1]
    assert ask(connection, PREPARED) == [("INSERT INTO prepared_numbers VALUES ($1)", 3)]
    assert numbers(connection) == [1, 2, 3]


def test_all_commits_of_a_run_share_one_plan(connection: BaseDatabaseWrapper) -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("planned"))
    for number in (1, 2, 3):
        journal.commit_blocking(claim, commit(row(number)))
    plans = {text.split()[3]: times for text, times in ask(connection, PREPARED)}
    assert plans == {"(INSERT": 1, "(UPDATE": 3}


def test_the_query_log_and_the_wrappers_of_django_see_them(
    connection: BaseDatabaseWrapper,
) -> None:
    heard: list[tuple[str, list[int]]] = []

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        heard.append((sql, list(params)))
        return execute(sql, params, many, context)

    with CaptureQueriesContext(connection) as log, connection.execute_wrapper(listen):
        execute(connection, ADD, [7])
    assert [query["sql"] for query in log] == ["INSERT INTO prepared_numbers VALUES (7)"]
    assert heard == [(ADD, [7])]


def test_the_query_log_shows_lists_as_the_server_takes_them(
    connection: BaseDatabaseWrapper,
) -> None:
    with CaptureQueriesContext(connection) as log:
        assert select_texts(connection, LISTED, [["a", None, 'b"\\', 7, True]]) == EACH
    (shown,) = (query["sql"] for query in log)
    with connection.cursor() as cursor:
        cursor.execute(shown)
        assert [text for (text,) in cursor.fetchall()] == ["a", None, 'b"\\', "7", "True"]


def test_a_statement_that_a_wrapper_stops_fails_as_the_wrapper_says(
    connection: BaseDatabaseWrapper,
) -> None:
    class Stopped(Exception):
        pass

    def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise Stopped

    with (
        CaptureQueriesContext(connection),
        connection.execute_wrapper(stop),
        pytest.raises(Stopped),
    ):
        execute(connection, ADD, [7])
    assert numbers(connection) == []


def test_a_cursor_that_was_asked_nothing_has_nothing(connection: BaseDatabaseWrapper) -> None:
    cursor = PreparedCursor(connection.connection)
    assert (cursor.rowcount, cursor.texts(), cursor.rows()) == (-1, [], [])


def test_values_of_any_type_arrive_as_the_driver_writes_them(
    connection: BaseDatabaseWrapper,
) -> None:
    for value, text in UNUSUAL.items():
        given = [value, 1, None]
        assert select_rows(connection, "SELECT %s::text, %s::int, %s::text", given) == [
            (text, 1, None)
        ]
        for many in ([value, value], [value, None, "x"], [value]):
            expected = [text if one is value else one for one in many if one is not None]
            assert select_texts(connection, LISTED, [many]) == expected


def test_inside_a_transaction_nothing_is_prepared(connection: BaseDatabaseWrapper) -> None:
    with transaction.atomic(using="postgres"):
        assert not can_prepare(connection)
        execute(connection, ADD, [1])
        assert ask(connection, PREPARED) == []
    assert can_prepare(connection)
    assert numbers(connection) == [1]


def test_a_statement_that_the_server_has_forgotten_is_prepared_again(
    connection: BaseDatabaseWrapper,
) -> None:
    execute(connection, ADD, [1])
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    execute(connection, ADD, [2])
    assert numbers(connection) == [1, 2]
    assert len(ask(connection, PREPARED)) == 1


def test_what_somebody_else_prepared_on_the_connection_is_the_same_statement(
    connection: BaseDatabaseWrapper,
) -> None:
    execute(connection, ADD, [1])
    prepared_cursor._known.clear()
    execute(connection, ADD, [2])
    assert numbers(connection) == [1, 2]
    assert ask(connection, PREPARED)[0][1] == 2


def test_behind_a_pooler_that_forgets_at_once_it_works_all_the_same(
    connection: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PreparedCursor, "_prepare", lambda self, named: None)
    assert execute(connection, ADD, [5]) == 1
    assert numbers(connection) == [5]


def test_two_statements_never_share_a_name(connection: BaseDatabaseWrapper) -> None:
    execute(connection, ADD, [1])
    execute(connection, "DELETE FROM prepared_numbers WHERE number = %s", [1])
    assert numbers(connection) == []
    assert len(ask(connection, "SELECT DISTINCT name FROM pg_prepared_statements")) == 2


def test_a_text_is_refused_rather_than_cut_off(connection: BaseDatabaseWrapper) -> None:
    with pytest.raises(DataError, match="NUL"):
        execute(connection, "INSERT INTO prepared_numbers SELECT length(%s)", ["a\x00b"])
    assert numbers(connection) == []


def test_what_the_server_refuses_is_the_error_that_django_raises(
    connection: BaseDatabaseWrapper,
) -> None:
    with pytest.raises(DataError) as refused:
        execute(connection, ADD, ["no number"])
    assert getattr(refused.value.__cause__, "sqlstate", None) == "22P02"
    execute(connection, ADD, [1])


def test_a_connection_that_is_gone_is_an_operational_error(
    connection: BaseDatabaseWrapper,
) -> None:
    execute(connection, ADD, [1])
    with pytest.raises(OperationalError):
        ask(connection, "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OperationalError):
        execute(connection, ADD, [2])


def test_a_journal_goes_on_over_a_connection_that_was_replaced(
    connection: BaseDatabaseWrapper,
) -> None:
    journal: DjangoJournal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("moved"))
    journal.commit_blocking(claim, commit(row(1)))
    connection.close()
    journal.commit_blocking(claim, commit(row(2)))
    assert [kept.sequence for kept in journal.rows_blocking("moved")] == [0, 1, 2]
