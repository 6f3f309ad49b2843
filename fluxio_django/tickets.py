"""What is said of queued runs: where they wait, how they are handed over, and how queues stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fluxio_django.records import SeenRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a queued run waits, who wants it, and what it is about; `delay` is in seconds."""

    queue: str = "default"
    priority: int = 0
    delay: float = 0.0
    requested_by_id: Any = None
    subject_type_id: int | None = None
    subject_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A queued run that is to be handed to a dispatcher; `delay` is in seconds."""

    run_id: str
    queue: str = "default"
    priority: int = 0
    delay: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A run as a worker finds it that got its ticket.

    `outranked_by` is the id of a run whose turn is before its own, "" where there is none;
    `beside_lapsed` says that a run of the same queue seems to have lost its worker.
    """

    seen: SeenRun
    queue: str
    priority: int
    available: bool
    paused: bool
    outranked_by: str
    beside_lapsed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueState:
    """A queue as it stands. `paused_at` is None unless it is paused."""

    name: str
    queued: int
    running: int
    held_back: int
    oldest: datetime | None
    paused_at: datetime | None
    reason: str
