"""How a commit is made and proved, and how one is recognised whose answer was lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from django.db import IntegrityError

from fluxio.errors import FluxioError, StoreError
from fluxio.store import refusals
from fluxio.store.base import Claim, Commit, Row, RunRecord
from fluxio.types import RunStatus
from fluxio_django.conf import settings
from fluxio_django.idling import bounded_transaction
from fluxio_django.tables import Tables


def check_rows(run_id: str, rows: Sequence[Row]) -> None:
    """Refuse rows that no database should be asked to keep.

    Raises:
        StoreError: one exceeds FLUXIO["MAX_PAYLOAD_BYTES"], or they do not follow each other.
    """
    limit = settings().max_payload_bytes
    for row in rows:
        if row.size > limit:
            raise StoreError(
                f"Step {row.step or row.kind.value!r} of run {run_id!r} is {row.size:,} bytes to "
                f"store; FLUXIO['MAX_PAYLOAD_BYTES'] allows {limit:,}. Keep large values elsewhere "
                "and put a reference to them into the context, or raise the limit.",
                run_id=run_id,
                sequence=row.sequence,
            )
    for before, row in pairwise(rows):
        if row.sequence != before.sequence + 1:
            raise refusals.out_of_order(run_id, before.sequence, row.sequence)


class Committing:
    """One commit; call it until it returns or refuses.

    A try whose answer was lost with the connection may have been applied. The next one then finds
    the record moved on, and its own row there. It cannot be too early to see that, because it waits
    for the run's row as long as the first try holds it.
    """

    def __init__(self, tables: Tables, claim: Claim, commit: Commit) -> None:
        self._tables = tables
        self.claim = claim
        self.commit = commit
        self.answer_lost = False

    def __call__(self) -> None:
        """Append the rows and move the record.

        Raises:
            LeaseLostError: the claim no longer holds; nothing was written.
            StoreError: the rows do not follow the newest one; nothing was written.
        """
        repeated, self.answer_lost = self.answer_lost, True
        try:
            committed = self._tables.constant_runs.commit(self.claim, self.commit)
        except IntegrityError:
            committed = False
        self.answer_lost = repeated
        if committed:
            return
        seen = self._tables.runs.seen(self.claim.run_id)
        record = seen.record if seen is not None else None
        if not (repeated and self._is_recorded(record)):
            raise refusal(record, self.claim, self.commit)

    def was_applied(self) -> bool:
        """Whether the commit is recorded; waits while it is still under way."""
        with bounded_transaction(self._tables.alias, self.claim.lease_seconds):
            self._tables.runs.keep(self.claim.run_id)
            seen = self._tables.runs.seen(self.claim.run_id)
            return self._is_recorded(seen.record if seen is not None else None)

    def is_overtaken(self) -> bool:
        """Whether somebody else has claimed the run."""
        seen = self._tables.runs.seen(self.claim.run_id)
        return seen is not None and seen.record.token != self.claim.token

    def _is_recorded(self, record: RunRecord | None) -> bool:
        if record is None:
            return False
        ours = record.token == self.claim.token
        if not self.commit.rows:
            return ours and record.status is self.commit.status
        # A run that has ended is nobody's: a later claim does not undo that this commit ended it.
        ended = self.commit.status is not RunStatus.RUNNING
        return (ours or ended) and self._tables.rows.holds(self.claim.run_id, self.commit.rows[-1])


def refusal(record: RunRecord | None, claim: Claim, commit: Commit) -> FluxioError:
    """The error for a commit that did not match the run's record."""
    if record is None:
        return refusals.run_vanished(claim)
    if (record.token, record.owner) != (claim.token, claim.owner) or not commit.rows:
        return refusals.lease_lost(claim)
    return refusals.out_of_order(claim.run_id, record.head, commit.rows[0].sequence)
