"""Checks of how queued runs reach a worker: FLUXIO["DISPATCHER"], and what it leads to."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage

from fluxio.errors import ConfigurationError, FluxioError
from fluxio_django import dispatch
from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import settings
from fluxio_django.registry import pipelines

_ELSEWHERE = ("celery", "tasks")
"""Dispatchers that hand runs to other processes, by what has to be installed for it."""

_USUAL_VISIBILITY_TIMEOUT = 3600.0
"""Seconds after which Celery on Redis delivers a message again, where nothing is configured."""


def check_dispatcher(app_configs: object, **_: Any) -> list[CheckMessage]:
    """What the dispatcher needs is missing; Celery is set up in a way that bites."""
    name = settings().dispatcher
    if name not in _ELSEWHERE:
        return []
    try:
        dispatch.dispatcher_named(name)
    except ConfigurationError as problem:
        message, _separator, remedy = str(problem).rpartition(". Install it with: ")
        return [
            CheckID.NO_DISPATCHER.message(
                f"{message}.", hint=f"Install it with: {remedy}", obj="settings.FLUXIO"
            )
        ]
    return _check_celery() if name == "celery" else []


def _check_celery() -> list[CheckMessage]:
    from celery import current_app  # an extra, which is there by now

    conf = current_app.conf
    found = [
        _no_broker(conf),
        _pickled_messages(conf),
        _short_visibility(conf),
        _closed_connections(conf),
    ]
    return [message for message in found if message is not None]


def _no_broker(conf: Any) -> CheckMessage | None:
    if conf.broker_url or conf.broker_write_url:
        return None
    return CheckID.NO_BROKER.message(
        "FLUXIO['DISPATCHER'] is 'celery', but no Celery application with a broker is loaded: "
        "messages would go to a RabbitMQ on this machine.",
        hint="Import the project's Celery application in the __init__.py of the project, and set "
        "its broker_url.",
    )


def _pickled_messages(conf: Any) -> CheckMessage | None:
    accepted = {str(kind).lower() for kind in conf.accept_content or ()}
    if not {"pickle", "application/x-python-serialize"} & accepted:
        return None
    return CheckID.PICKLED_MESSAGES.message(
        "Celery accepts pickled messages: whoever can write to the broker can run code in a "
        "worker.",
        hint="Take 'pickle' out of accept_content; fluxio's own messages are JSON.",
    )


def _short_visibility(conf: Any) -> CheckMessage | None:
    url = str(conf.broker_url or "")
    if not url.startswith(("redis", "sentinel")):
        return None
    options = conf.broker_transport_options or {}
    timeout = float(options.get("visibility_timeout", _USUAL_VISIBILITY_TIMEOUT))
    longest, stage = max(_timeouts(), default=(0.0, ""))
    if longest <= timeout:
        return None
    return CheckID.SHORT_VISIBILITY.message(
        f"Redis delivers a message again after {timeout:g} s, but stage {stage} may take "
        f"{longest:g} s: a second worker would be woken for a run that is being executed.",
        hint=f"Set broker_transport_options = {{'visibility_timeout': {longest * 2:.0f}}}.",
    )


def _closed_connections(conf: Any) -> CheckMessage | None:
    """CONN_MAX_AGE is set in vain: Celery closes connections itself, before and after a task."""
    alias = settings().database
    age = django_settings.DATABASES.get(alias, {}).get("CONN_MAX_AGE", 0)
    if age == 0 or conf.get("CELERY_DB_REUSE_MAX"):
        return None
    return CheckID.CLOSED_CONNECTIONS.message(
        f"Database {alias!r} has CONN_MAX_AGE = {age!r}, but Celery closes connections after every "
        "task: its workers connect anew for each run, which can take longer than the run.",
        hint="Set CELERY_DB_REUSE_MAX = 1000 beside the other settings of Celery: how many tasks "
        "share a connection.",
        obj="settings.DATABASES",
    )


def _timeouts() -> list[tuple[float, str]]:
    """The timeout of every stage that has one, and what it is called."""
    found: list[tuple[float, str]] = []
    for name in pipelines:
        try:
            calls = pipelines[name].compiled.calls
        except FluxioError:  # whoever uses it will be told
            continue
        found += [
            (float(call.stage.timeout), f"{name}/{call.key}")
            for call in calls
            if call.stage.timeout is not None
        ]
    return found
