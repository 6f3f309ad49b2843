"""Django's own tasks framework, which Django has from 6.0 on, as the way to the workers."""

from __future__ import annotations

from datetime import timedelta

from django.tasks import default_task_backend, task
from django.utils import timezone

from fluxio_django.conf import settings
from fluxio_django.dispatch import base
from fluxio_django.tickets import Ticket


@task
def execute(run_id: str) -> None:
    """Execute a queued run, or take over one whose worker is gone; duplicates do nothing."""
    base.execute(run_id)


class TasksDispatcher:
    """Enqueues one task per ticket, whose only argument is the id of the run.

    The first of FLUXIO["QUEUES"] goes to the default queue of the backend, each other one to the
    queue of its name, which TASKS has to name as well. What a backend cannot put off until later is
    left to the sweep.
    """

    def dispatch(self, ticket: Ticket) -> None:
        """Enqueue the task.

        Raises:
            Exception: what the backend raised.
        """
        chosen = execute
        if ticket.queue != settings().queues[0]:
            chosen = chosen.using(queue_name=ticket.queue)
        if ticket.delay > 0:
            if not default_task_backend.supports_defer:
                return
            chosen = chosen.using(run_after=timezone.now() + timedelta(seconds=ticket.delay))
        chosen.enqueue(ticket.run_id)
