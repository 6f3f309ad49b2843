"""Transactions of ours do what they promise, however those of the project are set to begin."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from fluxio.errors import StoreUnavailableError
from fluxio.store.base import Claim, Commit
from fluxio.testing.conformance.samples import commit, opening, row
from fluxio_django import DjangoStore, faults
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
