"""The checkpoint store over Django's databases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from secrets import randbits

from django.db import IntegrityError

from fluxio.errors import NoCheckpointError
from fluxio.runtime.history import read_recorded
from fluxio.runtime.loopless import run_without_loop
from fluxio.store.admission import run_in_use
from fluxio.store.base import Checkpoint, CheckpointStore
from fluxio.store.snapshot import checkpoint_from_rows, record_of, row_from_checkpoint
from fluxio_django.commits import check_rows
from fluxio_django.faults import RACES, changed_too_often, surely
from fluxio_django.journal import DjangoJournal
from fluxio_django.records import SeenRun
from fluxio_django.tables import Tables, hop


class DjangoStore(CheckpointStore):
    """Keeps runs in SQLite, PostgreSQL, MariaDB or MySQL, through the models of `fluxio_django`.

    `using` is the alias of a database; None takes FLUXIO["DATABASE"]. A store may be built before
    Django's apps are loaded, and is used from any thread.
    """

    def __init__(self, using: str | None = None) -> None:
        self._tables = Tables(using)
        self._journal = DjangoJournal(self._tables)

    def __repr__(self) -> str:
        return f"DjangoStore(using={self._tables.using!r})"

    @property
    def tables(self) -> Tables:
        """The tables that hold the runs."""
        return self._tables

    def journal(self) -> DjangoJournal:
        """The journal, which works on the same runs as the four methods."""
        return self._journal

    async def save(self, checkpoint: Checkpoint) -> None:
        """Append the whole state to the run's log, beginning it where the run is unknown.

        Raises:
            RunIDInUseError: the run is being executed.
            StoreError: the database failed, or the state is too large.
        """
        await hop(self.save_blocking, checkpoint)

    async def load(self, run_id: str) -> Checkpoint | None:
        """The newest checkpoint of a run, None where there is none.

        Raises:
            CorruptCheckpointError: what is kept is not what was written.
            StoreError: the database failed.
        """
        return await hop(self.load_blocking, run_id)

    async def delete(self, run_id: str) -> None:
        """Forget a run; whoever executes it loses it. Unknown ids are fine."""
        await hop(self.delete_blocking, run_id)

    async def exists(self, run_id: str) -> bool:
        """Whether the run is kept."""
        return await self._journal.run(run_id) is not None

    def save_blocking(self, checkpoint: Checkpoint) -> None:
        """Do as `save`."""
        surely(self._tables.alias, partial(self._save, checkpoint))

    def load_blocking(self, run_id: str) -> Checkpoint | None:
        """Do as `load`."""
        record = self._journal.run_blocking(run_id)
        if record is None:
            return None
        try:
            record, rows = run_without_loop(read_recorded(self._journal, record))
        except NoCheckpointError:
            return None
        return checkpoint_from_rows(record, rows)

    def delete_blocking(self, run_id: str) -> None:
        """Do as `delete`."""
        runs = self._tables.runs
        surely(self._tables.alias, lambda: runs.forget(run_id))

    def _save(self, checkpoint: Checkpoint) -> None:
        for _ in range(RACES):
            seen = self._tables.runs.seen(checkpoint.run_id)
            saved = self._begin(checkpoint) if seen is None else self._append(checkpoint, seen)
            if saved:
                return
        raise changed_too_often(checkpoint.run_id, "saved")

    def _begin(self, checkpoint: Checkpoint) -> bool:
        row = row_from_checkpoint(checkpoint, sequence=0, attempt=1)
        check_rows(checkpoint.run_id, [row])
        record = replace(record_of(checkpoint), head=0, attempt=1, token=randbits(32))
        try:
            return self._tables.runs.begin(record, 0.0, [row])
        except IntegrityError:
            return False

    def _append(self, checkpoint: Checkpoint, seen: SeenRun) -> bool:
        if seen.held:
            raise run_in_use(seen.record)
        row = row_from_checkpoint(
            checkpoint, sequence=seen.record.head + 1, attempt=seen.record.attempt
        )
        check_rows(checkpoint.run_id, [row])
        return self._tables.runs.replace(seen, record_of(checkpoint), row)
