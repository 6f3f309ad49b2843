"""The journal of a store that fails on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from fluxio.program import Manifest
from fluxio.store.base import (
    Claim,
    Commit,
    Journal,
    Leasing,
    Opening,
    Row,
    RunRecord,
    Transactions,
)
from fluxio.testing.faults.call import call, failure
from fluxio.testing.faults.fault import FaultMode, Ledger, Operation
from fluxio.testing.faults.memory import Memory

Result = TypeVar("Result")


class FaultyJournal:
    """The journal of a `FaultyStore`."""

    def __init__(self, journal: Journal, ledger: Ledger, memory: Memory) -> None:
        self._journal = journal
        self._ledger = ledger
        self._memory = memory
        transactions, leasing = journal.transactions, journal.leasing
        self._transactions = transactions and _FaultyTransactions(transactions, ledger, memory)
        self._leasing = leasing and _FaultyLeasing(leasing, ledger)

    @property
    def snapshots_only(self) -> bool:
        """As the wrapped journal has it."""
        return self._journal.snapshots_only

    @property
    def transactions(self) -> Transactions | None:
        """The wrapped capability, just as faulty."""
        return self._transactions

    @property
    def leasing(self) -> Leasing | None:
        """The wrapped capability, just as faulty."""
        return self._leasing

    async def open(self, opening: Opening) -> Claim:
        """See `Journal.open`."""
        await self._memory.keep(opening.run_id)
        return await call(self._ledger, Operation.OPEN, lambda: self._journal.open(opening))

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """See `Journal.commit`."""
        await self._memory.keep(claim.run_id)
        await call(
            self._ledger,
            Operation.COMMIT,
            lambda: self._journal.commit(claim, commit),
            claim=claim,
        )

    def release(self, claim: Claim) -> None:
        """See `Journal.release`; it does no I/O, so it never fails."""
        self._journal.release(claim)

    async def run(self, run_id: str) -> RunRecord | None:
        """See `Journal.run`."""
        return await call(
            self._ledger,
            Operation.RUN,
            lambda: self._journal.run(run_id),
            stale=lambda: self._memory.of(run_id).record,
        )

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """See `Journal.rows`."""
        return await call(
            self._ledger,
            Operation.ROWS,
            lambda: self._journal.rows(run_id, first=first, last=last),
            stale=lambda: self._memory.of(run_id).rows_between(first, last),
            spoil=_spoiled_rows,
        )

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """See `Journal.last_full`."""
        return await call(
            self._ledger,
            Operation.LAST_FULL,
            lambda: self._journal.last_full(run_id, upto=upto),
            stale=lambda: self._memory.of(run_id).last_full(upto),
        )

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """See `Journal.manifest`."""
        return await call(
            self._ledger, Operation.MANIFEST, lambda: self._journal.manifest(pipeline, version)
        )


class _FaultyTransactions:
    """The transactional capability of a `FaultyJournal`."""

    def __init__(self, transactions: Transactions, ledger: Ledger, memory: Memory) -> None:
        self._transactions = transactions
        self._ledger = ledger
        self._memory = memory

    def check(self, stage: str) -> None:
        self._transactions.check(stage)

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        await self._memory.keep(claim.run_id)
        return await call(
            self._ledger,
            Operation.TRANSACTION,
            lambda: self._transactions.run(claim, work),
            claim=claim,
        )


class _FaultyLeasing:
    """The lease capability of a `FaultyJournal`."""

    def __init__(self, leasing: Leasing, ledger: Ledger) -> None:
        self._leasing = leasing
        self._ledger = ledger

    def renew(self, claims: Sequence[Claim]) -> None:
        fault = self._ledger.fault_for(Operation.RENEW)
        if fault is None:
            self._leasing.renew(claims)
            return
        if fault.mode is FaultMode.LEASE_LOST:
            return
        if fault.mode is FaultMode.UNANSWERED:
            self._leasing.renew(claims)
        raise failure(fault, Operation.RENEW)

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        return self._leasing.wishes(claims)


def _spoiled_rows(rows: list[Row]) -> list[Row]:
    if not rows:
        return rows
    payload = rows[-1].payload
    middle = len(payload) // 2
    wrong = "1" if payload[middle : middle + 1] == "0" else "0"
    spoiled = payload[:middle] + wrong + payload[middle + 1 :]
    return [*rows[:-1], replace(rows[-1], payload=spoiled)]
