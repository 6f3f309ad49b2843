"""What the operations on runs are called in addresses, so that nobody needs them to lead there."""

from __future__ import annotations

from enum import StrEnum


class OperationName(StrEnum):
    """One for each of `fluxio_django.admin.operations.OPERATIONS`."""

    RESUME = "resume"
    REPLAY = "replay"
    FORK = "fork"
    REQUEUE = "requeue"
    CANCEL = "cancel"
    PRUNE = "prune"
