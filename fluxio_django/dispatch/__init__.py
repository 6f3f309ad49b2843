"""How queued runs reach a worker: a port, and the dispatchers that FLUXIO["DISPATCHER"] names."""

from fluxio_django.dispatch.base import Dispatcher, execute_with
from fluxio_django.dispatch.delivery import (
    Delivery,
    deliver,
    deliver_after_commit,
    dispatcher_named,
)
from fluxio_django.dispatch.inline import Work, work_after_commit

__all__ = [
    "Delivery",
    "Dispatcher",
    "Work",
    "deliver",
    "deliver_after_commit",
    "dispatcher_named",
    "execute_with",
    "work_after_commit",
]
