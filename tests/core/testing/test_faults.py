"""A faulty store fails exactly where it is told to, and is the store it wraps everywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxio.errors import CorruptCheckpointError, LeaseLostError, StoreError
from fluxio.store.base import OpenMode
from fluxio.store.memory import InMemoryStore
from fluxio.store.payload import open_row
from fluxio.testing import conformance
from fluxio.testing.conformance import Case, Subject
from fluxio.testing.conformance.samples import (
    begin,
    checkpoint,
    commit,
    opening,
    row,
    start_row,
)
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from fluxio.types import RunStatus
from tests.core.stores.toy import ToyStore, TransactionalStore


def wrapped_memory() -> Subject:
    """A faulty store without faults."""
    return Subject(store=FaultyStore(InMemoryStore()))


def wrapped_transactions() -> Subject:
    """The same around a store with transactions."""
    store = TransactionalStore()
    return Subject(store=FaultyStore(store), ledger=store.ledger)


@pytest.mark.parametrize("case", conformance.cases_for(wrapped_memory()))
async def test_without_faults_it_keeps_the_contract(case: Case) -> None:
    await case.run(wrapped_memory())


@pytest.mark.parametrize(
    "case",
    [it for it in conformance.cases_for(wrapped_transactions()) if it.topic == "transactions"],
)
async def test_without_faults_transactions_keep_the_contract(case: Case) -> None:
    await case.run(wrapped_transactions())


async def test_a_store_of_four_methods_stays_one() -> None:
    store = FaultyStore(ToyStore())
    assert store.journal() is None
    await store.save(checkpoint("run"))
    assert store.calls == (Operation.SAVE,)


async def test_calls_of_both_faces_are_counted_in_order() -> None:
    store = FaultyStore(InMemoryStore())
    journal = store.journal()
    assert journal is not None
    claim = await begin(journal, "run")
    await journal.commit(claim, commit(row(1)))
    await store.exists("run")
    await journal.rows("run")
    assert store.calls == (Operation.OPEN, Operation.COMMIT, Operation.EXISTS, Operation.ROWS)
    assert store.fired == ()


async def test_an_unavailable_store_does_nothing() -> None:
    store = FaultyStore(ToyStore(), Fault(mode=FaultMode.UNAVAILABLE, call=2))
    await store.save(checkpoint("run", {"n": 1}))
    with pytest.raises(StoreError):
        await store.save(checkpoint("run", {"n": 2}))
    found = await store.load("run")
    assert found is not None
    assert found.ctx_snapshot == {"n": 1}


async def test_an_unanswered_call_was_done() -> None:
    store = FaultyStore(ToyStore(), Fault(mode=FaultMode.UNANSWERED))
    with pytest.raises(StoreError):
        await store.save(checkpoint("run"))
    assert await store.exists("run")


async def test_a_fault_strikes_once_or_for_ever() -> None:
    once = FaultyStore(ToyStore(), Fault(mode=FaultMode.UNAVAILABLE, call=2))
    always = FaultyStore(ToyStore(), Fault(mode=FaultMode.UNAVAILABLE, call=2, forever=True))
    for store, expected in ((once, [True, False, True, True]), (always, [True] + [False] * 3)):
        answers = []
        for _ in range(4):
            try:
                await store.exists("run")
                answers.append(True)
            except StoreError:
                answers.append(False)
        assert answers == expected


async def test_healing_ends_all_faults() -> None:
    store = FaultyStore(ToyStore(), Fault(mode=FaultMode.UNAVAILABLE, forever=True))
    with pytest.raises(StoreError):
        await store.exists("run")
    store.heal()
    assert not await store.exists("run")
    assert [operation for _, operation in store.fired] == [Operation.EXISTS]


async def test_a_fault_may_count_the_calls_of_one_operation() -> None:
    fault = Fault(mode=FaultMode.UNAVAILABLE, call=2, operation=Operation.LOAD)
    store = FaultyStore(ToyStore(), fault)
    await store.load("run")
    await store.exists("run")
    await store.exists("run")
    with pytest.raises(StoreError):
        await store.load("run")


async def test_a_slow_call_waits_for_its_hook() -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def hook() -> None:
        reached.set()
        await gate.wait()

    store = FaultyStore(ToyStore(), Fault(mode=FaultMode.SLOW, hook=hook))
    saving = asyncio.ensure_future(store.save(checkpoint("run")))
    await reached.wait()
    assert not await store.exists("run")
    gate.set()
    await saving
    assert await store.exists("run")


async def test_a_call_that_times_out_does_nothing_and_says_so_late() -> None:
    waited: list[int] = []

    async def hook() -> None:
        waited.append(1)

    for given, heard in ((None, []), (hook, [1])):
        store = FaultyStore(ToyStore(), Fault(mode=FaultMode.TIMED_OUT, hook=given))
        with pytest.raises(StoreError, match="timed_out"):
            await store.save(checkpoint("run"))
        assert waited == heard
        assert not await store.exists("run")


async def test_a_stale_load_answers_as_before_the_newest_save() -> None:
    stale = Fault(mode=FaultMode.STALE, operation=Operation.LOAD)
    store = FaultyStore(ToyStore(), stale)
    await store.save(checkpoint("run", {"n": 1}))
    await store.save(checkpoint("run", {"n": 2}))
    old, new = await store.load("run"), await store.load("run")
    assert old is not None
    assert new is not None
    assert (old.ctx_snapshot, new.ctx_snapshot) == ({"n": 1}, {"n": 2})


async def test_a_stale_journal_answers_as_before_the_newest_write() -> None:
    store = FaultyStore(InMemoryStore(), Fault(mode=FaultMode.STALE, call=4, forever=True))
    journal = store.journal()
    assert journal is not None
    claim = await begin(journal, "run")
    await journal.commit(claim, commit(row(1, full=True)))
    await journal.commit(claim, commit(row(2, full=True), status=RunStatus.SUCCEEDED))
    record = await journal.run("run")
    assert record is not None
    assert (record.head, record.status) == (1, RunStatus.RUNNING)
    assert [it.sequence for it in await journal.rows("run")] == [0, 1]
    assert await journal.last_full("run") == 1
    assert await store.exists("run")
    store.heal()
    assert len(await journal.rows("run")) == 3


async def test_a_stale_read_after_a_restart_shows_the_old_run() -> None:
    stale = Fault(mode=FaultMode.STALE, operation=Operation.ROWS)
    store = FaultyStore(InMemoryStore(), stale)
    journal = store.journal()
    assert journal is not None
    claim = await begin(journal, "run")
    await journal.commit(claim, commit(row(1), status=RunStatus.FAILED))
    fresh = start_row("run", {"fresh": True})
    await journal.open(opening("run", OpenMode.RESTART, start=fresh))
    assert len(await journal.rows("run")) == 2
    assert await journal.rows("run") == [fresh]


async def test_a_lost_lease_is_told_by_the_commit_and_nothing_is_written() -> None:
    fault = Fault(mode=FaultMode.LEASE_LOST, call=3)
    store = FaultyStore(InMemoryStore(), fault)
    journal = store.journal()
    assert journal is not None
    claim = await begin(journal, "run")
    await journal.commit(claim, commit(row(1)))
    with pytest.raises(LeaseLostError) as caught:
        await journal.commit(claim, commit(row(2)))
    assert (caught.value.run_id, caught.value.token) == ("run", claim.token)
    assert len(await journal.rows("run")) == 2


async def test_a_fault_that_does_not_fit_a_call_leaves_it_alone() -> None:
    store = FaultyStore(InMemoryStore(), Fault(mode=FaultMode.LEASE_LOST, forever=True))
    journal = store.journal()
    assert journal is not None
    await begin(journal, "run")
    assert len(await journal.rows("run")) == 1
    assert store.fired == ()


async def test_a_corrupt_row_is_noticed_by_its_seal() -> None:
    fault = Fault(mode=FaultMode.CORRUPT, operation=Operation.ROWS)
    store = FaultyStore(InMemoryStore(), fault)
    journal = store.journal()
    assert journal is not None
    await begin(journal, "run")
    (spoiled,) = await journal.rows("run")
    with pytest.raises(CorruptCheckpointError):
        open_row("run", spoiled)
    (whole,) = await journal.rows("run")
    open_row("run", whole)


async def test_only_the_newest_row_is_corrupt() -> None:
    fault = Fault(mode=FaultMode.CORRUPT, operation=Operation.ROWS)
    store = FaultyStore(InMemoryStore(), fault)
    journal = store.journal()
    assert journal is not None
    claim = await begin(journal, "run")
    await journal.commit(claim, commit(row(1), row(2)))
    found = await journal.rows("run")
    assert found[1] == row(1)
    assert found[2] != row(2)
    assert replace(found[2], payload=row(2).payload) == row(2)


@pytest.mark.parametrize("store", [ToyStore(), InMemoryStore()])
async def test_a_corrupt_checkpoint_is_refused(store: ToyStore | InMemoryStore) -> None:
    await store.save(checkpoint("run"))
    faulty = FaultyStore(store, Fault(mode=FaultMode.CORRUPT))
    with pytest.raises(CorruptCheckpointError):
        await faulty.load("run")
    faulty = FaultyStore(store, Fault(mode=FaultMode.CORRUPT))
    assert await faulty.load("nobody") is None


async def test_a_transaction_may_be_done_and_unanswered() -> None:
    inner = TransactionalStore()
    fault = Fault(mode=FaultMode.UNANSWERED, operation=Operation.TRANSACTION)
    store = FaultyStore(inner, fault)
    journal = store.journal()
    assert journal is not None
    assert journal.transactions is not None
    claim = await begin(journal, "run")
    with pytest.raises(StoreError):
        await journal.transactions.run(claim, lambda: (None, commit(row(1))))
    assert len(await journal.rows("run")) == 2


class Leases:
    """Remembers what was renewed."""

    def __init__(self) -> None:
        self.renewed = 0

    def renew(self, claims: object) -> None:
        self.renewed += 1


@pytest.mark.parametrize(
    ("mode", "raises", "renewed"),
    [
        (FaultMode.UNAVAILABLE, True, 0),
        (FaultMode.UNANSWERED, True, 1),
        (FaultMode.LEASE_LOST, False, 0),
        (FaultMode.STALE, False, 1),
    ],
)
async def test_renewals_fail_only_when_they_are_meant(
    mode: FaultMode, raises: bool, renewed: int
) -> None:
    inner, leases = InMemoryStore(), Leases()
    inner._journal.leasing = leases  # type: ignore[assignment]
    store = FaultyStore(inner, Fault(mode=mode, operation=Operation.RENEW))
    journal = store.journal()
    assert journal is not None
    assert journal.leasing is not None
    if raises:
        with pytest.raises(StoreError):
            journal.leasing.renew([])
    else:
        journal.leasing.renew([])
    assert leases.renewed == renewed


async def test_renewals_do_not_move_the_count_of_other_calls() -> None:
    inner = InMemoryStore()
    inner._journal.leasing = Leases()  # type: ignore[assignment]
    store = FaultyStore(inner, Fault(mode=FaultMode.UNAVAILABLE, call=2))
    journal = store.journal()
    assert journal is not None
    assert journal.leasing is not None
    await store.exists("run")
    for _ in range(5):
        journal.leasing.renew([])
    with pytest.raises(StoreError):
        await store.exists("run")


INVALID: dict[str, Callable[[], Fault]] = {
    "call 0": lambda: Fault(mode=FaultMode.UNAVAILABLE, call=0),
    "slow without a hook": lambda: Fault(mode=FaultMode.SLOW),
    "a hook for nothing": lambda: Fault(mode=FaultMode.STALE, hook=asyncio.Event().wait),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID)
def test_a_fault_that_makes_no_sense_is_refused(make: Callable[[], Fault]) -> None:
    with pytest.raises(ValueError, match=r"call|hook"):
        make()


async def test_the_same_calls_meet_the_same_faults() -> None:
    async def story() -> tuple[list[str], int]:
        faults = [
            Fault(mode=mode, call=at)
            for at, mode in enumerate(
                [FaultMode.UNAVAILABLE, FaultMode.UNANSWERED, FaultMode.STALE], start=2
            )
        ]
        store, told = FaultyStore(ToyStore(), *faults), []
        for number in range(6):
            try:
                await store.save(checkpoint("run", {"n": number}))
                found = await store.load("run")
                told.append(repr(found and found.ctx_snapshot))
            except StoreError as error:
                told.append(str(error))
        return told, len(store.fired)

    assert await story() == await story()
