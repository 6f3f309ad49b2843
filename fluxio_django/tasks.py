"""The Celery tasks: what a worker does with a message, and the sweep that beat asks for.

Celery finds them by `app.autodiscover_tasks()`. Whatever a broker loses, repeats or delays is
harmless: the row of the run decides, and a message only says where to look.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.db import close_old_connections

from fluxio_django import recovery, runner
from fluxio_django.conf import settings
from fluxio_django.dispatch.celery import EXECUTE, SWEEP

# The arguments are JSON whatever the project has chosen for its own tasks.
_OPTIONS: dict[str, Any] = {"ignore_result": True, "serializer": "json", "max_retries": 0}


@shared_task(name=EXECUTE, acks_late=True, reject_on_worker_lost=True, **_OPTIONS)
def execute(run_id: str) -> None:
    """Execute a queued run, or take over one whose worker is gone; duplicates do nothing."""
    close_old_connections()  # as at the start of a request; Celery itself knows only "all of them"
    runner.execute(run_id)


@shared_task(name=SWEEP, **_OPTIONS)
def sweep() -> None:
    """Hand over what was lost, take over what was abandoned, give up what is hopeless."""
    close_old_connections()
    recovery.sweep()


def beat_schedule() -> dict[str, dict[str, Any]]:
    """The entry for `app.conf.beat_schedule`: a sweep every FLUXIO["SWEEP_SECONDS"].

    A sweep that waited longer than two of these pauses is dropped; the next one does its work.
    """
    seconds = settings().sweep_seconds
    options = {"expires": seconds * 2}
    return {"fluxio-sweep": {"task": SWEEP, "schedule": seconds, "options": options}}
