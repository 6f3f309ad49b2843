"""A statement that writes is told from one that reads by its text, wherever its verb stands."""

import time

import pytest

from fluxio_django.verbs import writes

INSERT = "INSERT INTO shop (name) VALUES ('a')"

WRITING = [
    INSERT,
    "\n  /* SELECT */ -- SELECT\n update shop set name = 'a'",
    "WITH n(v) AS (SELECT 'ghost') INSERT INTO shop(name) SELECT v FROM n",
    "with n as (select 1) update shop set name = 'a'",
    "WITH n AS (SELECT 1) UPDATE \"shop\" SET name = 'a'",
    "WITH n AS (SELECT 1) DELETE FROM shop",
    "WITH n AS (SELECT 1)\nMERGE INTO shop USING n ON true WHEN MATCHED THEN DELETE",
    "WITH n AS (SELECT 1) REPLACE INTO shop (name) SELECT 'a'",
    "WITH n AS (SELECT 1) INSERT OR REPLACE INTO shop (name) SELECT 'a'",
    "WITH gone AS (DELETE FROM shop RETURNING *) SELECT * FROM gone",
    "WITH gone AS NOT MATERIALIZED ( /* all */ DELETE FROM shop RETURNING *) SELECT * FROM gone",
    "WITH a AS (SELECT 1), b AS (UPDATE shop SET name = 'a' RETURNING *) SELECT * FROM b",
    f"EXPLAIN ANALYZE {INSERT}",
    f"EXPLAIN ANALYZE VERBOSE {INSERT}",
    f"explain (costs off, analyze) {INSERT}",
    f"EXPLAIN ANALYZE FORMAT=TREE {INSERT}",
    "EXPLAIN ANALYZE WITH n AS (SELECT 'a') INSERT INTO shop SELECT * FROM n",
    f"ANALYZE {INSERT}",
    f"ANALYZE FORMAT=JSON {INSERT}",
    "DO $$BEGIN INSERT INTO shop(name) VALUES('a'); END$$",
    f"BEGIN NOT ATOMIC {INSERT}; END",
    "CALL restock()",
    f"SELECT 1; {INSERT}",
    f"SELECT ';'; SELECT 2; {INSERT};",
]

READING = [
    "SELECT 1",
    "SELECT 'a; DELETE FROM shop'",
    "SELECT 1 -- ; DELETE FROM shop",
    "SELECT 1; SELECT 2;",
    "SELECT * FROM shop FOR UPDATE",
    "WITH n AS (SELECT 1) SELECT * FROM n",
    "WITH n AS (SELECT 1) SELECT * FROM n FOR UPDATE",
    "WITH n AS (SELECT 1) SELECT * FROM (SELECT * FROM n) AS m FOR UPDATE SKIP LOCKED",
    "WITH n AS (SELECT ') INSERT INTO shop' AS \") UPDATE shop\") SELECT * FROM n",
    "WITH n AS (SELECT 1 /* ) DELETE FROM shop */) SELECT replace(name, 'a', 'b') FROM shop",
    "WITH n AS (SELECT $x$) INSERT INTO shop$x$) SELECT * FROM n",
    "WITH n AS (SELECT inserted, updated, deleted FROM shop) SELECT * FROM n",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "EXPLAIN (ANALYZE, BUFFERS) WITH n AS (SELECT 1) SELECT * FROM n",
    f"EXPLAIN {INSERT}",
    f"EXPLAIN (COSTS OFF) {INSERT}",
    "EXPLAIN QUERY PLAN SELECT 1",
    "DESCRIBE shop",
    "ANALYZE shop",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "SAVEPOINT a",
    "PRAGMA foreign_keys",
    "SHOW TABLES",
    "",
    ";",
]


@pytest.mark.parametrize("sql", WRITING)
def test_what_writes_is_recognised(sql: str) -> None:
    assert writes(sql)


@pytest.mark.parametrize("sql", READING)
def test_what_reads_is_let_through(sql: str) -> None:
    assert not writes(sql)


@pytest.mark.parametrize(
    "piece", ["/*", "--", "'", '"', "`", "$a$", "(", "$", "AS (", ") ", "EXPLAIN ANALYZE "]
)
def test_the_look_takes_no_time_whatever_a_statement_is_made_of(piece: str) -> None:
    began = time.process_time()
    for start in ("WITH ", "EXPLAIN ANALYZE ", "SELECT 1; "):
        writes(start + piece * 20_000)
    assert time.process_time() - began < 5.0
