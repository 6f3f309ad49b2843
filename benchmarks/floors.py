"""Floors: what writing the same amount costs with nothing but the driver of the database.

A row of the floor can be found again by run and number, as the least of all logs could, and each is
a commit of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import connections

SMALL = "x" * 60
"""As much as a step of the small workloads writes."""

_INSERT = "INSERT INTO floor_row VALUES (%s, %s, %s)"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS floor_row "
    "(run TEXT, number INTEGER, payload TEXT, PRIMARY KEY (run, number))"
)
_runs = itertools.count()


def raw_inserts(rows: int, payload: str = SMALL, alias: str = "default") -> float:
    """Seconds that so many raw INSERTs take, one after another."""
    insert = _inserter(alias)
    run = f"{next(_runs):032}"
    began = time.perf_counter()
    for number in range(rows):
        insert((run, number, payload))
    return time.perf_counter() - began


def raw_inserts_at_once(runs: int, rows: int, at_once: int) -> float:
    """Seconds that the rows of many runs take, row by row, on a connection for each run at work."""
    return asyncio.run(_at_once(runs, rows, at_once))


def raw_selects(rows: int, payload: str) -> float:
    """Seconds for reading back so many rows of one run, which were written just before."""
    raw_inserts(rows, payload)
    run = f"{next(_runs) - 1:032}"
    connection = _raw_connection("default")
    began = time.perf_counter()
    found = connection.execute(
        "SELECT payload FROM floor_row WHERE run = %s ORDER BY number", (run,)
    ).fetchall()
    seconds = time.perf_counter() - began
    assert len(found) == rows
    return seconds


@cache
def _inserter(alias: str) -> Callable[[tuple[Any, ...]], Any]:
    connection = _raw_connection(alias)
    connection.execute(_TABLE)
    cursor = connection.cursor()
    statement = _INSERT if connections[alias].vendor != "sqlite" else _INSERT.replace("%s", "?")
    return lambda row: cursor.execute(statement, row)


@cache
def _raw_connection(alias: str) -> Any:
    """A connection of the driver itself, to the database that Django uses, in autocommit."""
    known = connections[alias]
    if known.vendor == "sqlite":
        raw = sqlite3.connect(known.settings_dict["NAME"], isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            raw.execute(f"PRAGMA {pragma}")
        return raw
    import psycopg

    return psycopg.connect(_address(alias), autocommit=True)


def _address(alias: str) -> str:
    from benchmarks.project import server_url

    return server_url(str(connections[alias].settings_dict["NAME"]))


async def _at_once(runs: int, rows: int, at_once: int) -> float:
    import psycopg

    _inserter("default")
    pool: asyncio.Queue[Any] = asyncio.Queue()
    for _ in range(at_once):
        connection = await psycopg.AsyncConnection.connect(_address("default"), autocommit=True)
        pool.put_nowait(connection)

    async def one(run: str) -> None:
        connection = await pool.get()
        cursor = connection.cursor()
        for number in range(rows):
            await cursor.execute(_INSERT, (run, number, SMALL))
        pool.put_nowait(connection)

    names = [f"{next(_runs):032}" for _ in range(runs)]
    began = time.perf_counter()
    await asyncio.gather(*map(one, names))
    seconds = time.perf_counter() - began
    while not pool.empty():
        await pool.get_nowait().close()
    return seconds
