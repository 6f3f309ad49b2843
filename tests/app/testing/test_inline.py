"""What a test enqueues is executed in the test's own transaction, when it would be dispatched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction

from fluxio import Context, Pipeline, RunFailedError, RunStatus, stage
from fluxio.testing.clock import ManualClock
from fluxio_django import register
from fluxio_django.conf import settings
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.testing import InlineRuns
from tests.app.queueing.shop import executed, registered


@pytest.fixture
def checkout(db: None) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline


def test_a_run_is_executed_at_once_outside_of_any_block(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    assert connection.in_atomic_block
    handle = checkout.enqueue_sync({"order": 7})
    assert handle.status() is RunStatus.SUCCEEDED
    assert handle.result(timeout=0)["charged"] == 7


def test_a_run_is_executed_when_the_outermost_block_has_ended(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    with transaction.atomic():
        with transaction.atomic():
            handle = checkout.enqueue_sync({"order": 7})
        assert handle.status() is RunStatus.QUEUED
        assert executed == []
    assert handle.status() is RunStatus.SUCCEEDED


def test_a_rollback_leaves_nothing_to_execute(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        checkout.enqueue_sync({"order": 7})
        raise ZeroDivisionError
    checkout.enqueue_sync({"order": 8})
    assert {order for _, order in executed} == {"8"}


def test_stages_see_what_the_test_has_not_committed(fluxio_inline: InlineRuns) -> None:
    @stage
    def count(ctx: Context) -> Context:
        return ctx.set("groups", Group.objects.filter(name="of this test").count())

    register("testing.count", Pipeline([count], durable=True))
    try:
        Group.objects.create(name="of this test")
        final = pipelines["testing.count"].enqueue_sync({}).result(timeout=0)
    finally:
        pipelines.remove("testing.count")
    assert final["groups"] == 1


async def test_a_coroutine_test_enqueues_and_reads_the_result(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    handle = await checkout.enqueue({"order": 7})
    assert (await handle.aresult(timeout=0))["charged"] == 7


def test_what_a_stage_raised_is_told_by_the_handle(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    handle = checkout.enqueue_sync({"order": 7, "card": "refused"})
    with pytest.raises(RunFailedError, match="the card was refused"):
        handle.result(timeout=0)


def test_a_run_that_enqueues_another_comes_to_its_end_first(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    @stage
    def order_more(ctx: Context) -> Context:
        checkout.enqueue_sync({"order": 9})
        executed.append(("ordered", "9"))
        return ctx

    register("testing.more", Pipeline([order_more], durable=True))
    try:
        pipelines["testing.more"].enqueue_sync({})
    finally:
        pipelines.remove("testing.more")
    assert executed == [("ordered", "9"), ("reserve", "9"), ("charge", "9")]


def test_a_countdown_waits_for_the_clock_and_the_sweep(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns, fluxio_clock: ManualClock
) -> None:
    handle = checkout.enqueue_sync({"order": 7}, countdown=3600)
    fluxio_inline.sweep()
    assert handle.status() is RunStatus.QUEUED
    fluxio_clock.advance(3601)
    fluxio_inline.sweep()
    assert handle.status() is RunStatus.SUCCEEDED


def test_functions_of_others_still_wait_for_a_commit(
    checkout: DjangoPipeline, fluxio_inline: InlineRuns
) -> None:
    told: list[str] = []
    with transaction.atomic():
        transaction.on_commit(lambda: told.append("committed"))
        checkout.enqueue_sync({"order": 7})
    assert told == []
    assert len(executed) == 2


def test_afterwards_everything_is_as_it_was(db: None) -> None:
    chosen, before = settings().dispatcher, set(vars(connections["default"]))
    with InlineRuns():
        assert settings().dispatcher == "eager"
        assert "on_commit" in vars(connections["default"])
    assert settings().dispatcher == chosen
    assert set(vars(connections["default"])) == before


@pytest.mark.django_db(transaction=True)
def test_a_test_that_commits_executes_at_the_commit(fluxio_inline: InlineRuns) -> None:
    with registered() as checkout:
        assert not connection.in_atomic_block
        with transaction.atomic():
            handle = checkout.enqueue_sync({"order": 7})
            assert executed == []
        assert handle.status() is RunStatus.SUCCEEDED
