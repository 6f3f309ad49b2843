"""A test moves the clock, in the runtime and in the database, and never waits."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connections
from django.utils import timezone

from fluxio import Context, Pipeline, RunIDInUseError, RunStatus, stage
from fluxio.nodes import RetryPolicy
from fluxio.runtime.environment import default_environment
from fluxio.testing.clock import ManualClock
from fluxio.testing.conformance.samples import opening
from fluxio_django import DjangoStore, recovery
from fluxio_django.clock import clock_of
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.testing import DurableClock

HOUR = 3600.0


def now(alias: str) -> datetime:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {clock_of(connections[alias]).now}", [])
        (found,) = cursor.fetchone()
    return datetime.fromisoformat(str(found)).replace(tzinfo=None)


def test_the_databases_clock_moves_with_ours(database: str) -> None:
    before = now(database)
    with DurableClock(database) as clock:
        clock.advance(HOUR)
        ahead = (now(database) - before).total_seconds()
    assert HOUR <= ahead < HOUR + 60
    assert (now(database) - before).total_seconds() < 60


def test_a_lease_ends_when_the_clock_says_so(database: str) -> None:
    journal = DjangoStore(database).journal()
    with DurableClock(database) as clock:
        journal.open_blocking(opening("r", lease_seconds=30, owner="elsewhere:1"))
        clock.advance(29)
        assert recovery.to_take_over(database) == []
        clock.advance(2)
        assert [seen.record.run_id for seen in recovery.to_take_over(database)] == ["r"]
        renewed = journal.open_blocking(opening("r2", lease_seconds=30, owner="elsewhere:1"))
        clock.advance(29)
        journal.leasing.renew([renewed])
        clock.advance(29)
        assert [seen.record.run_id for seen in recovery.to_take_over(database)] == ["r"]


def test_recorded_times_are_those_of_the_clock(db: None, fluxio_clock: ManualClock) -> None:
    fluxio_clock.advance(HOUR)
    DjangoStore().journal().open_blocking(opening("r"))
    ahead = (Run.objects.get(run_id="r").created_at - timezone.now()).total_seconds()
    assert HOUR - 60 < ahead <= HOUR


def test_a_pause_before_a_retry_takes_no_time(db: None, fluxio_clock: ManualClock) -> None:
    tries: list[float] = []

    @stage(retry=RetryPolicy(max_attempts=3, backoff="fixed", base_delay=HOUR))
    async def flaky(ctx: Context) -> Context:
        tries.append(fluxio_clock.monotonic())
        if len(tries) < 3:
            raise ConnectionError
        return ctx.set("done", True)

    pipeline = Pipeline([flaky], durable=True, checkpoint_store=DjangoStore())
    twin = pipeline.bound_to(DjangoPipeline, name="testing.flaky", store=DjangoStore)
    assert twin.invoke_sync({}, run_id="r")["done"]
    assert tries == [0.0, HOUR, 2 * HOUR]
    assert Run.objects.get(run_id="r").status == RunStatus.SUCCEEDED


def test_the_clock_is_given_back(db: None) -> None:
    before = default_environment()
    with pytest.raises(RunIDInUseError), DurableClock():
        DjangoStore().journal().open_blocking(opening("r"))
        DjangoStore().journal().open_blocking(opening("r"))
    assert default_environment() is before
    assert connections["default"].execute_wrappers == []
