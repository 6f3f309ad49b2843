"""What the list of queues says of each: how many runs wait in it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from fluxio_django import services
from fluxio_django.admin.desk import QueueDesk
from fluxio_django.admin.measures import NOTHING, printable, span_text, time_text
from fluxio_django.admin.status import Badge, Tone
from fluxio_django.admin.switching import PAUSE, RESUME
from fluxio_django.tickets import QueueState


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownQueue:
    """One line of the list. `switch` leads to pausing or resuming it, "" for who may not."""

    name: str
    badge: Badge
    queued: int
    held_back: int
    running: int
    oldest: str
    paused: str
    reason: str
    switch: str
    switch_text: str


def shown_queues(model_admin: QueueDesk, may: bool) -> list[ShownQueue]:
    """Every queue that FLUXIO names or that runs wait in; `may` adds the ways to its switches."""
    return [_shown(model_admin, state, may) for state in services.queues()]


def _shown(model_admin: QueueDesk, state: QueueState, may: bool) -> ShownQueue:
    is_paused = state.paused_at is not None
    switch = RESUME if is_paused else PAUSE
    badge = (
        Badge(text=_("paused"), tone=Tone.WARNING)
        if is_paused
        else Badge(text=_("open"), tone=Tone.GOOD)
    )
    return ShownQueue(
        name=printable(state.name),
        badge=badge,
        queued=state.queued,
        held_back=state.held_back,
        running=state.running,
        oldest=NOTHING if state.oldest is None else span_text(state.oldest),
        paused=time_text(state.paused_at),
        reason=printable(state.reason),
        switch=model_admin.address(f"queue_{switch.name}", queue=state.name) if may else "",
        switch_text=str(switch.title),
    )
