"""What a checkpoint and a resume cost, counted in bytes, statements and rows, never in time."""

import random
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import Sum

from fluxio import Context, Pipeline, stage
from fluxio.store.base import Row
from fluxio.testing.conformance.samples import commit, opening, step_row
from fluxio_django import DjangoStore
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.querysets import RunQuerySet
from fluxio_django.records import ROW_FIELDS
from tests.durability.harness.houses import House
from tests.proofs.sizes import Size

pytestmark = pytest.mark.durability

STAGES, KILOBYTES = 100, 10
MOST_BYTES = 1_300_000
MOST_TIMES_FLOOR = 1.3
HISTORIES = (1, 1_000, 10_000)
FEW, MANY, MANY_IN_SOAK = 100, 1_000, 10_000
MOST_TIMES = 2.5
SAVEPOINT = re.compile(r"\bs\d+_x\d+\b")
"""A name that is new each time."""


def pipeline_in(house: House, nodes: list[Any]) -> DjangoPipeline:
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=house.name))
    return made.bound_to(DjangoPipeline, name="costs", store=lambda: DjangoStore(house.name))


def text_of(number: int) -> str:
    """Ten kilobytes that no database can compress."""
    signs = string.ascii_letters + string.digits + "+/"
    return "".join(random.Random(number).choices(signs, k=KILOBYTES * 1024))


def adding(number: int) -> Any:
    """A stage that adds ten kilobytes."""
    text = text_of(number)

    def add(ctx: Context) -> Context:
        return ctx.set(f"k{number}", text)

    return stage(name=f"s{number}", version="1")(add)


def kept_bytes(*tables: str) -> int:
    """What PostgreSQL's files hold: tables, indexes, and what lies beside them."""
    with connections["postgres"].cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name",
            [list(tables)],
        )
        return int(cursor.fetchone()[0])


def floor_bytes() -> int:
    """What PostgreSQL's files hold for the same texts in a table of nothing else."""
    with connections["postgres"].cursor() as cursor:
        cursor.execute("CREATE TABLE fluxio_floor (number integer, payload text)")
        try:
            for number in range(STAGES):
                cursor.execute(
                    "INSERT INTO fluxio_floor VALUES (%s, %s)", [number, text_of(number)]
                )
            return kept_bytes("fluxio_floor")
        finally:
            cursor.execute("DROP TABLE fluxio_floor")


def test_a_checkpoint_costs_what_its_stage_wrote(relational: House) -> None:
    """100 stages that add 10 KB each: 1.3 MB of payloads; PostgreSQL's files grow by 1.3 x those
    of a table that keeps the texts and nothing else."""
    tables = [Run._meta.db_table, Checkpoint._meta.db_table]
    pipeline = pipeline_in(relational, [adding(number) for number in range(STAGES)])
    before = kept_bytes(*tables) if relational.name == "postgres" else 0
    pipeline.invoke_sync({}, run_id="growing")
    rows = Checkpoint.objects.using(relational.name).filter(run__run_id="growing")
    payloads = rows.aggregate(total=Sum("size"))["total"]
    assert STAGES * KILOBYTES * 1024 < payloads <= MOST_BYTES
    if relational.name == "postgres":
        assert kept_bytes(*tables) - before <= MOST_TIMES_FLOOR * floor_bytes()


def with_history(house: House, rows: int) -> Any:
    """A claim of a run that has so many rows behind it."""
    run_id = f"history-{rows}"
    journal = DjangoStore(house.name).journal()
    claim = journal.open_blocking(opening(run_id))
    run = Run.objects.using(house.name).get(run_id=run_id)
    made = [step_row(run_id, sequence, {"n": sequence}) for sequence in range(1, rows + 1)]
    Checkpoint.objects.using(house.name).bulk_create(
        [
            Checkpoint(run=run, size=row.size, **{name: getattr(row, name) for name in ROW_FIELDS})
            for row in made
        ],
        batch_size=500,
    )
    Run.objects.using(house.name).filter(pk=run.pk).update(head=rows)
    return replace(claim, head=rows)


@contextmanager
def seen_statements(alias: str) -> Iterator[list[str]]:
    """The statements that this thread asks for in the block, without their values."""
    statements: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(SAVEPOINT.sub("savepoint", sql))
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(note):
        yield statements


def touched(alias: str) -> int:
    """How many rows this transaction (this session, on MariaDB) has read or written so far."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd) "
                "FROM pg_stat_xact_user_tables WHERE relname LIKE 'fluxio_django_%%'"
            )
            return int(cursor.fetchone()[0])
        if connection.vendor == "mysql":
            cursor.execute(
                "SELECT sum(variable_value) FROM information_schema.session_status "
                "WHERE variable_name IN ('HANDLER_READ_FIRST', 'HANDLER_READ_KEY', "
                "'HANDLER_READ_NEXT', 'HANDLER_READ_RND', 'HANDLER_WRITE', 'HANDLER_UPDATE')"
            )
            return int(cursor.fetchone()[0])
    return 0  # SQLite does not say


def test_what_a_checkpoint_takes_does_not_grow_with_the_history(relational: House) -> None:
    """After 1, 1,000 and 10,000 steps: the same statements, and as many rows read and written."""
    journal = DjangoStore(relational.name).journal()
    claims = [with_history(relational, history) for history in HISTORIES]
    if relational.name == "postgres":
        # Else autovacuum may do so between two measurements, and the plan changes.
        with connections["postgres"].cursor() as cursor:
            cursor.execute("ANALYZE")
    costs = []
    for history, claim in zip(HISTORIES, claims, strict=True):
        row = step_row(claim.run_id, history + 1, {"n": 1})
        with transaction.atomic(using=relational.name):
            before = touched(relational.name)
            with seen_statements(relational.name) as statements:
                journal.commit_blocking(claim, commit(row))
            rows = touched(relational.name) - before
        assert Run.objects.using(relational.name).get(run_id=claim.run_id).head == history + 1
        costs.append((rows, statements))
    assert costs[0] == costs[1] == costs[2]
    rows, statements = costs[0]
    assert statements
    assert rows > 0 or relational.name == "default"


def overwriting(steps: int) -> list[Any]:
    """Stages that overwrite the same three keys, and a last one that fails."""

    def body(number: int) -> Any:
        def write(ctx: Context) -> Context:
            return ctx.set(f"k{number % 3}", number)

        return stage(name=f"s{number}", version="1")(write)

    @stage(version="1")
    def fail(ctx: Context) -> Context:
        raise ConnectionError("no")

    return [*map(body, range(steps)), fail]


def test_a_resume_of_a_long_run_reads_hardly_more_than_that_of_a_short_one(
    relational: House, monkeypatch: pytest.MonkeyPatch, size: Size
) -> None:
    """With 1,000 rows (10,000 in a soak) at most 2.5 times the rows and bytes of 100."""
    read: list[Row] = []
    log = RunQuerySet.log

    def counting(runs: Any, *place: Any) -> list[Row]:
        found = log(runs, *place)
        read.extend(found)
        return found

    monkeypatch.setattr(RunQuerySet, "log", counting)
    costs = []
    for steps in (FEW, size.trials(pull_request=MANY, soak=MANY_IN_SOAK)):
        pipeline = pipeline_in(relational, overwriting(steps))
        with pytest.raises(ConnectionError):
            pipeline.invoke_sync({}, run_id=f"long-{steps}")
        read.clear()
        with (
            seen_statements(relational.name) as statements,
            pytest.raises(ConnectionError),
        ):
            pipeline.resume_sync(f"long-{steps}")
        costs.append((len(read), sum(row.size for row in read), len(statements)))
    short, long = costs
    assert all(many <= MOST_TIMES * few for few, many in zip(short, long, strict=True)), costs
