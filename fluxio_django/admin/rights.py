"""Whether a person holds a right."""

from __future__ import annotations

from django.db.models import Model
from django.http import HttpRequest

from fluxio_django.rights import Right, has_right


def holds(request: HttpRequest, right: Right, instance: Model | None = None) -> bool:
    """Whether the user has a right at all, or has been given it for this one instance."""
    return has_right(request.user, right, instance)
