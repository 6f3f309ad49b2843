"""How runs get into a queue, are handed over, held back, and taken out of it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypeVar

from django.apps import apps
from django.db import connections, models
from django.db.models import Count, Exists, F, Min, OuterRef, Q, Subquery

from fluxio.store.base import Claim
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import settings
from fluxio_django.isolation import locked, own_transaction
from fluxio_django.records import SeenRun, storable
from fluxio_django.tickets import Place, Ticket

Instance = TypeVar("Instance", bound=models.Model, covariant=True)

_SWEEPS_OF_GRACE = 3
"""How long a message may take to reach a worker before another one is sent, in sweeps."""
_MOST_DOUBLINGS = 10
LONGEST_DELAY_OF_MESSAGES = 300.0
"""Seconds a message may be put off; what has to wait longer is left to the sweep."""
_LARGEST_COUNT = 2**63 - 1

SECONDS_AT_GATE = 3_600.0
"""After so long a run that waits for its pipeline's limits is handed over all the same."""
AT_GATE = "At its limit: "
"""What `held_back` begins with for such runs."""
_TURNS = ("-priority", "available_at", "pk")

DUE = Q(due_at__lte=DatabaseTime())
AVAILABLE = Q(available_at__lte=DatabaseTime()) | Q(available_at__isnull=True)


class QueuedRunQuerySet(models.QuerySet[Instance]):
    """The part of a run's life in which nobody executes it."""

    def requeue(self, seen: SeenRun, place: Place | None, *, owner_is_dead: bool) -> bool:
        """Put a run that nobody executes into a queue; False when it changed since it was seen.

        It keeps its history, and its place where none is given. A run that was waiting, or whose
        lease has expired, becomes available at once.
        """
        kept = {} if place is None else {"queue": place.queue, "priority": place.priority}
        delay = place.delay if place is not None else 0.0
        return (
            self._claimable(seen, owner_is_dead).update(
                **kept,
                **_queued(delay),
                status=RunStatus.QUEUED.value,
                token=F("token") + 1,
                owner="",
                lease_expires_at=None,
                takeovers=0,
                cancel_requested_at=None,
                cancel_reason="",
                updated_at=DatabaseTime(),
                finished_at=None,
            )
            == 1
        )

    def cancel(self, seen: SeenRun, reason: str, token: int, *, owner_is_dead: bool) -> bool:
        """End a run that nobody executes; False when it changed since it was seen.

        `token` is what it has from then on, by which the end is known again; the reason may be "".
        """
        return (
            self._claimable(seen, owner_is_dead).update(
                status=RunStatus.CANCELLED.value,
                token=token,
                owner="",
                lease_expires_at=None,
                error=storable(f"Cancelled: {reason}" if reason else "Cancelled."),
                error_type="",
                cancel_requested_at=None,
                cancel_reason="",
                due_at=None,
                held_back="",
                updated_at=DatabaseTime(),
                finished_at=DatabaseTime(),
            )
            == 1
        )

    def ask_to_cancel(self, run_id: str, reason: str) -> bool:
        """Ask whoever executes a run to stop; False when nobody does."""
        executed = self.filter(run_id=run_id, status=RunStatus.RUNNING.value)
        return (
            executed.update(
                cancel_requested_at=DatabaseTime(), cancel_reason=storable(reason)[:500]
            )
            == 1
        )

    def wishes(self, claims: Sequence[Claim]) -> dict[str, str]:
        """Which of these runs somebody wants to be cancelled, with the reasons; one query."""
        tokens = {claim.run_id: claim.token for claim in claims}
        wanted = self.filter(
            run_id__in=list(tokens),
            status=RunStatus.RUNNING.value,
            cancel_requested_at__isnull=False,
        )
        found = wanted.order_by().values_list("run_id", "token", "cancel_reason")
        return {run_id: reason for run_id, token, reason in found if tokens.get(run_id) == token}

    def hold_back(self, run_id: str, reason: str) -> None:
        """Say why a worker that got a run which nobody executes left it where it was."""
        waiting = self.filter(WAITING, run_id=run_id)
        reason = storable(reason)[:500]
        waiting.exclude(held_back=reason).update(held_back=reason)

    def hold_at_gate(self, run_id: str, reason: str) -> None:
        """Have a run wait until its pipeline is below its limits; see `at_gate`."""
        waiting = self.filter(WAITING, run_id=run_id)
        told = storable(AT_GATE + reason)[:500]
        waiting.update(held_back=told, due_at=DatabaseTime(SECONDS_AT_GATE))

    def at_gate(self, pipeline: str, limit: int) -> list[Ticket]:
        """Tickets for runs that wait for their pipeline's limits, in the order of their turns."""
        waiting = self.filter(AVAILABLE, WAITING, pipeline=pipeline, held_back__startswith=AT_GATE)
        return _tickets(waiting.exclude(self._in_paused_queue).order_by(*_TURNS)[:limit])

    @property
    def _outranked_by(self) -> Subquery:
        """For a queued run the id of one in the same queue whose turn is before its own.

        A run that was held back counts only where both wait for the same limits.
        """
        same_gate = Q(pipeline=OuterRef("pipeline"), held_back__startswith=AT_GATE)
        better = self.model._default_manager.using(self.db).filter(
            AVAILABLE,
            Q(held_back="") | same_gate,
            queue=OuterRef("queue"),
            status=RunStatus.QUEUED.value,
            priority__gt=OuterRef("priority"),
        )
        return Subquery(better.order_by(*_TURNS).values("run_id")[:1])

    @property
    def _beside_lapsed(self) -> Exists:
        everything = self.model._default_manager.using(self.db)
        lapsed = everything.filter(
            LAPSED, status=RunStatus.RUNNING.value, queue=OuterRef("queue"), held_back=""
        )
        return Exists(lapsed)

    def has_token(self, run_id: str, token: int) -> bool:
        """Whether a run has this token."""
        return self.filter(run_id=run_id, token=token).exists()

    def is_open(self, run_id: str) -> bool:
        """Whether a run has not ended; False where it is unknown."""
        ended = [status.value for status in RunStatus if not status.is_open]
        return self.filter(run_id=run_id).exclude(status__in=ended).exists()

    def executed(self, pipeline: str) -> int:
        """How many runs of a pipeline are being executed, by workers alive or gone.

        One whose worker is gone, and that another worker had to leave, is executed by nobody.
        """
        running = self.filter(pipeline=pipeline, status=RunStatus.RUNNING.value)
        return running.exclude(LAPSED, ~Q(held_back="")).count()

    def has_no_place(self, run_id: str) -> bool:
        """Whether a run is one that `executed` does not count though it is running."""
        return self.lapsed().filter(~Q(held_back=""), run_id=run_id).exists()

    def due(self) -> Self:
        """Queued runs that are available and whose last message, if any, seems to be lost."""
        return self.filter(DUE, AVAILABLE, status=RunStatus.QUEUED.value)

    def hand_over(self, due: Self, *, limit: int) -> list[Ticket]:
        """Tickets for some of the runs that are due; they will be due again, later each time.

        Each pause is twice as long as the one before, so that a long queue is not filled with
        messages for runs that merely wait. Of several sweeps at once one gets each run, where the
        database can skip locked rows; elsewhere both may, which does no harm.
        """
        locks = connections[self.db].features.has_select_for_update_skip_locked
        with own_transaction(self.db):
            first = due.order_by("due_at")
            if locks:
                first = locked(first, skip_locked=True)
            found = list(
                first.values_list("pk", "run_id", "queue", "priority", "dispatches")[:limit]
            )
            for dispatches in {row[4] for row in found}:
                alike = [row[0] for row in found if row[4] == dispatches]
                pause = first_grace() * 2 ** min(dispatches, _MOST_DOUBLINGS)
                self.filter(pk__in=alike).update(
                    due_at=DatabaseTime(pause), dispatches=min(dispatches + 1, _MOST_DOUBLINGS)
                )
        return [Ticket(run_id=row[1], queue=row[2], priority=row[3]) for row in found]

    def tickets(self, run_ids: Sequence[str]) -> list[Ticket]:
        """Tickets for queued runs; one query."""
        return _tickets(self.filter(run_id__in=run_ids, status=RunStatus.QUEUED.value))

    def tell_progress(self, run_id: str, step: str, words: tuple[int, int | None, str]) -> None:
        """Note how far a step says it is, if the run is still at it, or waits for its branch."""
        done, total, note = words
        parts = step.split("/")
        around = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        executed = self.filter(run_id=run_id, status=RunStatus.RUNNING.value, step__in=around)
        executed.update(
            progress_done=_countable(done),
            progress_total=None if total is None else _countable(total),
            progress_note=storable(note)[:200],
            progress_at=DatabaseTime(),
        )

    def lapsed(self) -> Self:
        """Runs whose owner let the lease expire, by the clock of the database."""
        return self.filter(LAPSED, status=RunStatus.RUNNING.value)

    def lapsed_in(self, queue: str, max_takeovers: int, *, limit: int) -> list[tuple[str, int]]:
        """Ids and tokens of lapsed runs of a queue that may be tried once more, longest first."""
        waiting = self.lapsed().filter(
            queue=queue, takeovers__lt=max_takeovers, cancel_requested_at=None, held_back=""
        )
        return list(waiting.order_by("lease_expires_at").values_list("run_id", "token")[:limit])

    def abandoned(self, max_takeovers: int) -> Self:
        """Lapsed runs that may be tried once more, and of which no worker has been told lately.

        Those that a worker had to leave come with `left` instead.
        """
        return self._untold(max_takeovers).filter(held_back="")

    def left(self, max_takeovers: int) -> Self:
        """As `abandoned`, of the runs that a worker had to leave; another one may be able to."""
        return self._untold(max_takeovers).exclude(held_back="")

    def _untold(self, max_takeovers: int) -> Self:
        untold = Q(due_at__isnull=True) | DUE
        return self.lapsed().filter(untold, takeovers__lt=max_takeovers)

    def to_cancel(self) -> Self:
        """Lapsed runs that somebody wants to be cancelled."""
        return self.lapsed().filter(cancel_requested_at__isnull=False)

    def wish_of(self, run_id: str) -> str:
        """The reason for which somebody wants a run to be cancelled, "" where there is none."""
        return self.filter(run_id=run_id).values_list("cancel_reason", flat=True).first() or ""

    def lock_free(self, run_id: str) -> bool:
        """Whether nobody else has a run locked; then it is ours until the transaction ends.

        Where the database cannot tell, the next statement waits for whoever has it.
        """
        if not connections[self.db].features.has_select_for_update_skip_locked:
            return True
        free = self.filter(run_id=run_id).select_for_update(skip_locked=True).order_by()
        return bool(free.values_list("pk", flat=True))

    def waiting_by_queue(self) -> dict[str, dict[str, Any]]:
        """For each queue with open runs the figures of `QueueState`; one query."""
        queued = Q(status=RunStatus.QUEUED.value)
        figures = {
            "queued": Count("pk", filter=queued),
            "running": Count("pk", filter=Q(status=RunStatus.RUNNING.value)),
            "held_back": Count("pk", filter=WAITING & ~Q(held_back="")),
            "oldest": Min("available_at", filter=queued),
        }
        open_runs = self.filter(status__in=[RunStatus.QUEUED.value, RunStatus.RUNNING.value])
        found = open_runs.order_by().values("queue").annotate(**figures)
        return {facts.pop("queue"): facts for facts in found}

    def make_queue_due(self, name: str) -> None:
        """Have the next sweep hand over all that waits in a queue."""
        self.filter(queue=name, status=RunStatus.QUEUED.value).update(
            due_at=DatabaseTime(), held_back=""
        )

    def make_due(self, run_ids: Sequence[str]) -> None:
        """Have the next sweep hand over these queued runs: their messages were not taken."""
        waiting = self.filter(run_id__in=run_ids, status=RunStatus.QUEUED.value)
        waiting.update(due_at=DatabaseTime())

    @property
    def _queues(self) -> models.QuerySet[Any]:
        queue: Any = apps.get_model("fluxio_django", "Queue")
        queues: models.QuerySet[Any] = queue.objects.using(self.db)
        return queues

    @property
    def _in_paused_queue(self) -> Exists:
        return Exists(self._queues.filter(name=OuterRef("queue"), paused_at__isnull=False))

    def _claimable(self, seen: SeenRun, owner_is_dead: bool) -> Self:
        """The run, if it is as it was seen and nobody can be executing it."""
        record = seen.record
        same = self.filter(run_id=record.run_id, token=record.token, status=record.status.value)
        if seen.record.status is not RunStatus.RUNNING:
            return same
        if owner_is_dead:
            return same.filter(owner=seen.record.owner or "")
        return same.filter(LAPSED)


def _tickets(runs: models.QuerySet[Any]) -> list[Ticket]:
    found = runs.values_list("run_id", "queue", "priority")
    return [Ticket(run_id=row[0], queue=row[1], priority=row[2]) for row in found]


# A run that is running without a lease was put there by hand; nobody executes it either.
LAPSED = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=DatabaseTime())


WAITING = Q(status=RunStatus.QUEUED.value) | (LAPSED & Q(status=RunStatus.RUNNING.value))
"""What nobody executes, and a worker may take."""


def first_grace() -> float:
    """Seconds after which the sweep takes a first message for lost."""
    return settings().sweep_seconds * _SWEEPS_OF_GRACE


def place_facts(place: Place, due: Any = None) -> dict[str, Any]:
    """The columns of a run that is put into a queue; `due` in seconds, where that is known."""
    return {
        "queue": place.queue,
        "priority": place.priority,
        "requested_by_id": place.requested_by_id,
        "subject_type_id": place.subject_type_id,
        "subject_id": place.subject_id,
        **_queued(place.delay, due),
    }


def seconds_until_due(delay: float) -> float:
    """When a run that becomes available after so many seconds is handed over once more."""
    return delay + (first_grace() if delay <= LONGEST_DELAY_OF_MESSAGES else 0.0)


def _queued(delay: Any, due: Any = None) -> dict[str, Any]:
    return {
        "available_at": DatabaseTime(delay),
        "due_at": DatabaseTime(seconds_until_due(delay) if due is None else due),
        "dispatches": 0,
        "held_back": "",
    }


def _countable(number: int) -> int:
    """A number that fits its column; a stage may count in whatever it likes."""
    return max(-_LARGEST_COUNT, min(int(number), _LARGEST_COUNT))
