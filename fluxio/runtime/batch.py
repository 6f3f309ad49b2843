"""Outcomes that are made durable together, and why a store may never take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fluxio.context import Context
from fluxio.errors import StoreError
from fluxio.runtime.announcer import Announcer
from fluxio.runtime.machine import Conflict, State, Transition
from fluxio.runtime.outcomes import Failed, Outcome, Succeeded
from fluxio.runtime.recorder import Entry
from fluxio.store.base import Commit


@dataclass(slots=True)
class Batch:
    """Outcomes that are made durable together: the state after them, and what is ready then."""

    state: State
    ready: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    told: list[tuple[Outcome, Context]] = field(default_factory=list)

    def moved(self, transition: Transition) -> None:
        """Go on to the state of a transition, with what it made ready."""
        self.state = transition.state
        self.ready += transition.ready
        self.opened += transition.opened

    def tell(self, announcer: Announcer, commit: Commit | None) -> None:
        """Tell callbacks what became durable: the rows, then the steps, then what opened."""
        if commit is not None:
            announcer.committed(commit)
        for outcome, context in self.told:
            if isinstance(outcome, Succeeded):
                announcer.succeeded(outcome, context)
            else:
                announcer.failed(outcome, context, fatal=False)
        announcer.opened(self.opened)


class Unstorable(Exception):
    """Outcomes that the store will never take; the step that is to blame has failed."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure)
        self.failure = failure


def conflicted(conflict: Conflict) -> Failed:
    """The failure of the step at which branches met that wrote the same key."""
    return Failed(ip=conflict.ip, error=conflict.error, tries=0, duration=0.0)


def refused(outcomes: Sequence[Outcome], commit: Commit, refusal: StoreError) -> Failed:
    """The failure of the step whose row is refused, or of the first one where none is named.

    `outcomes` are those that the rows of the commit record, in their order.
    """
    named = refusal.sequence
    at = next((at for at, row in enumerate(commit.rows) if row.sequence == named), 0)
    blamed = outcomes[at]
    return Failed(ip=blamed.ip, error=refusal, tries=blamed.tries, duration=blamed.duration)
