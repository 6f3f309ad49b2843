"""Runs whose worker is gone are found, and given up when they lost too many."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from fluxio.errors import LeaseLostError
from fluxio.store.base import Claim, OpenMode
from fluxio.testing.conformance.samples import commit, opening, row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, recovery, services, signals
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import Run
from fluxio_django.tables import Tables
from tests.app.lost_answers import answers_lost, commit_lost

EXPIRED = -1.0


@pytest.fixture
def journal(database: str) -> DjangoJournal:
    return DjangoStore(database).journal()


def abandoned(
    journal: DjangoJournal, run_id: str, takeovers: int = 0, lease_seconds: float = EXPIRED
) -> Claim:
    claim = journal.open_blocking(opening(run_id, lease_seconds=lease_seconds))
    for _ in range(takeovers):
        claim = journal.open_blocking(opening(run_id, OpenMode.TAKE, lease_seconds=lease_seconds))
    return claim


@pytest.fixture
def ended() -> Iterator[list[tuple[str, str]]]:
    """The runs of which it is told that they ended, and how."""
    heard: list[tuple[str, str]] = []

    def hear(sender: Any, run_id: str, status: str, **facts: Any) -> None:
        heard.append((run_id, str(status)))

    signals.run_finished.connect(hear)
    yield heard
    signals.run_finished.disconnect(hear)


@contextmanager
def locked(database: str, run_id: str) -> Iterator[None]:
    """Somebody else is in a transaction that has changed a run."""
    other = connections.create_connection(database)
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE fluxio_django_run SET step = 'x' WHERE run_id = %s", [run_id])
        yield
        other.rollback()
    finally:
        other.close()


def names(found: list) -> list[str]:
    return [seen.record.run_id for seen in found]


def test_only_runs_whose_lease_expired_are_to_be_taken_over(
    journal: DjangoJournal, database: str
) -> None:
    abandoned(journal, "abandoned")
    journal.open_blocking(opening("executed"))
    for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.WAITING, RunStatus.QUEUED):
        claim = abandoned(journal, status.value)
        journal.commit_blocking(claim, commit(status=status))
    assert names(recovery.to_take_over(database)) == ["abandoned"]
    assert recovery.bury(database) == []


def test_the_run_that_waits_longest_comes_first_and_the_number_is_bounded(
    journal: DjangoJournal, database: str
) -> None:
    for age in (5.0, 50.0, 0.5):
        abandoned(journal, f"for {age}", lease_seconds=-age)
    found = recovery.to_take_over(database, limit=2)
    assert names(found) == ["for 50.0", "for 5.0"]


def test_a_run_is_given_up_after_exactly_so_many_takeovers(
    journal: DjangoJournal, database: str
) -> None:
    with override_settings(FLUXIO={"MAX_TAKEOVERS": 3}):
        abandoned(journal, "once more", takeovers=2)
        last = abandoned(journal, "hopeless", takeovers=3)
        assert names(recovery.to_take_over(database)) == ["once more"]
        assert names(recovery.bury(database)) == ["hopeless"]
        assert recovery.bury(database) == []
    record = journal.run_blocking("hopeless")
    assert (record.status, record.owner, record.lease_expires_at) == (RunStatus.DEAD, None, None)
    assert record.finished_at is not None
    assert "3 takeovers" in record.error
    assert "'reserve'" in record.error
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(last, commit(row(1)))


def test_a_run_that_was_claimed_in_the_meantime_stays_alive(
    journal: DjangoJournal, database: str
) -> None:
    abandoned(journal, "rescued")
    runs = Tables(database).runs
    seen = runs.seen("rescued")
    claim = journal.open_blocking(opening("rescued", OpenMode.TAKE))
    assert not runs.bury(seen, "too late", seen.record.token + 1)
    journal.commit_blocking(claim, commit(row(1)))


def test_a_run_that_committed_in_the_meantime_stays_alive(
    journal: DjangoJournal, database: str
) -> None:
    claim = abandoned(journal, "slow")
    runs = Tables(database).runs
    seen = runs.seen("slow")
    journal.commit_blocking(replace(claim, lease_seconds=30.0), commit(row(1)))
    assert not runs.bury(seen, "too late", seen.record.token + 1)


def test_a_dead_run_that_somebody_resumes_may_lose_its_worker_again(
    journal: DjangoJournal, database: str
) -> None:
    with override_settings(FLUXIO={"MAX_TAKEOVERS": 1}):
        abandoned(journal, "raised", takeovers=1)
        assert names(recovery.bury(database)) == ["raised"]
        journal.open_blocking(opening("raised", OpenMode.TAKE, lease_seconds=EXPIRED))
        assert recovery.bury(database) == []
        assert names(recovery.to_take_over(database)) == ["raised"]


@pytest.mark.parametrize("held", ["executed", "wished away", "hopeless"])
def test_a_run_that_somebody_has_locked_holds_up_no_sweep(
    journal: DjangoJournal, database: str, held: str
) -> None:
    if not connections[database].features.has_select_for_update_skip_locked:
        pytest.skip("this database locks no rows that could be passed over")
    # So many that MariaDB seeks those that are running by their index, and waits at each.
    runs = Run.objects.using(database)
    runs.bulk_create(Run(run_id=f"done {number}", status="succeeded") for number in range(300))
    journal.open_blocking(opening("executed"))
    for run_id in ("wished away", "wished too"):
        abandoned(journal, run_id)
        assert Tables(database).runs.ask_to_cancel(run_id, "enough")
    for run_id in ("hopeless", "hopeless too"):
        abandoned(journal, run_id)
        Run.objects.using(database).filter(run_id=run_id).update(takeovers=5)
    waits = {"postgres": "SET lock_timeout = '1s'", "mariadb": "SET innodb_lock_wait_timeout = 1"}
    with connections[database].cursor() as cursor:
        cursor.execute(waits[database])
    with locked(database, held):
        swept = recovery.sweep(database)
    assert swept.cancelled == (1 if held == "wished away" else 2)
    assert swept.buried == (1 if held == "hopeless" else 2)
    connections[database].close()


def test_what_a_sweep_ends_is_told_of_with_its_reason(
    journal: DjangoJournal, database: str, ended: list[tuple[str, str]]
) -> None:
    for run_id, reason in (("a", "enough"), ("b", "")):
        abandoned(journal, run_id)
        assert Tables(database).runs.ask_to_cancel(run_id, reason)
    abandoned(journal, "c")
    runs = Run.objects.using(database)
    runs.update(error_type="ValueError")
    runs.filter(run_id="c").update(takeovers=5)
    recovery.sweep(database)
    assert sorted(ended) == [("a", "cancelled"), ("b", "cancelled"), ("c", "dead")]
    assert runs.get(run_id="a").error == "Cancelled: enough"
    assert runs.get(run_id="b").error == "Cancelled."
    assert {run.error_type for run in runs} == {""}


def test_a_run_is_given_up_once_though_the_answer_is_lost(
    journal: DjangoJournal, database: str, ended: list[tuple[str, str]]
) -> None:
    abandoned(journal, "hopeless")
    Run.objects.using(database).update(takeovers=5)
    with commit_lost(database):
        assert names(recovery.bury(database)) == ["hopeless"]
    assert ended == [("hopeless", "dead")]


def test_a_run_is_cancelled_once_though_the_answer_is_lost(
    journal: DjangoJournal, database: str, ended: list[tuple[str, str]], settings: Any
) -> None:
    settings.FLUXIO = {"DATABASE": database}
    abandoned(journal, "unwanted")
    with answers_lost(database, "UPDATE"):
        assert services.cancel("unwanted", "enough") is RunStatus.CANCELLED
    assert ended == [("unwanted", "cancelled")]
