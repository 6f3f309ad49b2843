"""The sweep: runs whose worker is gone, and queued runs whose message was lost."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from fluxio.types import RunStatus
from fluxio_django.conf import settings
from fluxio_django.dispatch import deliver
from fluxio_django.faults import surely
from fluxio_django.idling import bounded_transaction
from fluxio_django.limits import Limits, gated_pipelines, limits_of
from fluxio_django.records import SeenRun, next_token
from fluxio_django.retention import gardener
from fluxio_django.signals import send_ended
from fluxio_django.tables import Tables
from fluxio_django.tickets import QueueState, Ticket

if TYPE_CHECKING:
    from fluxio_django.querysets import RunQuerySet

logger = logging.getLogger("fluxio.sweep")

_AT_ONCE = 100
_WAKES_AHEAD = 1.0
"""For how many seconds runs are told when to start; a broker is not exact enough for less."""
_EMPTY: dict[str, Any] = {
    "queued": 0,
    "running": 0,
    "held_back": 0,
    "oldest": None,
    "paused_at": None,
    "reason": "",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What a sweep did: runs handed to workers, given up, cancelled, and deleted for their age."""

    taken_over: int = 0
    dispatched: int = 0
    buried: int = 0
    cancelled: int = 0
    pruned: int = 0

    def __bool__(self) -> bool:
        done = self.taken_over or self.dispatched or self.buried or self.cancelled or self.pruned
        return bool(done)


def sweep(using: str | None = None) -> Swept:
    """Look for what got stuck, once, and get it going; blocks.

    Any number of processes may do so at the same time.

    Raises:
        StoreError: the database failed; what it does to old runs is only logged.
    """
    tables = Tables(using)
    cancelled = _cancel_lapsed(tables)
    maximum = settings().max_takeovers
    return Swept(
        cancelled=cancelled,
        buried=len(bury(using)),
        taken_over=hand_over(tables, tables.runs.abandoned(maximum)),
        dispatched=sum(hand_over(tables, due) for due in (tables.runs.left(maximum), None))
        + sum(wake(tables, name) for name in gated_pipelines()),
        pruned=_tended(tables),
    )


def _tended(tables: Tables) -> int:
    """How many old runs were deleted; what keeps them from going holds up no other work."""
    try:
        return gardener.tend(tables).runs
    except Exception as problem:  # noqa: BLE001 - a project's own tables may have any rules
        logger.error("Old runs could not be deleted: %s", problem)
        return 0


def wake(tables: Tables, pipeline: str) -> int:
    """Give workers notice of runs that wait for their pipeline's limits, as many as may start now.

    With a rate those that may start in the next second are told when; blocks.
    """
    limits = limits_of(pipeline)
    if not limits.gated:
        return 0
    tickets = surely(tables.alias, partial(_tickets_at_gate, tables, pipeline, limits))
    problems = deliver(tickets, using=tables.alias).problems
    return len(tickets) - len(problems)


def _tickets_at_gate(tables: Tables, pipeline: str, limits: Limits) -> list[Ticket]:
    room = _AT_ONCE
    if limits.concurrency is not None:
        room = min(room, limits.concurrency - tables.runs.executed(pipeline))
    interval = limits.interval
    if interval is not None:
        room = min(room, math.ceil(_WAKES_AHEAD / interval))
    tickets = tables.runs.at_gate(pipeline, room) if room > 0 else []
    if interval is None or not tickets:
        return tickets
    wait = tables.gates.opens_in(pipeline)
    last = wait + interval * (len(tickets) - 1)
    if not tables.gates.ask_to_wake(pipeline, last):
        return []  # somebody has asked them to come already
    return [replace(one, delay=wait + interval * at) for at, one in enumerate(tickets)]


def hand_over(tables: Tables, due: RunQuerySet[Any] | None = None) -> int:
    """Give workers notice of runs that are due, and say of how many; blocks.

    Stops early where no dispatcher takes them.
    """
    waiting = tables.runs.due() if due is None else due
    total = 0
    while True:
        find = partial(tables.runs.hand_over, waiting, limit=_AT_ONCE)
        tickets = surely(tables.alias, find)
        problems = deliver(tickets, using=tables.alias).problems
        total += len(tickets) - len(problems)
        if problems or len(tickets) < _AT_ONCE:
            return total


def bury_dead(tables: Tables, seen: SeenRun) -> bool:
    """Give up a run that lost its worker too often, whose last owner is gone for certain."""
    return _bury(tables, seen, owner_is_dead=seen.held)


def queue_states(tables: Tables, known: Sequence[str]) -> list[QueueState]:
    """Every queue that is known or that runs wait in, and how it stands; three queries."""
    waiting, paused = tables.runs.waiting_by_queue(), tables.queues.paused_states()
    names = [*known, *sorted({*waiting, *paused} - {*known})]
    return [
        QueueState(name=name, **{**_EMPTY, **waiting.get(name, {}), **paused.get(name, {})})
        for name in names
    ]


def to_take_over(using: str | None = None, *, limit: int = _AT_ONCE) -> list[SeenRun]:
    """Runs whose lease expired and which may be tried once more, the longest waiting first."""
    return _lapsed(using, given_up=False, limit=limit)


def bury(using: str | None = None, *, limit: int = _AT_ONCE) -> list[SeenRun]:
    """Mark runs as dead that lost their worker too often, with the reason; blocks.

    A run that somebody claims in the meantime stays alive.
    """
    tables = Tables(using)
    hopeless = _lapsed(using, given_up=True, limit=limit)
    return [seen for seen in hopeless if _bury(tables, seen)]


def _bury(tables: Tables, seen: SeenRun, *, owner_is_dead: bool = False) -> bool:
    def end(token: int) -> bool:
        return tables.runs.bury(seen, _reason(seen), token, owner_is_dead=owner_is_dead)

    return _end(tables, seen, end, RunStatus.DEAD)


def _cancel_lapsed(tables: Tables) -> int:
    """End the lapsed runs that somebody wants to be cancelled, and say how many those were."""
    wanted = tables.runs.to_cancel().order_by("lease_expires_at")
    found = surely(tables.alias, lambda: wanted[:_AT_ONCE].as_seen())
    return sum(_cancel(tables, seen) for seen in found)


def _cancel(tables: Tables, seen: SeenRun) -> bool:
    def end(token: int) -> bool:
        why = tables.runs.wish_of(seen.record.run_id)
        return tables.runs.cancel(seen, why, token, owner_is_dead=False)

    return _end(tables, seen, end, RunStatus.CANCELLED)


def _end(tables: Tables, seen: SeenRun, end: Callable[[int], bool], status: RunStatus) -> bool:
    """End a run that nobody executes, and say so once it is durable; whether it was ended."""
    ended = surely(tables.alias, _Ending(tables, seen, end))
    if ended:
        record = seen.record
        tell = partial(send_ended, record.run_id, record.pipeline, status)
        transaction.on_commit(tell, using=tables.alias)
    return ended


class _Ending:
    """One run to be ended by the sweep; call it until it says whether it was.

    A run that somebody has locked is left to the next sweep, where the database can tell. By the
    token it is known again when the answer to an earlier try was lost.
    """

    def __init__(self, tables: Tables, seen: SeenRun, end: Callable[[int], bool]) -> None:
        self._tables = tables
        self._run_id = seen.record.run_id
        self._token = next_token(seen)
        self._end = end
        self._was_asked = False

    def __call__(self) -> bool:
        runs = self._tables.runs
        if self._was_asked and runs.has_token(self._run_id, self._token):
            return True
        self._was_asked = True
        with bounded_transaction(self._tables.alias, settings().lease_seconds):
            return runs.lock_free(self._run_id) and self._end(self._token)


def _lapsed(using: str | None, *, given_up: bool, limit: int) -> list[SeenRun]:
    tables, maximum = Tables(using), settings().max_takeovers
    runs = tables.runs.lapsed()
    runs = runs.filter(takeovers__gte=maximum) if given_up else runs.filter(takeovers__lt=maximum)
    return surely(tables.alias, lambda: runs.order_by("lease_expires_at")[:limit].as_seen())


def _reason(seen: SeenRun) -> str:
    record = seen.record
    return (
        f"Given up after {record.takeovers} takeovers: each time the worker died or lost its lease "
        f"at step {record.step!r}. Find out why that step kills its worker, then resume the run."
    )
