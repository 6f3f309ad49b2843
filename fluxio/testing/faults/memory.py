"""What a store would have answered before the newest write, for stale reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fluxio.store.base import Checkpoint, CheckpointStore, Row, RunRecord
from fluxio.store.snapshot import checkpoint_from_rows
from fluxio.testing.faults.fault import Ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A run as it was before the newest write to it: its log, or its snapshot without a journal."""

    record: RunRecord | None = None
    rows: Sequence[Row] = ()
    snapshot: Checkpoint | None = None

    @property
    def exists(self) -> bool:
        """Whether the run was there."""
        return self.record is not None or self.snapshot is not None

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint there was.

        Raises:
            CorruptCheckpointError: it could not have been loaded.
        """
        if self.record is None:
            return self.snapshot
        return checkpoint_from_rows(self.record, self.rows_between(self.last_full(None), None))

    def rows_between(self, first: int, last: int | None) -> list[Row]:
        """Rows with `first <= sequence <= last`."""
        end = len(self.rows) if last is None else last
        return [row for row in self.rows if first <= row.sequence <= end]

    def last_full(self, upto: int | None) -> int:
        """The sequence of the newest full row at or before `upto`, 0 where there is none."""
        full = [row.sequence for row in self.rows_between(0, upto) if row.full]
        return max(full, default=0)


_NOTHING = Past()


class Memory:
    """Looks at a run before each write to it, as long as some fault asks for stale reads."""

    def __init__(self, store: CheckpointStore, ledger: Ledger) -> None:
        self._store = store
        self._journal = store.journal()
        self._ledger = ledger
        self._runs: dict[str, Past] = {}

    def of(self, run_id: str) -> Past:
        """The run before its newest write; an unknown one where nothing was written yet."""
        return self._runs.get(run_id, _NOTHING)

    async def keep(self, run_id: str) -> None:
        """Remember the run as it is, because a write follows."""
        if not self._ledger.remembers:
            return
        if self._journal is None:
            self._runs[run_id] = Past(snapshot=await self._store.load(run_id))
            return
        record, rows = await self._journal.run(run_id), await self._journal.rows(run_id)
        self._runs[run_id] = Past(record=record, rows=rows)
