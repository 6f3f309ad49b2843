"""What queued runs wait at: queues that are paused, gates of pipelines with limits, and keys."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models
from django.db.models import DurationField, ExpressionWrapper, F, Q

from fluxio_django.clock import DatabaseTime

Instance = TypeVar("Instance", bound=models.Model, covariant=True)


class QueueQuerySet(models.QuerySet[Instance]):
    """Queues that were ever paused. Name the database first: `.using(alias)`."""

    def pause(self, name: str, reason: str) -> None:
        """Let nobody claim runs of a queue; pausing it again keeps the time and the reason."""
        self.bulk_create([self.model(name=name)], ignore_conflicts=True)
        self.filter(name=name, paused_at=None).update(paused_at=DatabaseTime(), reason=reason)

    def resume(self, name: str) -> None:
        """Let runs of a queue be claimed again."""
        self.filter(name=name).update(paused_at=None, reason="")

    def is_paused(self, name: str) -> bool:
        """Whether runs of a queue may not be claimed."""
        return self.filter(name=name, paused_at__isnull=False).exists()

    def paused_states(self) -> dict[str, dict[str, Any]]:
        """For each paused queue when and why."""
        found = self.filter(paused_at__isnull=False).values("name", "paused_at", "reason")
        return {facts.pop("name"): facts for facts in found}


class GateQuerySet(models.QuerySet[Instance]):
    """The gates of limited pipelines. Name the database first: `.using(alias)`."""

    def enter(self, pipeline: str) -> None:
        """Lock a pipeline's gate until the transaction ends; others wait here meanwhile.

        By an update, since SQLite locks nothing for a SELECT, and so that what the transaction
        reads afterwards is what the one before it has left.
        """
        while not self.filter(pipeline=pipeline).update(turns=F("turns") + 1):
            self.bulk_create([self.model(pipeline=pipeline)], ignore_conflicts=True)

    def opens_in(self, pipeline: str) -> float:
        """Seconds until the rate lets one more run start; 0.0 where it does now."""
        wait = ExpressionWrapper(F("opens_at") - DatabaseTime(), output_field=DurationField())
        found = self.filter(pipeline=pipeline, opens_at__gt=DatabaseTime())
        for seconds in found.annotate(wait=wait).values_list("wait", flat=True):
            return max(0.0, float(seconds.total_seconds()))
        return 0.0

    def close(self, pipeline: str, seconds: float) -> None:
        """Let no other run pass for so many seconds."""
        self.filter(pipeline=pipeline).update(opens_at=DatabaseTime(seconds))

    def ask_to_wake(self, pipeline: str, seconds: float) -> bool:
        """Whether the caller is to have the gate tried again in so many seconds; one is enough."""
        nobody = Q(wakes_at__isnull=True) | Q(wakes_at__lte=DatabaseTime())
        waiting = self.filter(nobody, pipeline=pipeline)
        return waiting.update(wakes_at=DatabaseTime(seconds)) == 1


class KeyQuerySet(models.QuerySet[Instance]):
    """Deduplication keys. Name the database first: `.using(alias)`."""

    def holder(self, pipeline: str, key: str) -> str | None:
        """The run that holds a key, locked until the transaction ends where the database can."""
        held = self.filter(pipeline=pipeline, key=key).select_for_update()
        return held.values_list("run_id", flat=True).first()

    def take(self, pipeline: str, key: str, run_id: str, *, instead_of: str | None) -> bool:
        """Hold a key for a run, if it is free, or held by `instead_of`."""
        if instead_of is not None:
            ours = self.filter(pipeline=pipeline, key=key, run_id=instead_of)
            return ours.update(run_id=run_id) == 1
        given = self.model(pipeline=pipeline, key=key, run_id=run_id)
        self.bulk_create([given], ignore_conflicts=True)
        return self.filter(pipeline=pipeline, key=key, run_id=run_id).exists()
