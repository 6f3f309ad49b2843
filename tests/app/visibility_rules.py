"""Rules of visibility as a project could write them."""

from typing import Any

from django.db.models import QuerySet

from fluxio_django.models import Run


def only_own(user: Any, runs: QuerySet[Run]) -> QuerySet[Run]:
    """People see the runs that they asked for."""
    return runs.filter(requested_by=user.pk)
