"""The sweep gets going what got stuck: lost messages, dead workers, runs that kill their worker."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction

from fluxio.types import RunStatus
from fluxio_django import dispatch, recovery
from fluxio_django.dispatch import delivery
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.runner import Executed, execute
from fluxio_django.tickets import Ticket
from tests.app.queueing.shop import executed

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class BrokenDispatcher:
    """A broker that is down."""

    def dispatch(self, ticket: Ticket) -> None:
        raise ConnectionError("no broker here")


class LosingDispatcher:
    """A broker that loses every message, and what it was given."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def dispatch(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)


def use(monkeypatch: pytest.MonkeyPatch, dispatcher: Any) -> Any:
    monkeypatch.setattr(delivery, "dispatcher_named", lambda name: dispatcher)
    return dispatcher


def make_due(alias: str) -> None:
    Run.objects.using(alias).update(due_at=LONG_AGO)


def test_a_broker_that_is_down_does_not_fail_the_call_and_the_sweep_comes_back_to_it(
    checkout: DjangoPipeline,
    eager: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as down:
        use(down, BrokenDispatcher())
        handle = checkout.enqueue_sync({"order": 7}, "order")
        assert handle.status() is RunStatus.QUEUED
        assert handle.problem == "ConnectionError: no broker here"
        assert "is stored, but could not be dispatched" in caplog.text
        assert recovery.sweep(eager).dispatched == 0
    assert recovery.sweep(eager).dispatched == 1
    assert handle.status() is RunStatus.SUCCEEDED
    assert recovery.sweep(eager) == recovery.Swept()


def test_a_lost_message_is_sent_again_and_each_time_later(
    checkout: DjangoPipeline, eager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = use(monkeypatch, LosingDispatcher())
    checkout.enqueue_sync({"order": 7}, "order")
    assert recovery.sweep(eager).dispatched == 0
    pauses = []
    for _ in range(3):
        make_due(eager)
        assert recovery.sweep(eager).dispatched == 1
        assert recovery.sweep(eager).dispatched == 0
        due_at = Run.objects.using(eager).get().due_at
        pauses.append(round((due_at - datetime.now(UTC)).total_seconds() / 10))
    assert pauses == [3, 6, 12]
    assert [ticket.run_id for ticket in lossy.tickets] == ["order"] * 4


def test_a_run_that_is_put_off_is_dispatched_when_its_time_has_come(
    checkout: DjangoPipeline, eager: str
) -> None:
    checkout.enqueue_sync({"order": 7}, "order", countdown=3600)
    make_due(eager)
    assert recovery.sweep(eager).dispatched == 0
    Run.objects.using(eager).update(available_at=LONG_AGO)
    assert recovery.sweep(eager).dispatched == 1
    assert len(executed) == 2


def test_a_run_whose_worker_is_gone_is_handed_over_once_per_pause(
    checkout: DjangoPipeline, eager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = use(monkeypatch, LosingDispatcher())
    with transaction.atomic(using=eager):
        checkout.enqueue_sync({"order": 7}, "order")
    Run.objects.using(eager).update(
        status="running", owner="gone", lease_expires_at=LONG_AGO, due_at=None
    )
    assert recovery.sweep(eager).taken_over == 1
    assert recovery.sweep(eager).taken_over == 0
    assert len(lossy.tickets) == 2
    assert execute("order") is Executed.DONE
    run = Run.objects.using(eager).get()
    assert (run.status, run.takeovers) == (RunStatus.SUCCEEDED, 0), "a step ends the counting"


def test_a_run_that_lost_too_many_workers_is_given_up_with_the_reason(
    checkout: DjangoPipeline, eager: str
) -> None:
    checkout.enqueue_sync({"order": 7}, "order", countdown=3600)
    lapsed = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO}
    Run.objects.using(eager).update(**lapsed, takeovers=5, step="charge")
    assert execute("order") is Executed.BURIED
    run = Run.objects.using(eager).get()
    assert run.status == RunStatus.DEAD
    assert "5 takeovers" in run.error
    assert "'charge'" in run.error
    Run.objects.using(eager).update(**lapsed)
    assert recovery.sweep(eager).buried == 1
    assert executed == []


def test_more_runs_than_one_batch_are_all_dispatched(
    checkout: DjangoPipeline, eager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_AT_ONCE", 2)
    for number in range(5):
        checkout.enqueue_sync({"order": number}, countdown=3600)
    Run.objects.using(eager).update(available_at=LONG_AGO, due_at=LONG_AGO)
    assert recovery.sweep(eager).dispatched == 5
    assert len(executed) == 10


def test_a_dispatcher_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(delivery._EXTRAS, "celery", "fluxio_django.dispatch.missing.Missing")
    dispatch.delivery.dispatcher_named.cache_clear()
    with pytest.raises(Exception, match="fluxio-django\\[celery\\]"):
        delivery.dispatcher_named("celery")
    delivery.dispatcher_named.cache_clear()
