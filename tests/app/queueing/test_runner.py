"""A ticket is worth one execution of a run that is queued or has lost its worker, and no more."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse

from fluxio.errors import RunIDInUseError, StoreError
from fluxio.runtime.owner import own_identity
from fluxio.testing.conformance.samples import opening
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, recovery, services
from fluxio_django.models import PipelineVersion, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.querysets import RunQuerySet
from fluxio_django.registry import pipelines
from fluxio_django.runner import Executed, execute
from fluxio_django.services import RunEndedError
from fluxio_django.tables import Tables
from tests.app.queueing.shop import executed, registered

LATER = 3600.0


def queued(pipeline: DjangoPipeline, run_id: str = "order", **facts: Any) -> None:
    """Put a run into the queue so that nobody gets a ticket for it."""
    pipeline.enqueue_sync({"order": 7, **facts}, run_id, countdown=LATER)
    runs = Run.objects.using(pipeline.queue_tables().alias)
    runs.filter(run_id=run_id).update(available_at=None)


def the_run(alias: str) -> Run:
    return Run.objects.using(alias).get(run_id="order")


def test_a_duplicate_ticket_does_nothing(checkout: DjangoPipeline, eager: str) -> None:
    queued(checkout)
    assert execute("order") is Executed.DONE
    assert execute("order") is Executed.NOTHING
    assert len(executed) == 2


def test_a_worker_asks_the_database_as_seldom_as_it_can_before_the_first_stage(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        if not executed:
            asked.append(sql.split()[0])
        return execute(sql, *rest)

    with connections[eager].execute_wrapper(note):
        assert execute("order") is Executed.DONE
    claims_and_reads = connections[eager].vendor == "postgresql"
    assert asked == ["SELECT", *(["WITH"] if claims_and_reads else ["UPDATE", "SELECT"])]


def test_a_redelivered_ticket_of_a_failed_run_does_not_try_again(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout, card="refused")
    assert execute("order") is Executed.DONE
    assert execute("order") is Executed.NOTHING
    assert [name for name, _ in executed] == ["reserve", "charge"]


def test_a_run_that_failed_since_a_worker_looked_at_it_is_not_executed_again(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout, card="refused")
    outcomes: list[Executed] = []

    def let_another_worker_win(execute_statement: Any, sql: str, *rest: Any) -> Any:
        if not outcomes and sql.startswith(("UPDATE", "WITH proof AS (UPDATE")):
            outcomes.append(Executed.HELD_BACK)
            outcomes[0] = execute("order")
        return execute_statement(sql, *rest)

    with connections[eager].execute_wrapper(let_another_worker_win):
        assert execute("order") is Executed.NOTHING
    assert outcomes == [Executed.DONE]
    assert [name for name, _ in executed] == ["reserve", "charge"]
    assert the_run(eager).status == RunStatus.FAILED


def test_a_ticket_of_an_unknown_run_is_dropped(checkout: DjangoPipeline) -> None:
    assert execute("never-heard-of") is Executed.NOTHING


def test_a_ticket_of_a_run_that_is_executed_does_nothing(
    checkout: DjangoPipeline, eager: str
) -> None:
    DjangoStore(eager).journal().open_blocking(
        opening("order", pipeline=checkout.name, version=checkout.version)
    )
    assert execute("order") is Executed.NOTHING
    assert the_run(eager).status == RunStatus.RUNNING


def test_a_ticket_that_comes_too_early_does_nothing(checkout: DjangoPipeline) -> None:
    checkout.enqueue_sync({"order": 7}, "order", countdown=LATER)
    assert execute("order") is Executed.NOTHING


def test_other_code_leaves_the_run_queued_and_says_why(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    Run.objects.using(eager).update(version="of yesterday")
    PipelineVersion.objects.using(eager).update(version="of yesterday")
    assert execute("order") is Executed.HELD_BACK
    run = the_run(eager)
    assert (run.status, run.owner) == (RunStatus.QUEUED, "")
    assert checkout.version in run.held_back
    assert "'of yesterday'" in run.held_back or "of yesterday" in run.held_back
    assert executed == []
    Run.objects.using(eager).update(version=checkout.version)
    assert execute("order") is Executed.DONE
    assert the_run(eager).held_back == ""


@pytest.mark.django_db(transaction=True)
def test_the_admin_says_for_which_worker_a_run_waits(admin_client: Client, settings: Any) -> None:
    settings.FLUXIO = {"DISPATCHER": "eager"}
    with registered() as pipeline:
        queued(pipeline)
        Run.objects.update(version="of tomorrow")
        assert execute("order") is Executed.HELD_BACK
        address = reverse("admin:fluxio_django_run_change", args=[Run.objects.get().pk])
        shown = admin_client.get(address).content.decode()
    assert "the run needs version of tomorrow." in shown


def test_code_without_the_pipeline_leaves_the_run_queued_and_says_why(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    pipelines.remove(checkout.name or "")
    assert execute("order") is Executed.HELD_BACK
    assert "knows no pipeline" in the_run(eager).held_back


def test_a_paused_queue_is_not_served_until_it_is_resumed(
    checkout: DjangoPipeline, eager: str
) -> None:
    services.pause_queue("default", "the printer is out of paper")
    checkout.enqueue_sync({"order": 7}, "order")
    assert executed == []
    assert "paused" in the_run(eager).held_back
    (state,) = services.queues()
    assert (state.name, state.queued, state.held_back) == ("default", 1, 1)
    assert state.paused_at is not None
    assert state.reason == "the printer is out of paper"
    services.resume_queue("default")
    assert the_run(eager).status == RunStatus.SUCCEEDED
    assert services.queues()[0].paused_at is None


def test_a_queued_run_is_cancelled_at_once_and_can_be_requeued(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    assert services.cancel("order", "changed my mind") is RunStatus.CANCELLED
    assert execute("order") is Executed.NOTHING
    run = the_run(eager)
    assert (run.status, run.error) == ("cancelled", "Cancelled: changed my mind")
    assert run.finished_at is not None
    handle = services.requeue("order")
    assert handle.result(timeout=0)["charged"] == 7


def test_what_has_ended_cannot_be_cancelled(checkout: DjangoPipeline) -> None:
    checkout.enqueue_sync({"order": 7}, "order")
    with pytest.raises(RunEndedError, match="succeeded already"):
        services.cancel("order")
    with pytest.raises(RunEndedError, match="Replay it"):
        services.requeue("order")


def test_a_run_that_is_executed_is_asked_to_stop_and_cannot_be_requeued(
    checkout: DjangoPipeline, eager: str
) -> None:
    DjangoStore(eager).journal().open_blocking(
        opening("order", pipeline=checkout.name, version=checkout.version, owner=own_identity())
    )
    assert services.cancel("order", "enough") is RunStatus.RUNNING
    run = the_run(eager)
    assert run.cancel_requested_at is not None
    assert run.cancel_reason == "enough"
    with pytest.raises(RunIDInUseError):
        services.requeue("order")


def test_a_lapsed_run_that_was_to_be_cancelled_is_not_taken_over(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    Run.objects.using(eager).update(status="running", owner="elsewhere:1", lease_expires_at=None)
    assert Tables(eager).runs.ask_to_cancel("order", "enough")
    assert recovery.sweep(eager).cancelled == 1
    run = the_run(eager)
    assert (run.status, run.error, run.owner) == ("cancelled", "Cancelled: enough", "")


def test_a_requeued_run_gets_as_many_takeovers_as_a_new_one(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    Run.objects.using(eager).update(status="dead", takeovers=5)
    with transaction.atomic(using=eager):
        services.requeue("order")
        run = the_run(eager)
        assert (run.status, run.takeovers) == (RunStatus.QUEUED, 0)
    assert the_run(eager).status == RunStatus.SUCCEEDED


def test_what_failed_before_it_was_cancelled_is_not_told_as_the_error(
    checkout: DjangoPipeline, eager: str
) -> None:
    queued(checkout)
    Run.objects.using(eager).update(error="ValueError: no", error_type="ValueError")
    services.cancel("order")
    run = the_run(eager)
    assert (run.error, run.error_type) == ("Cancelled.", "")


@pytest.mark.parametrize("operation", ["cancel", "requeue", "save"])
def test_a_run_that_seems_to_change_for_ever_is_given_up_after_a_few_tries(
    checkout: DjangoPipeline, eager: str, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    queued(checkout)
    tables, store = Tables(eager), DjangoStore(eager)
    seen, saved = tables.runs.seen("order"), store.load_blocking("order")
    assert seen is not None
    assert saved is not None
    old = replace(seen, record=replace(seen.record, token=seen.record.token - 1))
    left = iter(range(100))  # a transaction under REPEATABLE READ never sees what others did
    monkeypatch.setattr(RunQuerySet, "seen", lambda *_: (next(left), old)[1])
    work = {
        "cancel": lambda: services.cancel("order"),
        "requeue": lambda: services.requeue("order"),
        "save": lambda: store.save_blocking(saved),
    }
    with pytest.raises(StoreError, match="REPEATABLE READ"):
        work[operation]()
