"""Runs and work that wait for somebody: enqueued, requeued, paused, launched after a commit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from fluxio.runtime.owner import is_provably_dead
from fluxio.store.admission import run_in_use
from fluxio.types import RunStatus
from fluxio_django import queueing, recovery
from fluxio_django.conf import settings
from fluxio_django.dispatch import Work, deliver_after_commit, work_after_commit
from fluxio_django.faults import RACES, changed_too_often, surely
from fluxio_django.handles import RunHandle
from fluxio_django.health import Health, examine
from fluxio_django.queueing import Wish
from fluxio_django.records import storable
from fluxio_django.registry import pipelines
from fluxio_django.services.runs import RunEndedError, database, find_run, seen_run
from fluxio_django.tables import Tables
from fluxio_django.tickets import QueueState, Ticket

_NO_WISH = Wish()


def launch(work: Work, *, run_id: str) -> None:
    """Have work done in this process once the surrounding transaction is durable."""
    work_after_commit(work, run_id, using=database())


def enqueue(
    name: str, initial: Mapping[str, Any], *, run_id: str | None = None, wish: Wish = _NO_WISH
) -> RunHandle:
    """Write a queued run of a registered pipeline; a worker gets it after the commit.

    Raises:
        UnknownPipelineError: there is no such pipeline.
        FluxioError: see `DjangoPipeline.enqueue`.
    """
    return pipelines[name].enqueue_as(initial, run_id, wish)


def requeue(run_id: str) -> RunHandle:
    """Have a worker go on with a run from its last checkpoint; a queued one is dispatched again.

    A run that was given up gets as many takeovers as a new one.

    Raises:
        UnknownRunError: there is none.
        RunIDInUseError: it is being executed.
        RunEndedError: it has succeeded; it can be replayed.
    """
    find_run(run_id)
    tables = Tables(database())
    tickets = surely(tables.alias, partial(_requeue, tables, run_id))
    return RunHandle(run_id, tables, deliver_after_commit(tickets, using=tables.alias))


def _requeue(tables: Tables, run_id: str) -> list[Ticket]:
    for _ in range(RACES):
        seen = seen_run(tables, run_id)
        if seen.held and not is_provably_dead(seen.record.owner or ""):
            raise run_in_use(seen.record)
        if seen.record.status is RunStatus.SUCCEEDED:
            raise RunEndedError(
                f"Run {run_id!r} has succeeded, so there is nothing to go on with. Replay it.",
                run_id=run_id,
                status=seen.record.status,
            )
        tickets = queueing.requeue(tables, seen)
        if tickets is not None:
            return tickets
    raise changed_too_often(run_id, "requeued")


def pause_queue(name: str, reason: str = "") -> None:
    """Let no worker claim runs of a queue; what is being executed goes on.

    Raises:
        ConfigurationError: FLUXIO["QUEUES"] does not name it.
    """
    tables = Tables(database())
    tables.queues.pause(queueing.checked_queue(name), storable(reason)[:500])


def resume_queue(name: str) -> None:
    """Let the runs of a queue be claimed again, and hand over those that wait.

    Raises:
        ConfigurationError: FLUXIO["QUEUES"] does not name it.
    """
    tables = Tables(database())
    tables.queues.resume(queueing.checked_queue(name))
    tables.runs.make_queue_due(name)
    recovery.hand_over(tables)


def queues() -> list[QueueState]:
    """Every queue that FLUXIO names or that runs wait in, and how it stands."""
    return recovery.queue_states(Tables(database()), settings().queues)


def health() -> Health:
    """Whether runs are being worked on; what is wrong is told in it, and not raised."""
    return examine(Tables(database()))
