"""Limits of a pipeline hold over all workers, since the database enforces them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connections, transaction

from fluxio.errors import ConfigurationError, RunIDInUseError
from fluxio.testing.conformance.samples import opening
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, Limits, recovery, services
from fluxio_django.dispatch import delivery
from fluxio_django.limits import AtLimitError
from fluxio_django.models import Gate, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.runner import Executed, execute
from fluxio_django.tables import Tables
from fluxio_django.tickets import Ticket
from tests.app.queueing.shop import PIPELINE, executed, registered

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Postbox:
    """A broker that keeps the tickets for the test to hand them on."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def dispatch(self, ticket: Ticket) -> None:
        self.tickets.append(ticket)

    def taken(self) -> list[str]:
        """The runs of the tickets since the last time."""
        run_ids = [ticket.run_id for ticket in self.tickets]
        self.tickets.clear()
        return run_ids


@pytest.fixture
def post(eager: str, monkeypatch: pytest.MonkeyPatch) -> Postbox:
    post = Postbox()
    monkeypatch.setattr(delivery, "dispatcher_named", lambda name: post)
    return post


@contextmanager
def limited(**limits: Any) -> Iterator[DjangoPipeline]:
    with registered(limits=Limits(**limits)) as pipeline:
        yield pipeline


def execute_directly(alias: str, run_id: str) -> None:
    """A run that somebody executes elsewhere."""
    DjangoStore(alias).journal().open_blocking(opening(run_id, pipeline=PIPELINE))


def status(alias: str, run_id: str) -> str:
    return Run.objects.using(alias).get(run_id=run_id).status


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": -1}, "fluxio_queues"),
        ({"concurrency": True}, "concurrency=True"),
        ({"concurrency": 1.5}, "concurrency=1.5"),
        ({"rate": "-1/s"}, "'-1/s' is no rate"),
        ({"rate": "10"}, "10/s"),
        ({"rate": 10}, "rate=10"),
        ({"priority": 1001}, "priority=1001"),
        ({"deduplicate_by": "order"}, "no tuple"),
        ({"deduplicate_by": ("",)}, "no tuple"),
    ],
    ids=str,
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Limits(**limits)


def test_no_more_runs_are_executed_at_once_than_allowed(post: Postbox, eager: str) -> None:
    with limited(concurrency=1) as pipeline:
        execute_directly(eager, "elsewhere")
        pipeline.enqueue_sync({"order": 1}, "one")
        assert execute("one") is Executed.HELD_BACK
        run = Run.objects.using(eager).get(run_id="one")
        assert run.status == RunStatus.QUEUED
        assert "1 of 1 runs" in run.held_back
        assert run.due_at is not None
        assert post.taken() == ["one"]
        assert recovery.sweep(eager).dispatched == 0
        Run.objects.using(eager).filter(run_id="elsewhere").update(status="succeeded")
        assert recovery.sweep(eager).dispatched == 1
        assert post.taken() == ["one"]
        assert execute("one") is Executed.DONE
    run.refresh_from_db()
    assert (run.status, run.held_back, run.due_at) == ("succeeded", "", None)


def test_a_run_that_ends_makes_room_for_the_one_whose_turn_it_is(post: Postbox, eager: str) -> None:
    with limited(concurrency=1) as pipeline:
        execute_directly(eager, "elsewhere")
        for run_id, priority in (("low", 0), ("high", 5), ("first", 9)):
            pipeline.enqueue_sync({"order": 1}, run_id, priority=priority)
            execute(run_id)
        Run.objects.using(eager).filter(run_id="elsewhere").update(status="succeeded")
        post.taken()
        assert execute("first") is Executed.DONE
        assert post.taken() == ["high"]
        assert execute("high") is Executed.DONE
        assert post.taken() == ["low"]


def test_a_run_invoked_directly_counts_but_does_not_wait(post: Postbox, eager: str) -> None:
    with limited(concurrency=1) as pipeline:
        execute_directly(eager, "elsewhere")
        assert pipeline.invoke_sync({"order": 1})["charged"] == 1
        pipeline.enqueue_sync({"order": 2}, "two")
        with pytest.raises(AtLimitError) as refused:
            pipeline.resume_sync("two")
    assert (refused.value.run_id, refused.value.retry_after) == ("two", None)


def test_a_takeover_passes_no_gate_since_its_run_is_counted(post: Postbox, eager: str) -> None:
    with limited(concurrency=1) as pipeline:
        pipeline.enqueue_sync({"order": 1}, "one")
        lapsed = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO}
        Run.objects.using(eager).update(**lapsed)
        assert execute("one") is Executed.DONE


def lapse(alias: str, run_id: str, **facts: Any) -> None:
    """Let the worker of a run be gone."""
    gone = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO, "due_at": None}
    Run.objects.using(alias).filter(run_id=run_id).update(**gone, **facts)


def test_a_lapsed_run_that_nobody_here_can_execute_holds_no_place_and_says_why(
    post: Postbox, eager: str
) -> None:
    with limited(concurrency=1) as pipeline:
        pipeline.enqueue_sync({"order": 1}, "old")
        lapse(eager, "old", version="of yesterday")
        assert recovery.sweep(eager).taken_over == 1
        pipeline.enqueue_sync({"order": 2}, "new")
        Tables(eager).runs.hold_at_gate("new", "1 of 1")
        post.taken()
        assert execute("old") is Executed.HELD_BACK
        assert post.taken() == ["new"], "its place is free"
        held = Run.objects.using(eager).get(run_id="old")
        assert held.status == RunStatus.RUNNING
        assert "the run needs version of yesterday" in held.held_back
        assert services.queues()[0].held_back == 2
        assert execute("new") is Executed.DONE
        Run.objects.using(eager).filter(run_id="old").update(due_at=LONG_AGO)
        swept = recovery.sweep(eager)
        assert (swept.taken_over, swept.dispatched) == (0, 1), "a worker may know it by now"
        Run.objects.using(eager).filter(run_id="old").update(version=pipeline.version)
        assert execute("old") is Executed.DONE
    held.refresh_from_db()
    assert (held.status, held.held_back) == (RunStatus.SUCCEEDED, "")


def test_a_lapsed_run_that_gave_up_its_place_waits_for_another_one(
    post: Postbox, eager: str
) -> None:
    with limited(concurrency=1) as pipeline:
        pipeline.enqueue_sync({"order": 1}, "old")
        lapse(eager, "old", version="of yesterday")
        assert execute("old") is Executed.HELD_BACK
        Run.objects.using(eager).filter(run_id="old").update(version=pipeline.version)
        execute_directly(eager, "elsewhere")
        assert execute("old") is Executed.HELD_BACK
        assert "1 of 1 runs" in Run.objects.using(eager).get(run_id="old").held_back
        post.taken()
        Run.objects.using(eager).filter(run_id="elsewhere").update(status="succeeded")
        recovery.sweep(eager)
        assert post.taken() == ["old"]
        assert execute("old") is Executed.DONE


def test_runs_start_no_more_often_than_the_rate_allows(post: Postbox, eager: str) -> None:
    with limited(rate="10/m") as pipeline:
        for number in range(3):
            pipeline.enqueue_sync({"order": number}, f"r{number}")
        assert execute("r0") is Executed.DONE
        post.taken()
        assert execute("r1") is Executed.HELD_BACK
        (ticket,) = post.tickets
        assert ticket.run_id == "r1"
        assert 5 < ticket.delay <= 6
        assert execute("r2") is Executed.HELD_BACK
        assert len(post.tickets) == 1  # one has been asked to come again already
        assert "10/m" in Run.objects.using(eager).get(run_id="r2").held_back
        Gate.objects.using(eager).update(opens_at=LONG_AGO, wakes_at=LONG_AGO)
        post.taken()
        assert execute("r1") is Executed.DONE
        assert post.taken() == ["r2"]


def test_with_a_high_rate_several_are_told_when_to_start(post: Postbox, eager: str) -> None:
    with limited(rate="4/s") as pipeline:
        for number in range(6):
            pipeline.enqueue_sync({"order": number}, f"r{number}")
        Gate.objects.using(eager).create(
            pipeline=PIPELINE, opens_at=datetime.now(UTC) + timedelta(hours=1)
        )
        for number in range(6):
            execute(f"r{number}")
        Gate.objects.using(eager).update(opens_at=LONG_AGO, wakes_at=LONG_AGO)
        post.taken()
        assert recovery.wake(Tables(eager), PIPELINE) == 4
        assert [ticket.delay for ticket in post.tickets] == [0.0, 0.25, 0.5, 0.75]


def test_two_workers_never_pass_a_gate_together(post: Postbox, eager: str) -> None:
    if eager == "default":
        pytest.skip("SQLite lets one write at a time in any case")
    with limited(concurrency=1) as pipeline:
        for number in range(6):
            pipeline.enqueue_sync({"order": number}, f"r{number}")
        together, claimed = Barrier(6), []

        def claim(run_id: str) -> None:
            together.wait(20)
            try:
                pipeline.checkpoint_store.journal().open_blocking(  # type: ignore[attr-defined]
                    pipeline._runs()._claims._opening(run_id, opening_mode)
                )
                claimed.append(run_id)
            except AtLimitError:
                pass
            finally:
                connections.close_all()

        from fluxio.store.base import OpenMode

        opening_mode = OpenMode.TAKE
        threads = [Thread(target=claim, args=(f"r{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(claimed) == 1


def test_the_run_with_the_highest_priority_comes_first_and_no_ticket_is_lost(
    post: Postbox, eager: str
) -> None:
    with limited() as pipeline:
        pipeline.enqueue_sync({"order": 1}, "low")
        pipeline.enqueue_sync({"order": 2}, "high", priority=10)
        pipeline.enqueue_sync({"order": 3}, "later", priority=20, countdown=3600)
        assert sorted(post.taken()) == ["high", "low"]
        assert execute("low") is Executed.DONE
        assert executed[0] == ("reserve", "2")
        assert post.taken() == ["low"]
        assert execute("high") is Executed.NOTHING
        assert execute("low") is Executed.DONE
    assert status(eager, "low") == RunStatus.SUCCEEDED


def test_a_run_whose_worker_is_gone_comes_before_those_that_wait(post: Postbox, eager: str) -> None:
    with limited() as pipeline:
        pipeline.enqueue_sync({"order": 1}, "gone")
        gone = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO}
        Run.objects.using(eager).update(**gone)
        pipeline.enqueue_sync({"order": 2}, "waiting", priority=10)
        post.taken()
        assert execute("waiting") is Executed.DONE
        assert executed[0] == ("reserve", "1")
        assert post.taken() == ["waiting"]
        assert execute("waiting") is Executed.DONE
        assert post.taken() == []
    assert status(eager, "waiting") == RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    "hopeless", [{"pipeline": "of a newer release"}, {"takeovers": 5}, {"queue": "another"}]
)
def test_a_run_whose_worker_is_gone_and_that_cannot_be_executed_keeps_nobody_back(
    post: Postbox, eager: str, hopeless: dict[str, Any]
) -> None:
    with limited() as pipeline:
        pipeline.enqueue_sync({"order": 1}, "gone")
        gone = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO}
        Run.objects.using(eager).update(**gone, **hopeless)
        pipeline.enqueue_sync({"order": 2}, "waiting")
        post.taken()
        execute("waiting")
        for run_id in post.taken():
            assert execute(run_id) is Executed.DONE
    assert status(eager, "waiting") == RunStatus.SUCCEEDED


def test_the_priority_of_a_pipeline_is_that_of_its_runs(post: Postbox, eager: str) -> None:
    with limited(priority=7) as pipeline:
        pipeline.enqueue_sync({"order": 1}, "usual")
        pipeline.enqueue_sync({"order": 1}, "own", priority=-3)
    found = dict(Run.objects.using(eager).values_list("run_id", "priority"))
    assert found == {"usual": 7, "own": -3}


def test_a_better_run_that_cannot_be_executed_keeps_nobody_back(post: Postbox, eager: str) -> None:
    with limited() as pipeline:
        pipeline.enqueue_sync({"order": 1}, "low")
        pipeline.enqueue_sync({"order": 2}, "unknown", priority=10)
        Run.objects.using(eager).filter(run_id="unknown").update(pipeline="of a newer release")
        assert execute("low") is Executed.HELD_BACK
        assert post.taken()[-1] == "low"
        assert execute("low") is Executed.DONE


def test_a_dispatcher_that_executes_at_once_is_not_asked_again_and_again(eager: str) -> None:
    with limited() as pipeline:
        pipeline.enqueue_sync({"order": 2}, "high", priority=10, countdown=3600)
        Run.objects.using(eager).update(available_at=LONG_AGO)
        pipeline.enqueue_sync({"order": 1}, "low")
    assert {order for _, order in executed} == {"1", "2"}


def test_a_twin_of_an_open_run_is_refused_or_given_back(post: Postbox, eager: str) -> None:
    with limited(deduplicate_by=("order",)) as pipeline:
        assert pipeline.enqueue_sync({"order": 7}, "first").is_new
        with pytest.raises(RunIDInUseError, match="'first'") as refused:
            pipeline.enqueue_sync({"order": 7})
        assert refused.value.run_id == "first"
        twin = pipeline.enqueue_sync({"order": 7}, on_conflict="return")
        assert (twin.run_id, twin.is_new) == ("first", False)
        assert pipeline.enqueue_sync({"order": "7"}).run_id != "first"
        assert execute("first") is Executed.DONE
        assert pipeline.enqueue_sync({"order": 7}, "second").run_id == "second"
        with pytest.raises(RunIDInUseError, match="'second'"):
            pipeline.enqueue_sync({"order": 7})
    assert Run.objects.using(eager).count() == 3


def test_a_key_is_free_again_when_its_run_was_rolled_back(post: Postbox, eager: str) -> None:
    with limited(deduplicate_by=("order",)) as pipeline:
        with transaction.atomic(using=eager):
            pipeline.enqueue_sync({"order": 7}, "first")
            transaction.set_rollback(True, using=eager)
        assert pipeline.enqueue_sync({"order": 7}, "second").run_id == "second"


def test_a_value_to_deduplicate_by_has_to_be_there_and_plain(post: Postbox) -> None:
    with limited(deduplicate_by=("order",)) as pipeline:
        with pytest.raises(ConfigurationError, match="lacks"):
            pipeline.enqueue_sync({})
        with pytest.raises(ConfigurationError, match="which is list"):
            pipeline.enqueue_sync({"order": [1]})


def test_of_twins_at_the_same_time_one_is_enqueued(post: Postbox, eager: str) -> None:
    with limited(deduplicate_by=("order",)) as pipeline:
        together, ids = Barrier(6), []

        def enqueue() -> None:
            together.wait(20)
            try:
                ids.append(pipeline.enqueue_sync({"order": 7}, on_conflict="return").run_id)
            finally:
                connections.close_all()

        threads = [Thread(target=enqueue) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1
    assert Run.objects.using(eager).count() == 1
