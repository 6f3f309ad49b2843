"""Rows as they are kept under a keyring: sealed once more on the way in, opened on the way out.

Stores do this by themselves, so that nobody else has to know: what a store is given and what it
gives are the same rows with keys as without.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from fluxio.codec import Keyring, is_plain, seal, unseal
from fluxio.store.base import Row
from fluxio.store.payload import binding_of


def lock_row(run_id: str, row: Row, keyring: Keyring | None) -> Row:
    """The row to keep: itself without a keyring, else with its payload and digest sealed by one."""
    if keyring is None:
        return row
    # Both are opaque here, and come back as they are.
    body = json.dumps([row.payload, row.digest])
    sealed = seal(body, binding_of(run_id, row), keyring=keyring)
    return replace(row, payload=sealed.payload, digest=sealed.digest)


def unlock_row(run_id: str, row: Row, keyring: Keyring | None) -> Row:
    """The row that was to be kept.

    Without a keyring, or for a row from the time before there was one, that is the row itself;
    whoever reads it finds out whether it is sound.

    Raises:
        CorruptCheckpointError: it was altered or moved, its key is missing, or it lacks the
            protection that the keyring demands. `reason` says which.
    """
    if keyring is None or (keyring.accept_unsealed and is_plain(row.payload)):
        return row
    body = unseal(row.payload, row.digest, binding_of(run_id, row), keyring=keyring)
    payload, digest = json.loads(body)
    return replace(row, payload=payload, digest=digest)


def lock_rows(run_id: str, rows: Iterable[Row], keyring: Keyring | None) -> list[Row]:
    """Several rows of a run to keep."""
    return [lock_row(run_id, row, keyring) for row in rows]


def unlock_rows(run_id: str, rows: Iterable[Row], keyring: Keyring | None) -> list[Row]:
    """Several rows that were to be kept; see `unlock_row` for what is refused."""
    return [unlock_row(run_id, row, keyring) for row in rows]
