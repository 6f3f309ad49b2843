"""Messages to the workers of the project's Celery application."""

from __future__ import annotations

from celery import current_app

from fluxio.errors import ConfigurationError
from fluxio_django.conf import settings
from fluxio_django.tickets import Ticket

EXECUTE = "fluxio.execute"
SWEEP = "fluxio.sweep"

_NO_PAUSES = {"interval_start": 0, "interval_step": 0, "interval_max": 0}


class CeleryDispatcher:
    """Sends one message per ticket: the name of a task, and the id of the run.

    The first of FLUXIO["QUEUES"] goes wherever Celery is told to send the task `fluxio.execute`,
    each other one to the Celery queue of its name. Which run comes first is decided by the
    database when a worker claims one, so messages have no priority of their own.
    """

    def dispatch(self, ticket: Ticket) -> None:
        """Send a message; where the broker is down, say so at once.

        Each of its addresses is tried once: somebody's request must not wait for it, since the
        sweep comes back to what could not be sent.

        Raises:
            Exception: what Celery or the broker's client raised.
        """
        if not (current_app.conf.broker_url or current_app.conf.broker_write_url):
            raise ConfigurationError(
                "No Celery application with a broker is loaded in this process. Import the "
                "project's in the __init__.py of the project."
            )
        usual = ticket.queue == settings().queues[0]
        with current_app.producer_or_acquire() as producer:
            broker = producer.connection
            broker.ensure_connection(max_retries=max(0, len(broker.alt) - 1), **_NO_PAUSES)
            current_app.send_task(
                EXECUTE,
                args=[ticket.run_id],
                queue=None if usual else ticket.queue,
                countdown=ticket.delay or None,
                ignore_result=True,
                serializer="json",
                producer=producer,
                # One more, over a new connection: this one may have been lost while it was idle.
                retry=True,
                retry_policy={"max_retries": 1, **_NO_PAUSES},
            )
