"""The journal over the models: what the runtime records of a run, under a lease and a token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from django.db import transaction
from django.db.models.signals import post_migrate

from fluxio.errors import ConfigurationError
from fluxio.program import Manifest
from fluxio.runtime.loopless import in_loop
from fluxio.store.base import Claim, Commit, Opening, OpenMode, Row, RunRecord
from fluxio_django.claims import Admission, start_of
from fluxio_django.commits import Committing, check_rows
from fluxio_django.faults import surely
from fluxio_django.isolation import commits_nothing
from fluxio_django.tables import Tables, hop
from fluxio_django.transactions import DjangoTransactions
from fluxio_django.turns import Request, in_turn

Result = TypeVar("Result")

# Versions that are in the tables for sure: (alias, pipeline, version).
_noted: set[tuple[str, str, str]] = set()


class DjangoJournal:
    """Runs in the tables of one database, under leases by that database's clock.

    Each method is one unit of work on the thread where Django's connections live. The `_blocking`
    methods are those units, for callers that are on that thread already.
    """

    snapshots_only = False

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._leasing = DjangoLeasing(tables)
        self._transactions = DjangoTransactions(tables)

    @property
    def leasing(self) -> DjangoLeasing:
        """How leases are renewed."""
        return self._leasing

    @property
    def transactions(self) -> DjangoTransactions:
        """How a stage's own writes commit together with its row."""
        return self._transactions

    def open(self, opening: Opening) -> Awaitable[Claim]:
        """Take a run; see `Journal.open` for what is refused."""
        alone = opening.mode is OpenMode.TAKE or opening.parent_token is not None
        if alone or not in_loop():
            return hop(self.open_blocking, opening)
        unit = Admission(self._tables, opening)
        check = partial(self.check_and_note, opening)
        # A request to be admitted is answered with a claim.
        return cast("Awaitable[Claim]", in_turn(self._tables, Request(opening.run_id, unit, check)))

    def commit(self, claim: Claim, commit: Commit) -> Awaitable[Any]:
        """Append rows and move the record; see `Journal.commit` for what is refused."""
        if not in_loop():
            return self._commit_at_once(claim, commit)
        unit = Committing(self._tables, claim, commit)
        check = partial(check_rows, claim.run_id, commit.rows)
        return in_turn(self._tables, Request(claim.run_id, unit, check))

    async def _commit_at_once(self, claim: Claim, commit: Commit) -> None:
        self.commit_blocking(claim, commit)

    def release(self, claim: Claim) -> None:
        """Nothing: what no commit has freed, the end of its lease will."""

    async def run(self, run_id: str) -> RunRecord | None:
        """The record of a run, None where it is unknown."""
        return await hop(self.run_blocking, run_id)

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """Rows with `first <= sequence <= last`, ascending.

        Raises:
            CorruptCheckpointError: one of them is missing.
        """
        return await hop(self.rows_blocking, run_id, first=first, last=last)

    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        """The sequence of the newest full row at or before `upto`.

        Raises:
            NoCheckpointError: the run is unknown.
            CorruptCheckpointError: it has no such row.
        """
        return await hop(self.last_full_blocking, run_id, upto=upto)

    async def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest recorded for a version, if it is known."""
        return await hop(self.manifest_blocking, pipeline, version)

    def open_blocking(self, opening: Opening) -> Claim:
        """Do as `open`."""
        if opening.mode is OpenMode.TAKE:
            self._refuse_uncommitted(opening)
        else:
            self.check_and_note(opening)
        return surely(self._tables.alias, Admission(self._tables, opening))

    def commit_blocking(self, claim: Claim, commit: Commit) -> None:
        """Do as `commit`.

        A commit whose answer is lost with the connection is tried again: it cannot be applied
        twice, and what the first try wrote is recognised by its digest.
        """
        check_rows(claim.run_id, commit.rows)
        tables = self._tables
        surely(tables.alias, Committing(tables, claim, commit))

    def run_blocking(self, run_id: str) -> RunRecord | None:
        """Do as `run`."""
        seen = surely(self._tables.alias, lambda: self._tables.runs.seen(run_id))
        return None if seen is None else seen.record

    def rows_blocking(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        """Do as `rows`."""
        return surely(self._tables.alias, lambda: self._tables.runs.log(run_id, first, last))

    def last_full_blocking(self, run_id: str, *, upto: int | None = None) -> int:
        """Do as `last_full`."""
        return surely(self._tables.alias, lambda: self._tables.runs.newest_full(run_id, upto))

    def manifest_blocking(self, pipeline: str, version: str) -> Manifest | None:
        """Do as `manifest`."""
        versions = self._tables.versions
        return surely(self._tables.alias, lambda: versions.manifest(pipeline, version))

    def check_and_note(self, opening: Opening) -> None:
        """Refuse a start row that is too large, and see to it that its version is recorded.

        Raises:
            ConfigurationError: nothing would be committed here.
            ValueError: there is none.
            StoreError: it exceeds FLUXIO["MAX_PAYLOAD_BYTES"], or the database failed.
        """
        self._refuse_uncommitted(opening)
        check_rows(opening.run_id, [start_of(opening)])
        self._note_version(opening)

    def _refuse_uncommitted(self, opening: Opening) -> None:
        if commits_nothing(self._tables.connection):
            raise ConfigurationError(
                f"Run {opening.run_id!r} cannot be recorded: database {self._tables.alias!r} has "
                "autocommit switched off, so that its steps would count as recorded in a "
                "transaction that can still be lost. Switch it on; or use atomic(), if they are "
                "meant to go with a transaction of yours.",
            )

    def _note_version(self, opening: Opening) -> None:
        alias, versions = self._tables.alias, self._tables.versions
        key = alias, opening.pipeline, opening.version
        if key not in _noted:
            surely(alias, lambda: versions.note(*key[1:], opening.manifest))
            transaction.on_commit(lambda: _noted.add(key), using=alias)


@dataclass(frozen=True, slots=True)
class DjangoLeasing:
    """Renews claims; equal for all stores in one database, so that they are renewed together."""

    tables: Tables

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of these claims; lost ones are skipped.

        Raises:
            StoreError: the database cannot be reached; leases that were not extended will expire.
        """
        self._ask(lambda: self.tables.runs.renew(claims))

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """Which of these runs somebody wants to be cancelled, with the reasons.

        Raises:
            StoreError: the database cannot be reached.
        """
        return self._ask(lambda: self.tables.runs.wishes(claims))

    def _ask(self, work: Callable[[], Result]) -> Result:
        """Do database work in a thread of the runtime's.

        A connection that had to be opened for it is closed again: nobody else would close those
        of such a thread.
        """
        connection = self.tables.connection
        was_open = connection.connection is not None
        try:
            return surely(self.tables.alias, work)
        finally:
            if not was_open:
                connection.close()


def forget_noted_versions(**_: object) -> None:
    """Note versions again once tables were flushed or migrated."""
    _noted.clear()


post_migrate.connect(forget_noted_versions, dispatch_uid="fluxio_django.journal")
