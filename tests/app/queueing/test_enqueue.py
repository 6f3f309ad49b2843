"""Enqueueing writes the run in the caller's transaction, and dispatches it after the commit."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connections, transaction

from fluxio.errors import (
    ConfigurationError,
    EncodingError,
    ForeignRunError,
    InvalidRunIDError,
    NoCheckpointError,
    RunFailedError,
    RunIDInUseError,
    StoreError,
)
from fluxio.pipeline import Pipeline
from fluxio.store.base import OpenMode
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, services
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.querysets import RunQuerySet
from fluxio_django.queueing import Wish
from fluxio_django.registry import pipelines
from tests.app.queueing.shop import executed, registered, reserve
from tests.rivals import rival_after


class Undone(Exception):
    """Rolls a transaction back."""


def test_an_enqueued_run_is_executed_after_the_commit_and_gives_its_result(
    checkout: DjangoPipeline, eager: str
) -> None:
    with transaction.atomic(using=eager):
        handle = checkout.enqueue_sync({"order": 7}, "order-7")
        assert handle.status() is RunStatus.QUEUED
        assert executed == []
    assert handle.status() is RunStatus.SUCCEEDED
    assert handle.result(timeout=0)["charged"] == 7
    assert executed == [("reserve", "7"), ("charge", "7")]


def test_a_result_that_is_waited_for_is_no_state_in_the_middle_of_a_restart(
    checkout: DjangoPipeline, eager: str
) -> None:
    handle = checkout.enqueue_sync({"order": 7}, "order-7")
    restart = replace(checkout._runs().opening({"order": 8}, "order-7"), mode=OpenMode.RESTART)
    journal = DjangoStore(eager).journal()
    with (
        rival_after(eager, lambda: journal.open_blocking(restart)),
        pytest.raises(TimeoutError),
    ):
        handle.result(timeout=0)


def test_a_result_that_is_waited_for_is_that_of_a_run_that_was_begun_anew(
    checkout: DjangoPipeline, eager: str
) -> None:
    handle = checkout.enqueue_sync({"order": 7}, "order-7")
    checkout.replay_sync("order-7")
    looks = iter(("at the record", "for the newest full row"))

    def begin_anew() -> None:
        if next(looks) == "for the newest full row":
            checkout.invoke_sync({"order": 8}, run_id="order-7")

    with rival_after(eager, begin_anew, times=2):
        assert handle.result(timeout=0)["charged"] == 8


def test_a_queued_run_has_its_first_row_its_version_and_nothing_else(
    checkout: DjangoPipeline, eager: str
) -> None:
    with transaction.atomic(using=eager):
        checkout.enqueue_sync({"order": 7}, "order-7")
        run = Run.objects.using(eager).get(run_id="order-7")
        rows = Checkpoint.objects.using(eager).filter(run=run)
        assert [(row.sequence, row.kind, row.full) for row in rows] == [(0, "start", True)]
        facts = (run.status, run.version, run.attempt, run.head, run.owner, run.started_at)
        assert facts == ("queued", checkout.version, 1, 0, "", None)
        assert run.available_at is not None
    run.refresh_from_db()
    assert run.started_at is not None
    assert (run.due_at, run.held_back) == (None, "")


def test_a_rollback_leaves_nothing_and_dispatches_nothing(
    checkout: DjangoPipeline, eager: str
) -> None:
    with pytest.raises(Undone), transaction.atomic(using=eager):
        handle = checkout.enqueue_sync({"order": 7})
        raise Undone
    assert executed == []
    assert not Run.objects.using(eager).exists()
    assert not Checkpoint.objects.using(eager).exists()
    with pytest.raises(NoCheckpointError):
        handle.status()


@pytest.fixture
def one_run_of_a_pipeline(eager: str) -> Iterator[None]:
    """An index of the project's own, with a rule that we know nothing of."""
    table, on_table = Run._meta.db_table, f" ON {Run._meta.db_table}" * (eager == "mariadb")
    with connections[eager].cursor() as cursor:
        cursor.execute(f"CREATE UNIQUE INDEX one_of_a_pipeline ON {table} (pipeline)")
    yield
    with connections[eager].cursor() as cursor:
        cursor.execute(f"DROP INDEX one_of_a_pipeline{on_table}")


def test_a_rule_of_the_project_that_refuses_a_run_is_not_taken_for_a_taken_id(
    checkout: DjangoPipeline, eager: str, one_run_of_a_pipeline: None
) -> None:
    checkout.enqueue_sync({"order": 1}, "first")
    with transaction.atomic(using=eager):
        with pytest.raises(StoreError, match=r"(?i)unique|duplicate"):
            checkout.enqueue_sync({"order": 2}, "second")
        transaction.set_rollback(True, using=eager)
    with pytest.raises(StoreError, match=r"(?i)unique|duplicate"):
        checkout.enqueue_sync({"order": 2}, "second")
    assert Run.objects.using(eager).get().run_id == "first"


async def test_the_async_twins_do_the_same(checkout: DjangoPipeline, eager: str) -> None:
    handle = await checkout.enqueue({"order": 8})
    assert (await handle.aresult(timeout=5))["charged"] == 8
    assert await handle.astatus() is RunStatus.SUCCEEDED


def test_a_run_that_fails_says_so_to_whoever_waits(checkout: DjangoPipeline, eager: str) -> None:
    handle = checkout.enqueue_sync({"order": 7, "card": "refused"})
    with pytest.raises(RunFailedError, match="ValueError: the card was refused"):
        handle.result()
    assert Run.objects.using(eager).get().error_type == "ValueError"


def test_waiting_inside_the_transaction_that_enqueued_is_refused(
    checkout: DjangoPipeline, eager: str
) -> None:
    with transaction.atomic(using=eager):
        handle = checkout.enqueue_sync({"order": 7})
        with pytest.raises(ConfigurationError, match="would never end"):
            handle.result()


def test_a_wait_that_takes_too_long_ends_and_the_run_goes_on(
    checkout: DjangoPipeline, eager: str
) -> None:
    handle = checkout.enqueue_sync({"order": 7}, countdown=3600)
    with pytest.raises(TimeoutError, match="goes on"):
        handle.result(timeout=0)
    assert handle.status() is RunStatus.QUEUED


def test_a_taken_id_is_refused_and_an_open_transaction_goes_on(
    checkout: DjangoPipeline, eager: str
) -> None:
    checkout.enqueue_sync({"order": 1}, "order")
    with transaction.atomic(using=eager):
        with pytest.raises(RunIDInUseError, match="exists already"):
            checkout.enqueue_sync({"order": 2}, "order")
        assert services.state("order")["order"] == 1


@pytest.mark.parametrize("run_id", ["order", None])
def test_a_run_that_was_written_though_the_answer_was_lost_is_recognised(
    checkout: DjangoPipeline, eager: str, monkeypatch: pytest.MonkeyPatch, run_id: str | None
) -> None:
    usual, answers = RunQuerySet.enqueue, []

    def enqueue(*args: Any) -> bool:
        answers.append(usual(*args))
        if len(answers) == 1:
            raise OperationalError("server closed the connection unexpectedly")
        return answers[-1]

    monkeypatch.setattr(RunQuerySet, "enqueue", enqueue)
    assert checkout.enqueue_sync({"order": 7}, run_id).result(timeout=0)["charged"] == 7
    assert Run.objects.using(eager).count() == 1


def test_the_policy_return_gives_what_is_there(checkout: DjangoPipeline, eager: str) -> None:
    checkout.enqueue_sync({"order": 1}, "order")
    handle = checkout.enqueue_sync({"order": 2}, "order", on_conflict="return")
    assert handle.result(timeout=0)["order"] == 1
    assert len(executed) == 2


def test_the_policy_resume_goes_on_with_a_failed_run_and_repeats_nothing_recorded(
    checkout: DjangoPipeline, eager: str
) -> None:
    checkout.enqueue_sync({"order": 1, "card": "refused"}, "order")
    checkout.enqueue_sync({"order": 1}, "order", on_conflict="resume")
    assert [name for name, _ in executed] == ["reserve", "charge", "charge"]


def test_a_queued_run_can_never_be_restarted(checkout: DjangoPipeline) -> None:
    with pytest.raises(ConfigurationError, match="must not start over"):
        checkout.enqueue_sync({"order": 1}, on_conflict="restart")


def test_an_id_of_another_pipeline_is_refused(checkout: DjangoPipeline) -> None:
    checkout.enqueue_sync({"order": 1}, "order")
    with registered("queueing.other") as other, pytest.raises(ForeignRunError):
        other.enqueue_sync({"order": 1}, "order", on_conflict="return")


def test_a_value_that_cannot_be_stored_is_refused_with_its_path(
    checkout: DjangoPipeline, eager: str
) -> None:
    with pytest.raises(EncodingError) as refused:
        checkout.enqueue_sync({"order": {"lines": [1, object()]}})
    assert refused.value.path == 'ctx["order"]["lines"][1]'
    assert not Run.objects.using(eager).exists()


def test_a_context_that_is_too_large_is_refused(
    checkout: DjangoPipeline, eager: str, settings: Any
) -> None:
    settings.FLUXIO = {**settings.FLUXIO, "MAX_PAYLOAD_BYTES": 100}
    with pytest.raises(StoreError, match="allows 100"):
        checkout.enqueue_sync({"order": "x" * 200})
    assert not Run.objects.using(eager).exists()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"queue": "nowhere"}, "names: default"),
        ({"countdown": -1}, "countdown=-1"),
        ({"countdown": float("nan")}, "countdown=nan"),
        ({"countdown": "soon"}, "countdown='soon'"),
        ({"priority": 1.5}, "priority=1.5"),
        ({"priority": 1001}, "from -1000 to 1000"),
        ({"priority": True}, "priority=True"),
        ({"on_conflict": "whatever"}, "reject, return, resume"),
        ({"subject": Group(name="new")}, "has not been saved"),
    ],
    ids=str,
)
@pytest.mark.django_db(transaction=True)
def test_what_makes_no_sense_is_refused_at_once(wish: dict, words: str) -> None:
    with registered() as checkout, pytest.raises(ConfigurationError, match=words):
        checkout.enqueue_sync({"order": 1}, **wish)
    assert not Run.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_id_that_is_none_is_refused() -> None:
    with registered() as checkout, pytest.raises(InvalidRunIDError):
        checkout.enqueue_sync({"order": 1}, "two words")


def test_a_run_may_point_to_what_it_is_about_and_to_who_wants_it(
    checkout: DjangoPipeline, eager: str
) -> None:
    group = Group.objects.using("default").create(name="team") if eager == "default" else None
    wish = Wish(subject=group, priority=5)
    services.enqueue(checkout.name or "", {"order": 1}, run_id="order", wish=wish)
    run = Run.objects.using(eager).get(run_id="order")
    assert run.priority == 5
    if group is not None:
        assert run.subject == group


def test_a_countdown_keeps_a_run_from_being_claimed(checkout: DjangoPipeline, eager: str) -> None:
    checkout.enqueue_sync({"order": 7}, "later", countdown=3600)
    run = Run.objects.using(eager).get()
    wait = (run.available_at.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    assert 3500 < wait < 3700
    assert executed == []


def test_a_run_in_a_database_where_no_worker_looks_is_refused(eager: str) -> None:
    name = "queueing.elsewhere"
    store = DjangoStore(using="archive")
    made = Pipeline([reserve], durable=True, checkpoint_store=store)
    with registered(), pytest.raises(ConfigurationError, match=r"'archive'.*FLUXIO\['DATABASE'\]"):
        pipelines.add(name, lambda: made)
        try:
            pipelines[name].enqueue_sync({"order": 7})
        finally:
            pipelines.remove(name)
