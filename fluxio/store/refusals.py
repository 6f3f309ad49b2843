"""How journals refuse a commit or a row: the same words and facts, whatever keeps the data."""

from __future__ import annotations

from fluxio.errors import CorruptCheckpointError, LeaseLostError, StoreError
from fluxio.store.base import Claim


def lease_lost(claim: Claim) -> LeaseLostError:
    """The error for a claim that no longer holds."""
    return _lost(claim, "it has ended, or somebody else took it over")


def run_vanished(claim: Claim) -> LeaseLostError:
    """The error for a claim on a run that is no longer there."""
    return _lost(claim, "it was deleted, flushed, evicted or expired")


def out_of_order(run_id: str, head: int, first: int) -> StoreError:
    """The error for rows that do not follow the newest one."""
    return StoreError(
        f"Rows of run {run_id!r} go on at {head + 1}, but row {first} was given. Nothing was "
        "written; read the run again before committing.",
        run_id=run_id,
        sequence=first,
    )


def row_damaged(run_id: str, sequence: int, reason: str) -> CorruptCheckpointError:
    """The error for a row that is not what was written; `reason` goes on from "Row 3 of ..."."""
    return CorruptCheckpointError(
        f"Row {sequence} of run {run_id!r} {reason}. Nothing was run. Restore it from a backup, or "
        "start the run afresh.",
        run_id=run_id,
        sequence=sequence,
        reason=reason,
    )


def _lost(claim: Claim, reason: str) -> LeaseLostError:
    return LeaseLostError(
        f"Run {claim.run_id!r} is no longer owned by {claim.owner} (token {claim.token}): "
        f"{reason}. Nothing was written.",
        run_id=claim.run_id,
        token=claim.token,
    )
