"""What stands in front of a journal and does as it does, except for what a double overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

Result = TypeVar("Result")


class PassingJournal:
    """A journal that hands every call on to the one behind it.

    `transactions` and `leasing` are the doubles of its capabilities, None where it has none.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        transactions: Transactions | None,
        leasing: Leasing | None,
    ) -> None:
        self._behind = journal
        self._transactions = transactions
        self._leasing = leasing

    @property
    def behind(self) -> Journal:
        """The journal that does the work."""
        return self._behind

    @property
    def snapshots_only(self) -> bool:
        """See `Journal.snapshots_only`."""
        return self._behind.snapshots_only

    @property
    def transactions(self) -> Transactions | None:
        """See `Journal.transactions`."""
        return self._transactions

    @property
    def leasing(self) -> Leasing | None:
        """See `Journal.leasing`."""
        return self._leasing

    async def open(self, opening: Opening) -> Claim:
        """See `Journal.open`."""
        return await self.behind.open(opening)

    async def commit(self, claim: Claim, commit: Commit) -> None:
        """See `Journal.commit`."""
        await self.behind.commit(claim, commit)

    def release(self, claim: Claim) -> None:
        """See `Journal.release`; it does no I/O, so nothing comes in between."""
        self._behind.release(claim)

    async def run(self, run_id: str) -> RunRecord | None:
        """See `Journal.run`."""
        return await self.behind.run(run_id)

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """See `Journal.rows`."""
        return await self.behind.rows(run_id, first=first, last=last)

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """See `Journal.last_full`."""
        return await self.behind.last_full(run_id, upto=upto)

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """See `Journal.manifest`."""
        return await self.behind.manifest(pipeline, version)


class PassingTransactions:
    """The transactional capability of a journal, handed on."""

    def __init__(self, transactions: Transactions) -> None:
        self._behind = transactions

    def check(self, stage: str) -> None:
        """See `Transactions.check`."""
        self._behind.check(stage)

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        """See `Transactions.run`."""
        return await self._behind.run(claim, work)


class PassingLeasing:
    """The lease capability of a journal, handed on."""

    def __init__(self, leasing: Leasing) -> None:
        self._behind = leasing

    def renew(self, claims: Sequence[Claim]) -> None:
        """See `Leasing.renew`."""
        self._behind.renew(claims)

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """See `Leasing.wishes`."""
        return self._behind.wishes(claims)
