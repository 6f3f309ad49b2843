"""Runs whose worker is gone are found, and given up when they lost too many."""

from dataclasses import replace

import pytest
from django.test import override_settings

from fluxio.errors import LeaseLostError
from fluxio.store.base import Claim, OpenMode
from fluxio.testing.conformance.samples import commit, opening, row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, recovery
from fluxio_django.journal import DjangoJournal
from fluxio_django.tables import Tables

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
    assert not runs.bury(seen, "too late")
    journal.commit_blocking(claim, commit(row(1)))


def test_a_run_that_committed_in_the_meantime_stays_alive(
    journal: DjangoJournal, database: str
) -> None:
    claim = abandoned(journal, "slow")
    runs = Tables(database).runs
    seen = runs.seen("slow")
    journal.commit_blocking(replace(claim, lease_seconds=30.0), commit(row(1)))
    assert not runs.bury(seen, "too late")


def test_a_dead_run_that_somebody_resumes_may_lose_its_worker_again(
    journal: DjangoJournal, database: str
) -> None:
    with override_settings(FLUXIO={"MAX_TAKEOVERS": 1}):
        abandoned(journal, "raised", takeovers=1)
        assert names(recovery.bury(database)) == ["raised"]
        journal.open_blocking(opening("raised", OpenMode.TAKE, lease_seconds=EXPIRED))
        assert recovery.bury(database) == []
        assert names(recovery.to_take_over(database)) == ["raised"]
