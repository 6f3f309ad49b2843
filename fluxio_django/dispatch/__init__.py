"""How queued runs reach a worker: a port, and the dispatchers that FLUXIO["DISPATCHER"] names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of

if TYPE_CHECKING:
    from fluxio_django.dispatch.base import Dispatcher, execute_with
    from fluxio_django.dispatch.delivery import (
        Delivery,
        deliver,
        deliver_after_commit,
        dispatcher_named,
    )
    from fluxio_django.dispatch.inline import Work, hasten, work_after_commit

__all__ = [
    "Delivery",
    "Dispatcher",
    "Work",
    "deliver",
    "deliver_after_commit",
    "dispatcher_named",
    "execute_with",
    "hasten",
    "work_after_commit",
]

# Loaded at first use: not every process that starts dispatches something.
__getattr__, __dir__ = names_of(
    __name__,
    {
        "fluxio_django.dispatch.base": (
            "Dispatcher",
            "execute_with",
        ),
        "fluxio_django.dispatch.delivery": (
            "Delivery",
            "deliver",
            "deliver_after_commit",
            "dispatcher_named",
        ),
        "fluxio_django.dispatch.inline": (
            "Work",
            "hasten",
            "work_after_commit",
        ),
    },
)
