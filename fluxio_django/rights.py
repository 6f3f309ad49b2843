"""What a person may do with a run, beyond knowing that it exists."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Right(StrEnum):
    """The values are the permissions that `Run` declares."""

    RESUME = "resume_run"
    REPLAY = "replay_run"
    FORK = "fork_run"
    CANCEL = "cancel_run"
    DIFF = "diff_run"
    VALUES = "view_context"
    FORCE = "force_version"
    PRUNE = "delete_run"

    @property
    def permission(self) -> str:
        """The name under which Django knows it."""
        return f"fluxio_django.{self.value}"


def has_right(user: Any, right: Right, instance: Any = None) -> bool:
    """Whether a user has a right at all, or has been given it for this one instance."""
    if user.has_perm(right.permission):
        return True
    return instance is not None and bool(user.has_perm(right.permission, instance))
