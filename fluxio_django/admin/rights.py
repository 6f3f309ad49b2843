"""What a person may do with a run, beyond knowing that it exists."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import Model
from django.http import HttpRequest


class Right(StrEnum):
    """The values are the permissions that `Run` declares."""

    RESUME = "resume_run"
    REPLAY = "replay_run"
    FORK = "fork_run"
    DIFF = "diff_run"
    VALUES = "view_context"

    @property
    def permission(self) -> str:
        """The name under which Django knows it."""
        return f"fluxio_django.{self.value}"


def holds(request: HttpRequest, right: Right, instance: Model | None = None) -> bool:
    """Whether the user has a right at all, or has been given it for this one instance."""
    user = request.user
    if user.has_perm(right.permission):
        return True
    return instance is not None and user.has_perm(right.permission, instance)
