"""What is done to many runs at once: examined for a deploy, pruned, forgotten."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fluxio_django import compatibility, forgetting, retention
from fluxio_django.compatibility import Finding
from fluxio_django.forgetting import Forgetting, Forgot, Target, Trace
from fluxio_django.retention import Due, Pruned
from fluxio_django.services.runs import OPEN_STATUSES, database
from fluxio_django.tables import Tables


def examine(
    statuses: Collection[str] = OPEN_STATUSES, pipeline: str | None = None
) -> Iterator[Finding]:
    """What the code at hand would do with each run in these statuses; nothing is changed."""
    return compatibility.examine(Tables(database()), statuses, pipeline)


def traces_of(target: Target) -> list[Trace]:
    """The runs in which an object has left something; nothing is changed."""
    return forgetting.traces(Tables(database()), target)


def forget(target: Target, wish: Forgetting) -> list[Forgot]:
    """Mask or delete what an object has left in runs; gives what became of each of them.

    Open runs are passed over, and told of. Runs that were started meanwhile, and forks of those
    that had not been masked yet, are found by another look.
    """
    return list(forgetting.forget_all(Tables(database()), target, wish))


def due_to_be_pruned() -> list[Due]:
    """What FLUXIO["RETENTION"] would have deleted now, by pipeline and status."""
    return retention.due(Tables(database()))


def prune() -> Iterator[Pruned]:
    """Delete ended runs that FLUXIO["RETENTION"] keeps no longer; gives what each batch deleted."""
    return retention.prune(Tables(database()))
