"""Rows that an earlier release stored are read by this one, and their runs go on."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fluxio import Context
from fluxio.codec import DEFAULT_CODEC, isolated_types
from fluxio.codec.registry import CONTAINERS
from fluxio.codec.scalars import LEAVES
from fluxio.diff import compare
from fluxio.runtime.history import Log
from fluxio.store.base import Row, RowKind
from fluxio.store.payload import Body, open_row
from fluxio.types import RunStatus
from fluxio.verification import verify_log
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.records import RECORD_FIELDS, ROW_FIELDS
from tests.durability.harness.archive import (
    PLANS,
    SCENES,
    Archived,
    every_value,
    read_archive,
    register_values,
)
from tests.durability.harness.houses import House
from tests.durability.harness.plans import INITIAL, expect
from tests.proofs.tally import Tally

pytestmark = pytest.mark.durability

ARCHIVE = dict(read_archive())
A_DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def values_known() -> Iterator[None]:
    """The archived values' classes are registered, for as long as a test lasts."""
    with isolated_types():
        register_values()
        yield


def restore(house: House, archived: Archived) -> DjangoPipeline:
    """Put a run into the tables as it was stored, and give the pipeline that it belongs to."""
    record, rows = archived.record, archived.rows
    facts = {name: getattr(record, name) for name in RECORD_FIELDS}
    facts |= {"owner": record.owner or "", "parent": record.parent or ""}
    if record.owner is not None:
        facts["lease_expires_at"] = record.created_at - A_DAY  # whose owner has gone since
    run = Run.objects.using(house.name).create(**facts)
    stored = [
        Checkpoint(run=run, size=row.size, **{name: getattr(row, name) for name in ROW_FIELDS})
        for row in rows
    ]
    Checkpoint.objects.using(house.name).bulk_create(stored)
    return house.pipeline(archived.plan, PLANS[archived.plan])


def bodies_of(archived: Archived) -> list[Body]:
    """What stands in its rows."""
    return [open_row(archived.record.run_id, row) for row in archived.rows]


@pytest.mark.parametrize("name", ARCHIVE)
def test_an_archived_row_is_read_as_it_was_meant(name: str, tally: Tally) -> None:
    """G27: digest, body and values of every row."""
    archived = ARCHIVE[name]
    assert verify_log(archived.record, archived.rows) == []
    bodies = bodies_of(archived)
    tally.add("G27", "memory", len(bodies))
    initial = bodies[0].lanes
    assert initial is not None
    scene = SCENES[archived.record.run_id.removeprefix("archived-")]
    assert DEFAULT_CODEC.encode(initial[""].values) == DEFAULT_CODEC.encode(scene.values())


@pytest.mark.parametrize("name", ARCHIVE)
def test_an_archived_run_goes_on_where_it_stood(relational: House, name: str, tally: Tally) -> None:
    """G27: it ends with the values that its stages set, then and now."""
    archived = ARCHIVE[name]
    pipeline = restore(relational, archived)
    run_id = archived.record.run_id
    result = pipeline.resume_sync(run_id)
    record, rows = relational.record_and_rows(run_id)
    assert record is not None
    assert record.status is RunStatus.SUCCEEDED
    assert rows[: len(archived.rows)] == archived.rows
    assert verify_log(record, rows, pipeline.compiled) == []
    routes = {row.step: open_row(run_id, row).route for row in rows if row.kind is RowKind.STEP}
    initial = Log.open(run_id, rows[:1]).values()
    expected = expect(PLANS[archived.plan], {k: v for k, v in routes.items() if v is not None})
    if archived.record.run_id == "archived-every-value":
        assert set(result) - set(every_value()) == expected.values.keys() - INITIAL.keys()
        return
    assert compare(initial, Context.create(SCENES["begun"].values())) == {}
    assert compare(Log.open(run_id, rows).values(), Context.create(expected.values)) == {}
    tally.add("G27", relational.title)


def test_the_archive_holds_rows_of_every_sort_and_values_of_every_type() -> None:
    """G27: otherwise it would prove little."""
    rows: list[Row] = [row for archived in ARCHIVE.values() for row in archived.rows]
    assert {row.kind for row in rows} == set(RowKind)
    assert {row.full for row in rows if row.kind is RowKind.STEP} == {True, False}
    assert {row.background for row in rows} == {True, False}
    assert {row.attempt for row in rows} >= {1, 2}
    assert any(row.branch.count("/") > 1 for row in rows)
    assert any('"saved":' in row.payload for row in rows)
    assert any('"route":"' in row.payload for row in rows)
    assert {archived.record.status for archived in ARCHIVE.values()} >= {
        RunStatus.RUNNING,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
        RunStatus.SUCCEEDED,
    }
    kept = "".join(row.payload for row in rows)
    tags = {leaf.tag for leaf in LEAVES.values()} - {"$windows_path"}  # only Windows makes those
    tags |= {f"${cls.__name__.lower()}" for cls in CONTAINERS - {list}}
    assert [tag for tag in sorted(tags) if f'{{"{tag}":' not in kept] == []
