"""The journal of a store that fails on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from fluxio.testing.passing import PassingJournal, PassingLeasing, PassingTransactions

Result = TypeVar("Result")


class FaultyJournal(PassingJournal):
    """The journal of a `FaultyStore`."""

    def __init__(self, journal: Journal, ledger: Ledger, memory: Memory) -> None:
        transactions, leasing = journal.transactions, journal.leasing
        super().__init__(
            journal,
            transactions=transactions and _FaultyTransactions(transactions, ledger, memory),
            leasing=leasing and _FaultyLeasing(leasing, ledger),
        )
        self._ledger = ledger
        self._memory = memory

    async def open(self, opening: Opening) -> Claim:
        """See `Journal.open`."""
        await self._memory.keep(opening.run_id)
        return await call(self._ledger, Operation.OPEN, lambda: self.behind.open(opening))

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """See `Journal.commit`."""
        await self._memory.keep(claim.run_id)
        await call(
            self._ledger,
            Operation.COMMIT,
            lambda: self.behind.commit(claim, commit),
            claim=claim,
        )

    async def run(self, run_id: str) -> RunRecord | None:
        """See `Journal.run`."""
        return await call(
            self._ledger,
            Operation.RUN,
            lambda: self.behind.run(run_id),
            stale=lambda: self._memory.of(run_id).record,
        )

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """See `Journal.rows`."""
        return await call(
            self._ledger,
            Operation.ROWS,
            lambda: self.behind.rows(run_id, first=first, last=last),
            stale=lambda: self._memory.of(run_id).rows_between(first, last),
            spoil=_spoiled_rows,
        )

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """See `Journal.last_full`."""
        return await call(
            self._ledger,
            Operation.LAST_FULL,
            lambda: self.behind.last_full(run_id, upto=upto),
            stale=lambda: self._memory.of(run_id).last_full(upto),
        )

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """See `Journal.manifest`."""
        return await call(
            self._ledger, Operation.MANIFEST, lambda: self.behind.manifest(pipeline, version)
        )


class _FaultyTransactions(PassingTransactions):
    """The transactional capability of a `FaultyJournal`."""

    def __init__(self, transactions: Transactions, ledger: Ledger, memory: Memory) -> None:
        super().__init__(transactions)
        self._ledger = ledger
        self._memory = memory

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        await self._memory.keep(claim.run_id)
        run = super().run
        return await call(
            self._ledger, Operation.TRANSACTION, lambda: run(claim, work), claim=claim
        )


class _FaultyLeasing(PassingLeasing):
    """The lease capability of a `FaultyJournal`."""

    def __init__(self, leasing: Leasing, ledger: Ledger) -> None:
        super().__init__(leasing)
        self._ledger = ledger

    def renew(self, claims: Sequence[Claim]) -> None:
        fault = self._ledger.fault_for(Operation.RENEW)
        if fault is None:
            super().renew(claims)
            return
        if fault.mode is FaultMode.LEASE_LOST:
            return
        if fault.mode is FaultMode.UNANSWERED:
            super().renew(claims)
        raise failure(fault, Operation.RENEW)


def _spoiled_rows(rows: list[Row]) -> list[Row]:
    if not rows:
        return rows
    payload = rows[-1].payload
    middle = len(payload) // 2
    wrong = "1" if payload[middle : middle + 1] == "0" else "0"
    spoiled = payload[:middle] + wrong + payload[middle + 1 :]
    return [*rows[:-1], replace(rows[-1], payload=spoiled)]
