"""Stores that are only for tests: the smallest one there can be, and one with transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fluxio.errors import TransactionRefusedError
from fluxio.store.base import Checkpoint, CheckpointStore, Claim, Commit
from fluxio.store.memory import InMemoryStore, MemoryJournal

Result = TypeVar("Result")


class ToyStore(CheckpointStore):
    """The smallest store: four methods around a dict, as a user's first one may look."""

    def __init__(self) -> None:
        self.checkpoints: dict[str, Checkpoint] = {}

    async def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints[checkpoint.run_id] = checkpoint

    async def load(self, run_id: str) -> Checkpoint | None:
        return self.checkpoints.get(run_id)

    async def delete(self, run_id: str) -> None:
        self.checkpoints.pop(run_id, None)

    async def exists(self, run_id: str) -> bool:
        return run_id in self.checkpoints


class ToyLedger:
    """Notes that are kept or dropped together with a commit."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.pending: list[str] = []

    def write(self, note: str) -> None:
        self.pending.append(note)

    async def notes(self) -> list[str]:
        return list(self.kept)


class ToyTransactions:
    """Transactions for a journal in memory: the ledger keeps its notes once the commit went in."""

    def __init__(self, journal: MemoryJournal, ledger: ToyLedger) -> None:
        self._journal = journal
        self._ledger = ledger

    def check(self, stage: str) -> None:
        if not stage:
            raise TransactionRefusedError("A stage has a name.", stage=stage)

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        self._ledger.pending = []
        result, commit = await asyncio.to_thread(work)
        await self._journal.commit(claim, commit)
        self._ledger.kept += self._ledger.pending
        return result


class TransactionalStore(InMemoryStore):
    """A store in memory whose journal has transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ToyLedger()
        self._journal.transactions = ToyTransactions(self._journal, self.ledger)  # type: ignore[assignment]
