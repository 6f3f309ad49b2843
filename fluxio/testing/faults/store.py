"""A store that fails on purpose, at the call a test chooses."""

from __future__ import annotations

from fluxio.store.base import Checkpoint, CheckpointStore, Journal
from fluxio.store.refusals import row_damaged
from fluxio.testing.faults.call import call
from fluxio.testing.faults.fault import Fault, Ledger, Operation
from fluxio.testing.faults.journal import FaultyJournal
from fluxio.testing.faults.memory import Memory


class FaultyStore(CheckpointStore):
    """Wraps a store, its four methods and its journal, and lets chosen calls go wrong.

    Deterministic: the same calls meet the same faults. `calls` lists what was called so far,
    `fired` the faults that struck, each with the call it struck. `heal` ends all faults.
    """

    def __init__(self, store: CheckpointStore, *faults: Fault) -> None:
        self._store = store
        self._ledger = Ledger(faults)
        self._memory = Memory(store, self._ledger)
        inner = store.journal()
        self._journal = None if inner is None else FaultyJournal(inner, self._ledger, self._memory)

    @property
    def calls(self) -> tuple[Operation, ...]:
        """Every call so far, in order."""
        return tuple(self._ledger.calls)

    @property
    def fired(self) -> tuple[tuple[Fault, Operation], ...]:
        """Every fault that struck, with the call it struck."""
        return tuple(self._ledger.fired)

    def heal(self) -> None:
        """From now on nothing goes wrong; counting goes on."""
        self._ledger.faults = ()

    def journal(self) -> Journal | None:
        """The wrapped store's journal, just as faulty; None where it has none."""
        return self._journal

    async def save(self, checkpoint: Checkpoint) -> None:
        """See `CheckpointStore.save`."""
        await self._memory.keep(checkpoint.run_id)
        await call(self._ledger, Operation.SAVE, lambda: self._store.save(checkpoint))

    async def load(self, run_id: str) -> Checkpoint | None:
        """See `CheckpointStore.load`."""
        return await call(
            self._ledger,
            Operation.LOAD,
            lambda: self._store.load(run_id),
            stale=lambda: self._memory.of(run_id).checkpoint(),
            spoil=_spoiled_checkpoint,
        )

    async def delete(self, run_id: str) -> None:
        """See `CheckpointStore.delete`."""
        await self._memory.keep(run_id)
        await call(self._ledger, Operation.DELETE, lambda: self._store.delete(run_id))

    async def exists(self, run_id: str) -> bool:
        """See `CheckpointStore.exists`."""
        return await call(
            self._ledger,
            Operation.EXISTS,
            lambda: self._store.exists(run_id),
            stale=lambda: self._memory.of(run_id).exists,
        )


def _spoiled_checkpoint(checkpoint: Checkpoint | None) -> Checkpoint | None:
    if checkpoint is None:
        return None
    raise row_damaged(checkpoint.run_id, 0, "is damaged, by way of a test")
