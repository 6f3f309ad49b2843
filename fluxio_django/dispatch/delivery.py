"""Hands tickets over once they may be seen, and never lets a broken broker undo an enqueueing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from django.db import Error, transaction
from django.utils.module_loading import import_string

from fluxio.errors import ConfigurationError
from fluxio_django.conf import settings
from fluxio_django.dispatch.base import Dispatcher
from fluxio_django.dispatch.inline import EagerDispatcher, inline
from fluxio_django.queues import LONGEST_DELAY_OF_MESSAGES
from fluxio_django.tables import Tables
from fluxio_django.tickets import Ticket

logger = logging.getLogger("fluxio.dispatch")

_EXTRAS = {
    "celery": "fluxio_django.dispatch.celery.CeleryDispatcher",
    "tasks": "fluxio_django.dispatch.django_tasks.TasksDispatcher",
}
_REMEDIES = {
    "celery": "pip install 'fluxio-django[celery]'",
    "tasks": "pip install 'Django>=6.0', which has tasks of its own; until then choose 'inline' or "
    "'celery'.",
}


@dataclass(slots=True)
class Delivery:
    """What became of tickets: nothing yet, handed over, or why they could not be.

    `problems` maps ids of runs to the reason why a worker does not know of them yet.
    """

    attempted: bool = False
    problems: dict[str, str] = field(default_factory=dict)


def deliver_after_commit(tickets: Sequence[Ticket], *, using: str) -> Delivery:
    """Hand tickets over once the caller's transaction is durable; never after a rollback."""
    delivery = Delivery()
    transaction.on_commit(partial(deliver, tickets, using=using, delivery=delivery), using=using)
    return delivery


def deliver(tickets: Sequence[Ticket], *, using: str, delivery: Delivery | None = None) -> Delivery:
    """Hand tickets over now. Runs that no dispatcher took stay queued for the next sweep.

    So do those that are put off for long: no broker, and no thread, should have to keep them.
    """
    told = delivery or Delivery()
    told.attempted = True
    for ticket in tickets:
        if ticket.delay > LONGEST_DELAY_OF_MESSAGES:
            continue
        try:
            dispatcher_named(settings().dispatcher).dispatch(ticket)
        except Exception as problem:  # noqa: BLE001 - whatever a broker's client raises
            told.problems[ticket.run_id] = f"{type(problem).__qualname__}: {problem}"
            logger.warning(
                "Run %s is stored, but could not be dispatched (%s: %s). The next sweep "
                "(fluxio_recover) hands it over.",
                ticket.run_id,
                type(problem).__qualname__,
                problem,
            )
    if told.problems:
        _make_due(list(told.problems), using)
    return told


@cache
def dispatcher_named(name: str) -> Dispatcher:
    """The dispatcher that FLUXIO["DISPATCHER"] calls by this name.

    Raises:
        ConfigurationError: what it needs is not installed.
    """
    if name == "inline":
        return inline
    if name == "eager":
        return EagerDispatcher()
    try:
        made: Dispatcher = import_string(_EXTRAS[name])()
    except ImportError as problem:
        raise ConfigurationError(
            f"FLUXIO['DISPATCHER'] is {name!r}, which needs what is not installed: {problem}. "
            f"Install it with: {_REMEDIES[name]}"
        ) from problem
    return made


def _make_due(run_ids: Sequence[str], using: str) -> None:
    try:
        Tables(using).runs.make_due(run_ids)
    except Error:  # they are due a little later all the same
        logger.warning("The database did not take note that %s wait.", ", ".join(run_ids))
