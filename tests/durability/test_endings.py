"""How a run ends badly: the failure is recorded, other code is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from fluxio import CheckpointVersionError, Context, Pipeline, stage
from fluxio.types import RunStatus
from fluxio.verification import verify_log
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.houses import House
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]


class Refused(Exception):
    """What a stage raises."""


@stage(version="1")
async def pay(ctx: Context) -> Context:
    return ctx.set("paid", True)


@stage(version="1")
async def refuse(ctx: Context) -> Context:
    if ctx.get("grace"):
        return ctx
    raise Refused("no")


def kept(house: House, nodes: list[Any]) -> DjangoPipeline:
    """A durable pipeline of these nodes."""
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=house.name))
    return made.bound_to(DjangoPipeline, name="endings", store=lambda: DjangoStore(house.name))


def test_a_failure_is_recorded_where_it_happened(relational: House) -> None:
    """G1: the error row names the step, and the run can be resumed from there."""
    pipeline = kept(relational, [pay, refuse])
    with pytest.raises(Refused):
        pipeline.invoke_sync({}, run_id="failed")
    history = pipeline.history_sync("failed")
    assert [(entry.kind.value, entry.step) for entry in history] == [
        ("start", ""),
        ("step", "pay"),
        ("error", "refuse"),
    ]
    assert history[-1].error is not None
    assert (history[-1].error.type, history[-1].error.message) == ("Refused", "no")
    journal = DjangoStore(relational.name).journal()
    record = journal.run_blocking("failed")
    assert record is not None
    assert record.status is RunStatus.FAILED
    assert verify_log(record, journal.rows_blocking("failed"), pipeline.compiled) == []


def made_of(source: str) -> Callable[..., Any]:
    """A stage with this body, as if it stood in another release of the code."""
    scope: dict[str, Any] = {}
    exec(f"async def charge(ctx):\n    return ctx.set('price', {source})\n", scope)
    return stage(scope["charge"])


def test_a_run_of_other_code_is_refused_before_anything_runs(
    relational: House, tally: Tally
) -> None:
    """G9: the code of a stage is part of the version."""
    old, new = (kept(relational, [pay, made_of(price), refuse]) for price in ("100", "200"))
    with pytest.raises(Refused):
        old.invoke_sync({}, run_id="old")
    before = old.history_sync("old")
    with pytest.raises(CheckpointVersionError) as refused:
        new.resume_sync("old")
    assert [line for line in refused.value.changes if "charge" in line]
    assert new.history_sync("old") == before
    tally.add("G9", relational.title)
