"""Transactions of ours do what they promise, however those of the project are set to begin."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import Error, OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext

from fluxio.errors import LeaseLostError, RunIDInUseError, StoreUnavailableError
from fluxio.store.base import Claim, Commit, OpenMode
from fluxio.testing.conformance.samples import HEIR, commit, opening, row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, faults
from fluxio_django.clock import DatabaseTime
from fluxio_django.isolation import own_transaction
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import Run
from fluxio_django.tables import Tables

ALIAS = "default"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "wait", lambda seconds: None)


@pytest.fixture(params=["WAL", "DELETE"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """SQLite as Django sets it up, in each of its usual modes; nobody waits long for a lock."""
    options = connections[ALIAS].settings_dict["OPTIONS"]
    monkeypatch.delitem(options, "transaction_mode")
    monkeypatch.setitem(options, "timeout", 0.01)
    monkeypatch.setitem(options, "init_command", f"PRAGMA journal_mode={request.param}")
    connections[ALIAS].close()
    yield request.param
    monkeypatch.undo()
    connections[ALIAS].close()


@pytest.fixture
def journal() -> DjangoJournal:
    return DjangoStore(ALIAS).journal()


def elsewhere(work: Callable[[], object]) -> None:
    """Do work in another thread, which has a connection of its own."""

    def do() -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(do).result()


def stage_beside(meanwhile: Callable[[], object], *, writes: bool) -> Callable[[], Any]:
    """A stage that reads, and maybe writes after something else has had the chance to."""

    def work() -> tuple[int, Commit]:
        before = Group.objects.using(ALIAS).count()
        with suppress(StoreUnavailableError):
            elsewhere(meanwhile)
        if writes:
            Group.objects.using(ALIAS).create(name=f"group {before}")
        return before, commit(row(1))

    return work


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("writes", [True, False])
def test_a_heartbeat_does_not_break_a_stage_that_has_read(
    mode: str, journal: DjangoJournal, writes: bool
) -> None:
    claim: Claim = journal.open_blocking(opening("ledger"))
    stage = stage_beside(lambda: journal.leasing.renew([claim]), writes=writes)
    assert journal.transactions.run_blocking(claim, stage) == 0
    assert len(journal.rows_blocking("ledger", first=1)) == 1
    assert Group.objects.using(ALIAS).count() == int(writes)


@pytest.mark.django_db(transaction=True)
def test_transactions_of_the_project_begin_as_it_has_set_them_to(
    mode: str, journal: DjangoJournal
) -> None:
    def begun() -> str:
        with CaptureQueriesContext(connections[ALIAS]) as captured, transaction.atomic(using=ALIAS):
            Group.objects.using(ALIAS).count()
        return str(captured[0]["sql"])

    before, claim = begun(), journal.open_blocking(opening("ledger"))
    in_hook: list[str] = []

    def work() -> tuple[None, Commit]:
        transaction.on_commit(lambda: in_hook.append(begun()), using=ALIAS)
        return None, commit(row(1))

    journal.transactions.run_blocking(claim, work)
    assert [before, *in_hook, begun()] == ["BEGIN"] * 3


@pytest.mark.django_db(transaction=True)
def test_a_sweep_that_has_looked_cannot_be_overtaken(mode: str, journal: DjangoJournal) -> None:
    claim: Claim = journal.open_blocking(opening("beside"))
    runs = Tables(ALIAS).runs

    class Looked(type(runs)):  # type: ignore[misc]
        def values_list(self, *names: str, **wanted: Any) -> Any:
            found = super().values_list(*names, **wanted)
            list(found)
            with suppress(StoreUnavailableError):
                elsewhere(lambda: journal.leasing.renew([claim]))
            return found

    Run.objects.using(ALIAS).create(run_id="due", status="queued", pipeline="p", version="v")
    due = Looked(Run, using=ALIAS).filter(run_id="due")
    assert [ticket.run_id for ticket in runs.hand_over(due, limit=5)] == ["due"]


POSTGRESQL = "postgres"
ABOVE: dict[str, dict[str, Any]] = {
    "repeatable read": {"isolation_level": 3},
    "serializable": {"isolation_level": 4},
    "serializable by the server": {"options": "-c default_transaction_isolation=serializable"},
}


@pytest.fixture(params=ABOVE)
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """PostgreSQL in a project that wants its transactions to be isolated more than they are."""
    for name, value in ABOVE[request.param].items():
        monkeypatch.setitem(connections[POSTGRESQL].settings_dict["OPTIONS"], name, value)
    connections[POSTGRESQL].close()
    yield request.param.partition(" by ")[0]
    monkeypatch.undo()
    connections[POSTGRESQL].close()


on_postgresql = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=[POSTGRESQL]),
]


def level_now() -> str:
    with connections[POSTGRESQL].cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        return str(cursor.fetchone()[0])


class TestAboveReadCommitted:
    pytestmark = on_postgresql

    @pytest.fixture
    def journal(self) -> DjangoJournal:
        return DjangoStore(POSTGRESQL).journal()

    def test_a_stage_is_as_isolated_as_the_project_wants_and_survives_its_own_heartbeat(
        self, level: str, journal: DjangoJournal
    ) -> None:
        claim = journal.open_blocking(opening("ledger"))
        runs = Tables(POSTGRESQL).runs

        def tell() -> None:
            try:
                runs.tell_progress("ledger", claim.run_id, (1, 2, "half"))
            finally:
                connections.close_all()

        def work() -> tuple[str, Commit]:
            Group.objects.using(POSTGRESQL).create(name="booked")
            elsewhere(lambda: journal.leasing.renew([claim]))
            talking.append(pool.submit(tell))
            return level_now(), commit(row(1))

        talking: list[Future[None]] = []
        with ThreadPoolExecutor(1) as pool:
            assert journal.transactions.run_blocking(claim, work) == level
            talking[0].result()
        assert len(journal.rows_blocking("ledger", first=1)) == 1

    def test_who_wants_the_run_waits_for_the_stage_and_is_refused(
        self, level: str, journal: DjangoJournal
    ) -> None:
        claim = journal.open_blocking(opening("ledger"))
        Run.objects.using(POSTGRESQL).update(lease_expires_at=DatabaseTime(-1.0))

        def take_over() -> None:
            try:
                with pytest.raises(RunIDInUseError):
                    journal.open_blocking(opening("ledger", OpenMode.TAKE, owner=HEIR))
            finally:
                connections.close_all()

        def work() -> tuple[None, Commit]:
            heirs.append(pool.submit(take_over))
            with connections[POSTGRESQL].cursor() as cursor:
                cursor.execute(UNTIL_SOMEBODY_WAITS)
            return None, commit(row(1))

        heirs: list[Future[None]] = []
        with ThreadPoolExecutor(1) as pool:
            journal.transactions.run_blocking(claim, work)
            heirs[0].result()

    def test_what_only_we_ask_is_read_committed_and_the_project_gets_its_level_back(
        self, level: str
    ) -> None:
        with own_transaction(POSTGRESQL):
            assert level_now() == "read committed"
        with suppress(ZeroDivisionError), own_transaction(POSTGRESQL):
            raise ZeroDivisionError
        with transaction.atomic(using=POSTGRESQL):
            assert level_now() == level
            with own_transaction(POSTGRESQL):
                assert level_now() == level

    def test_a_level_that_went_with_its_connection_is_not_missed(self, level: str) -> None:
        connection = connections[POSTGRESQL]
        with suppress(Error), own_transaction(POSTGRESQL), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        connection.close()
        with transaction.atomic(using=POSTGRESQL):
            assert level_now() == level

    def test_steps_claims_and_renewals_go_on_as_they_do_below(
        self, level: str, journal: DjangoJournal
    ) -> None:
        claim = journal.open_blocking(opening("ledger"))
        journal.commit_blocking(claim, commit(row(1)))
        journal.leasing.renew([claim])
        journal.commit_blocking(claim, commit(row(2)))
        Run.objects.using(POSTGRESQL).update(lease_expires_at=DatabaseTime(-1.0))
        heir = journal.open_blocking(opening("ledger", OpenMode.TAKE, owner=HEIR))
        with pytest.raises(LeaseLostError):
            journal.commit_blocking(claim, commit(row(3)))
        journal.commit_blocking(heir, commit(row(3), status=RunStatus.SUCCEEDED))
        again = journal.open_blocking(opening("ledger", OpenMode.RESTART))
        journal.commit_blocking(again, commit(row(1)))

    def test_a_conflict_with_what_the_stage_has_read_is_the_stages(
        self, level: str, journal: DjangoJournal
    ) -> None:
        if level != "serializable":
            pytest.skip("only this level cares what was read")

        def count_and_create(name: str) -> None:
            groups = Group.objects.using(POSTGRESQL)
            groups.create(name=f"{name} {groups.count()}")

        def rival() -> None:
            with transaction.atomic(using=POSTGRESQL):
                count_and_create("theirs")

        def work() -> tuple[None, Commit]:
            count_and_create("ours")
            elsewhere(rival)
            return None, commit(row(1))

        claim = journal.open_blocking(opening("ledger"))
        with pytest.raises(OperationalError, match="could not serialize"):
            journal.transactions.run_blocking(claim, work)
        journal.commit_blocking(claim, commit(row(1)))


UNTIL_SOMEBODY_WAITS = (
    "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock') "
    "LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$"
)
"""A statement of the server's, which ends when somebody waits for a lock."""
