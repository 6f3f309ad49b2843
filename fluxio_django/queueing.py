"""Enqueueing: a run's row is written in the caller's transaction, and dispatched after it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from secrets import randbits

from django.db import models

from fluxio.errors import ConfigurationError, RunIDInUseError
from fluxio.runtime.owner import is_provably_dead
from fluxio.store.admission import foreign_run, run_exists, run_in_use
from fluxio.store.base import Opening
from fluxio.types import OnConflict, RunStatus
from fluxio_django.conf import settings
from fluxio_django.dispatch import deliver_after_commit
from fluxio_django.faults import RACES, changed_too_often, surely
from fluxio_django.handles import RunHandle
from fluxio_django.isolation import own_transaction
from fluxio_django.journal import DjangoJournal
from fluxio_django.limits import Limits, checked_priority
from fluxio_django.records import SeenRun
from fluxio_django.subjects import note_of
from fluxio_django.tables import Tables
from fluxio_django.tickets import Place, Ticket

_FIRST_TOKEN_BITS = 32
_LONGEST_DELAY = 366 * 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How somebody wants a run to be enqueued; what is None is taken from limits and settings.

    `countdown` is in seconds. `subject` is a saved model instance that the run is about.
    """

    on_conflict: OnConflict | str = OnConflict.REJECT
    countdown: float | None = None
    priority: int | None = None
    queue: str | None = None
    subject: models.Model | None = None
    requested_by: models.Model | None = None

    def policy(self) -> OnConflict:
        """What to do about a run that has the id already.

        Raises:
            ConfigurationError: a queued run can never be restarted, or the policy is unknown.
        """
        allowed = (OnConflict.REJECT, OnConflict.RETURN, OnConflict.RESUME)
        if self.on_conflict not in allowed:
            raise ConfigurationError(
                f"on_conflict={str(self.on_conflict)!r} cannot be enqueued: what a queue delivers "
                f"twice must not start over. Choose {', '.join(allowed)}."
            )
        return OnConflict(self.on_conflict)

    def place(self, tables: Tables, limits: Limits) -> Place:
        """Where the run is to wait.

        Raises:
            ConfigurationError: the queue is unknown, the countdown or the priority is none, or the
                subject has not been saved.
        """
        priority = limits.priority if self.priority is None else self.priority
        note = note_of(tables, self.subject, self.requested_by)
        return Place(
            queue=checked_queue(self.queue),
            priority=checked_priority(priority),
            delay=_checked_delay(self.countdown),
            requested_by_id=note.requested_by_id,
            subject_type_id=note.subject_type_id,
            subject_id=note.subject_id,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A run that is to be enqueued. While one with the same `key` is open, it is a duplicate."""

    opening: Opening
    place: Place
    policy: OnConflict
    key: str | None = None
    is_new: bool = False
    """Its id was generated just now: nobody else can have it."""
    token: int = field(default_factory=lambda: randbits(_FIRST_TOKEN_BITS))
    """By which a run is recognised that was written though the answer was lost."""


@dataclass(frozen=True, slots=True)
class _Enqueued:
    """The run that was enqueued, or that it is a duplicate of, and what is to be handed over."""

    run_id: str
    tickets: list[Ticket]
    is_new: bool = False


def enqueue(tables: Tables, order: Order) -> RunHandle:
    """Write a queued run in the caller's transaction, and have it dispatched after the commit.

    Raises:
        RunIDInUseError: the id is taken, or an open run has the same deduplication key, and the
            policy refuses that.
        ForeignRunError: it belongs to another pipeline; nothing was changed.
        StoreError: the database failed, or the context is too large.
        ConfigurationError: autocommit is off, outside of `atomic()`.
    """
    DjangoJournal(tables).check_and_note(order.opening)
    found = surely(tables.alias, partial(_enqueue, tables, order))
    delivery = deliver_after_commit(found.tickets, using=tables.alias)
    return RunHandle(found.run_id, tables, delivery, is_new=found.is_new)


def requeue(tables: Tables, seen: SeenRun, place: Place | None = None) -> list[Ticket] | None:
    """Have a run that nobody executes wait for a worker; None when it changed since it was seen.

    Its ticket is to be delivered after the commit.
    """
    dead = seen.held and is_provably_dead(seen.record.owner or "")
    if not tables.runs.requeue(seen, place, owner_is_dead=dead):
        return None
    return tables.runs.tickets([seen.record.run_id])


def _enqueue(tables: Tables, order: Order) -> _Enqueued:
    run_id = order.opening.run_id
    made = _Enqueued(run_id, [_ticket(run_id, order.place)], is_new=True)
    for number in range(RACES):
        seen = None if order.is_new and number == 0 else tables.runs.seen(run_id)
        if seen is not None and seen.record.token == order.token:
            return made
        if seen is not None:
            tickets = _meet(tables, order.opening, seen, order.policy, order.place)
            if tickets is not None:
                return _Enqueued(run_id, tickets)
            continue
        keyed = order.key is not None
        with own_transaction(tables.alias) if keyed else nullcontext():
            twin, is_free = _twin(tables, order)
            if twin is not None:
                return _Enqueued(twin, _met_twin(twin, order))
            if is_free and tables.runs.enqueue(order.opening, order.place, order.token):
                return made
    raise changed_too_often(run_id, "enqueued")


def _twin(tables: Tables, order: Order) -> tuple[str | None, bool]:
    """The open run that this one is a duplicate of; else whether its key is held for it now."""
    if order.key is None:
        return None, True
    pipeline, run_id = order.opening.pipeline, order.opening.run_id
    holder = tables.keys.holder(pipeline, order.key)
    if holder is not None and holder != run_id and tables.runs.is_open(holder):
        return holder, False
    return None, tables.keys.take(pipeline, order.key, run_id, instead_of=holder)


def _met_twin(twin: str, order: Order) -> list[Ticket]:
    if order.policy is OnConflict.REJECT:
        raise RunIDInUseError(
            f"Run {twin!r} of pipeline {order.opening.pipeline!r} has the same deduplication key "
            "and has not ended. Wait for it, or enqueue with on_conflict='return' to get its "
            "handle.",
            run_id=twin,
            owner=None,
            lease_expires_at=None,
        )
    return []


def _meet(
    tables: Tables, opening: Opening, seen: SeenRun, policy: OnConflict, place: Place
) -> list[Ticket] | None:
    """What a policy does about a run that is there; None when it changed meanwhile."""
    record = seen.record
    if record.pipeline not in ("", opening.pipeline):
        raise foreign_run(opening.pipeline, record)
    match policy:
        case OnConflict.RETURN:
            return []
        case OnConflict.RESUME if record.status.is_open or record.status is RunStatus.SUCCEEDED:
            return []
        case OnConflict.RESUME:
            return requeue(tables, seen, place)
        case _:
            raise run_in_use(record) if seen.held else run_exists(record)


def _ticket(run_id: str, place: Place) -> Ticket:
    return Ticket(run_id=run_id, queue=place.queue, priority=place.priority, delay=place.delay)


def checked_queue(name: str | None) -> str:
    """The name of a queue, the first one where none is given.

    Raises:
        ConfigurationError: FLUXIO["QUEUES"] does not name it.
    """
    known = settings().queues
    if name is None:
        return known[0]
    if name not in known:
        raise ConfigurationError(
            f"There is no queue {name!r}. FLUXIO['QUEUES'] names: {', '.join(known)}."
        )
    return name


def _checked_delay(countdown: float | None) -> float:
    if countdown is None:
        return 0.0
    number = isinstance(countdown, int | float) and not isinstance(countdown, bool)
    if not number or not math.isfinite(countdown) or not 0 <= countdown <= _LONGEST_DELAY:
        raise ConfigurationError(
            f"countdown={countdown!r} is none. Give a number of seconds from 0 to "
            f"{_LONGEST_DELAY:,.0f} (a year)."
        )
    return float(countdown)
