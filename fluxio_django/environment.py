"""Django's side of the runtime's ports: threads that own connections, and the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import connections

from fluxio.runtime import environment as core
from fluxio.runtime.loopless import in_loop
from fluxio_django.conf import settings
from fluxio_django.redaction import recorded_text
from fluxio_django.references import fetching

Result = TypeVar("Result")


class ThreadSensitiveCaller:
    """Calls plain functions where Django's connections live.

    Under `async_to_sync` that is the thread of the caller, so that stages see its connection and
    its open transaction; elsewhere it is one thread of asgiref's.
    """

    async def call(self, function: Callable[..., Result], /, *args: Any) -> Result:
        """Call `function(*args)` there, with the contextvars of the caller."""
        if not in_loop():
            return function(*args)
        return await sync_to_async(function, thread_sensitive=True)(*args)

    def close(self) -> None:
        """Nothing to free: the thread belongs to asgiref."""


def debugging() -> bool:
    """Whether stages are watched for in-place changes: with DEBUG, too."""
    return bool(django_settings.DEBUG) or core.debugging()


def django_environment() -> core.Environment:
    """The environment of pipelines in a Django project."""
    return core.Environment(
        make_caller=lambda max_workers: ThreadSensitiveCaller(),
        debugging=debugging,
        lease_seconds=lambda: settings().lease_seconds,
        scrub=recorded_text,
        fetching=fetching,
        leave_thread=connections.close_all,
    )
