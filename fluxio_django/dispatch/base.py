"""The port: a dispatcher takes tickets; what executes a run is given to it from above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fluxio.surroundings import set_up
from fluxio_django.tickets import Ticket

Execute = Callable[[str], object]
"""Executes the run with this id, here and now; never raises what a stage raised."""


class Dispatcher(Protocol):
    """Sees to it that a worker gets a ticket. Of the run, only its id leaves the process."""

    def dispatch(self, ticket: Ticket) -> None:
        """Hand a ticket over without waiting for its run.

        Raises:
            Exception: whatever kept it from being handed over; the run stays queued.
        """


_execute: Execute | None = None


def execute_with(function: Execute) -> None:
    """Say what executes runs in this process; once, while it starts."""
    global _execute
    _execute = function


def execute(run_id: str) -> None:
    """Execute a run in this process."""
    set_up()
    assert _execute is not None, "fluxio_django is in no INSTALLED_APPS"
    _execute(run_id)
