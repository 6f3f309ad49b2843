"""The FLUXIO setting: one dict, read when it is first needed, as a typed frozen object."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from fluxio.codec import Keyring
from fluxio.errors import ConfigurationError
from fluxio.redaction import DEFAULT_PATTERNS
from fluxio.store.base import CheckpointStore
from fluxio.types import RunStatus
from fluxio_django.openings import is_opening
from fluxio_django.rates import is_rate

_MOST_DAYS = 366_000
DISPATCHERS = ("inline", "eager", "celery", "tasks")


EVERY_PIPELINE = "*"
"""Stands in FLUXIO["RETENTION"] for the pipelines that it does not name."""

ENDED = tuple(status.value for status in RunStatus if not status.is_open)
"""The statuses of runs that have ended; only such runs are ever pruned."""

DEFAULT_RETENTION = {
    EVERY_PIPELINE: {"succeeded": 90, "failed": 180, "cancelled": 180, "dead": 365},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What FLUXIO says; each key is the name of a field in capitals.

    `store` is a CheckpointStore, or the dotted path of one or of a class that needs no arguments;
    durable pipelines that name no store use it. `database` is the alias of the database that keeps
    runs. `lease_seconds` is how long a claim holds without a heartbeat, `sweep_seconds` how often
    expired leases are looked for, and `max_takeovers` how often a run may lose its worker before it
    is given up. `max_payload_bytes` bounds what one row stores. `dispatcher` says who executes what
    was enqueued: "inline", threads of the process; "eager", the caller; "celery", workers of the
    project's Celery application; "tasks", whatever runs Django's own tasks. `queues` are the names
    that runs may be enqueued to; the first one is taken where none is named. `visible_to` is a
    function, or the dotted path of one, that takes a user and runs and gives those this user may
    know of. `redact` are parts of keys whose values nobody is shown. `views` maps the names of the
    pipelines that `fluxio_django.urls` is open for to what it allows, see `fluxio_django.openings`.
    `start_rate` is how often one user may start or resume runs there; `streams_per_user` and
    `stream_seconds` bound how many streams of events one has open in a process, and for how long.
    `retention` says how long ended runs are kept: for the name of a pipeline, or "*" for all
    others, days (or a timedelta) by status; None keeps them for ever.
    `keyring` seals what `DjangoStore` and `DjangoRedisStore` keep: a `fluxio.Keyring`, the dotted
    path of one or of a function that gives one, or key ids with 32 random bytes in base64 each, the
    newest first. Where it leads to no keys, nothing is stored or read.
    """

    store: str | CheckpointStore = "fluxio_django.DjangoStore"
    database: str = "default"
    lease_seconds: float = 30.0
    sweep_seconds: float = 10.0
    max_takeovers: int = 5
    max_payload_bytes: int = 10 * 1024 * 1024
    dispatcher: str = "inline"
    queues: Sequence[str] = ("default",)
    visible_to: str | Callable[[Any, Any], Any] | None = None
    redact: Sequence[str] = DEFAULT_PATTERNS
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    start_rate: str = "30/m"
    streams_per_user: int = 10
    stream_seconds: float = 300.0
    retention: Mapping[str, Mapping[str, Any]] | None = field(
        default_factory=lambda: DEFAULT_RETENTION
    )
    keyring: Keyring | str | Mapping[str, str] | Callable[[], Keyring] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something in FLUXIO that was passed over. `key` is None when FLUXIO itself is no dict."""

    key: str | None
    known: bool
    message: str
    hint: str


def settings() -> Settings:
    """What FLUXIO says now; defaults stand in for what it says wrongly."""
    return _read()[0]


def problems() -> tuple[Problem, ...]:
    """What was passed over in FLUXIO."""
    return _read()[1]


@cache
def default_store() -> CheckpointStore:
    """The store of durable pipelines that name none.

    Raises:
        ConfigurationError: FLUXIO["STORE"] leads to no store.
    """
    chosen = settings().store
    if isinstance(chosen, CheckpointStore):
        return chosen
    try:
        found = import_string(chosen)
    except ImportError as problem:
        raise _no_store(chosen, f"cannot be imported: {problem}") from problem
    if isinstance(found, CheckpointStore):
        return found
    if not (isinstance(found, type) and issubclass(found, CheckpointStore)):
        raise _no_store(chosen, "is no CheckpointStore")
    try:
        return found()
    except TypeError as problem:
        raise _no_store(chosen, f"cannot be built without arguments: {problem}") from problem


@cache
def project_keyring() -> Keyring | None:
    """The keys under which the stores of the project keep their rows; None where it has none.

    Raises:
        ConfigurationError: FLUXIO["KEYRING"] leads to no keys; nothing must be stored without them.
    """
    chosen: Any = settings().keyring
    try:
        if isinstance(chosen, str):
            chosen = import_string(chosen)
        if isinstance(chosen, Mapping):
            return Keyring(keys={key_id: _key(text) for key_id, text in chosen.items()})
        found = chosen() if callable(chosen) else chosen
    except ConfigurationError:
        raise
    except Exception as problem:  # noqa: BLE001 - it comes from the code of the project
        # What it says may hold a key.
        raise _no_keyring(f"failed with {type(problem).__name__}") from None
    if found is None and settings().keyring is None:
        return None
    if not isinstance(found, Keyring):
        raise _no_keyring(f"leads to {type(found).__name__}")
    return found


def _key(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError
    return base64.b64decode(text, validate=True)


def _no_keyring(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"FLUXIO['KEYRING'] {reason}. Give a fluxio.Keyring, the dotted path of one or of a "
        "function that gives one, or {'2026': <32 random bytes in base64>}, the newest key first."
    )


def _no_store(chosen: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"FLUXIO['STORE'] is {chosen!r}, which {reason}. Use the dotted path of a store that needs "
        "no arguments, e.g. 'fluxio_django.DjangoStore', or put a store itself into FLUXIO."
    )


@cache
def _read() -> tuple[Settings, tuple[Problem, ...]]:
    given = getattr(django_settings, "FLUXIO", {})
    if not isinstance(given, Mapping):
        problem = Problem(
            key=None,
            known=False,
            message=f"FLUXIO is {type(given).__name__}, not a dict.",
            hint="Write FLUXIO = {...}, or leave it out to use the defaults.",
        )
        return Settings(), (problem,)
    accepted: dict[str, Any] = {}
    passed_over: list[Problem] = []
    for key, value in given.items():
        rule = _RULES.get(key)
        if rule is None:
            passed_over.append(_unknown(key))
        elif not rule.accepts(value):
            passed_over.append(_unfit(key, value, rule.wanted))
        else:
            accepted[key.lower()] = value
    return Settings(**accepted), tuple(passed_over)


def _unknown(key: object) -> Problem:
    return Problem(
        key=str(key),
        known=False,
        message=f"FLUXIO has an unknown key {key!r}.",
        hint=f"Known keys: {', '.join(_RULES)}.",
    )


def _unfit(key: str, value: object, wanted: str) -> Problem:
    return Problem(
        key=key,
        known=True,
        message=f"FLUXIO[{key!r}] is {value!r}; the default is used instead.",
        hint=f"Give {wanted}.",
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    accepts: Callable[[Any], bool]
    wanted: str


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _is_function(value: object) -> bool:
    return value is None or callable(value) or (isinstance(value, str) and "." in value)


def _are_patterns(value: object) -> bool:
    # A text would be read as a list of single letters.
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    return all(isinstance(item, str) and item.strip() for item in value)


def _is_store(value: object) -> bool:
    return isinstance(value, CheckpointStore) or (isinstance(value, str) and "." in value)


_QUEUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")


def _are_queues(value: object) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(name, str) and _QUEUE.fullmatch(name) for name in value)


def _are_openings(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and is_opening(opening) for name, opening in value.items()
    )


def _is_retention(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, Mapping):
        return False
    return all(
        isinstance(name, str)
        and isinstance(by_status, Mapping)
        and set(by_status) <= set(ENDED)
        and all(_is_age(age) for age in by_status.values())
        for name, by_status in value.items()
    )


def _is_age(value: object) -> bool:
    if isinstance(value, timedelta):
        return value > timedelta(0)
    return value is None or (_is_seconds(value) and value < _MOST_DAYS)  # type: ignore[operator]


_RULES = {
    "STORE": _Rule(_is_store, "a CheckpointStore, or the dotted path of one or of its class"),
    "DATABASE": _Rule(
        lambda value: isinstance(value, str) and value != "", "an alias of DATABASES"
    ),
    "LEASE_SECONDS": _Rule(_is_seconds, "a number of seconds above 0"),
    "SWEEP_SECONDS": _Rule(_is_seconds, "a number of seconds above 0"),
    "MAX_TAKEOVERS": _Rule(_is_whole, "a whole number above 0"),
    "MAX_PAYLOAD_BYTES": _Rule(_is_whole, "a whole number of bytes above 0"),
    "DISPATCHER": _Rule(lambda value: value in DISPATCHERS, f"one of {', '.join(DISPATCHERS)}"),
    "QUEUES": _Rule(_are_queues, "names of letters, digits, dots, dashes and underscores"),
    "REDACT": _Rule(_are_patterns, "a list of parts of keys, e.g. ['password', 'iban']"),
    "RETENTION": _Rule(
        _is_retention,
        "a dict of pipelines ('*' for the others), each a dict of "
        f"{', '.join(ENDED)} to a number of days, a timedelta or None",
    ),
    "VISIBLE_TO": _Rule(_is_function, "a function, or the dotted path of one"),
    "VIEWS": _Rule(
        _are_openings,
        "names of pipelines with what is open, e.g. {'orders.checkout': {'START': 'signed-in'}}",
    ),
    "START_RATE": _Rule(is_rate, "how many in what time, e.g. '30/m'; the units are s, m, h and d"),
    "STREAMS_PER_USER": _Rule(_is_whole, "a whole number above 0"),
    "STREAM_SECONDS": _Rule(_is_seconds, "a number of seconds above 0"),
    # A default in the place of keys that are wrong would store everything in the clear.
    "KEYRING": _Rule(lambda value: True, "a Keyring, or what leads to one"),
}
assert set(_RULES) == {each.name.upper() for each in fields(Settings)}


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLUXIO":
        _read.cache_clear()
        default_store.cache_clear()
        project_keyring.cache_clear()


setting_changed.connect(_forget, dispatch_uid="fluxio_django.conf")
