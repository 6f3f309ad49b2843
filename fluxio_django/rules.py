"""What each key of FLUXIO has to be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import fluxio
from fluxio.types import RunStatus
from fluxio_django.openings import is_opening
from fluxio_django.rates import is_rate

DISPATCHERS = ("inline", "eager", "celery", "tasks")
ENDED = tuple(status.value for status in RunStatus if not status.is_open)
"""The statuses of runs that have ended; only such runs are ever pruned."""

_MOST_DAYS = 366_000
_MOST_SECONDS = 10**9
_SECONDS = f"a number of seconds above 0, at most {_MOST_SECONDS:,}"
MOST_BYTES = 10 * 1024 * 1024
"""The most that the codec takes for one row."""

_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Rule:
    """Whether a value fits, and what to say that is wanted where it does not.

    A value that is `secret` is not repeated. `then` says what becomes of one that does not fit: the
    default takes its place, unless it is `kept`, so that what needs it raises, or turned `off`,
    which is None.
    """

    accepts: Callable[[Any], bool]
    wanted: str
    secret: bool = False
    kept: bool = False
    off: bool = False
    then: str = "the default is used instead"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= _MOST_SECONDS


def _is_token(value: object) -> bool:
    # It has to fit into a header as it is.
    return value is None or (
        isinstance(value, str)
        and len(value) >= _SHORTEST_TOKEN
        and all("!" <= one <= "~" for one in value)
    )


def _are_patterns(value: object) -> bool:
    # A text would be read as a list of single letters.
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    return all(isinstance(item, str) and item.strip() for item in value)


def _is_store(value: object) -> bool:
    return (isinstance(value, str) and "." in value) or isinstance(value, fluxio.CheckpointStore)


def _are_callbacks(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(
        (isinstance(each, str) and "." in each) or isinstance(each, fluxio.BaseCallback)
        for each in value
    )


_QUEUE = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}"


def _are_queues(value: object) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(name, str) and re.fullmatch(_QUEUE, name) for name in value)


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


RULES = {
    "STORE": Rule(_is_store, "a CheckpointStore, or the dotted path of one or of its class"),
    "DATABASE": Rule(lambda value: isinstance(value, str) and value != "", "an alias of DATABASES"),
    "LEASE_SECONDS": Rule(_is_seconds, _SECONDS),
    "SWEEP_SECONDS": Rule(_is_seconds, _SECONDS),
    "MAX_TAKEOVERS": Rule(_is_whole, "a whole number above 0"),
    "MAX_PAYLOAD_BYTES": Rule(
        lambda value: _is_whole(value) and value <= MOST_BYTES,
        f"a whole number of bytes from 1 to {MOST_BYTES:,}, which is the most that is ever stored",
    ),
    "DISPATCHER": Rule(lambda value: value in DISPATCHERS, f"one of {', '.join(DISPATCHERS)}"),
    "QUEUES": Rule(_are_queues, "names of letters, digits, dots, dashes and underscores"),
    # The default in its place would show what the project means to hide.
    "REDACT": Rule(
        _are_patterns,
        "a list of parts of keys, e.g. ['password', 'iban']",
        kept=True,
        then="nothing that it could hide is shown",
    ),
    # The default in its place would delete what the project means to keep.
    "RETENTION": Rule(
        _is_retention,
        "a dict of pipelines ('*' for the others), each a dict of "
        f"{', '.join(ENDED)} to a number of days, a timedelta or None",
        off=True,
        then="no run is deleted until it fits",
    ),
    # No rule in the place of one that is wrong would show everybody the runs of all.
    "VISIBLE_TO": Rule(lambda value: True, "a function, or the dotted path of one"),
    "VIEWS": Rule(
        _are_openings,
        "names of pipelines with what is open, e.g. {'orders.checkout': {'START': 'signed-in'}}",
    ),
    "START_RATE": Rule(is_rate, "how many in what time, e.g. '30/m'; the units are s, m, h and d"),
    "STREAMS_PER_USER": Rule(_is_whole, "a whole number above 0"),
    "STREAM_SECONDS": Rule(_is_seconds, _SECONDS),
    "CALLBACKS": Rule(
        _are_callbacks,
        "a list of callbacks or of their dotted paths, e.g. ['fluxio.LoggingCallback']",
    ),
    "HEALTH_TOKEN": Rule(
        _is_token,
        f"a random text of at least {_SHORTEST_TOKEN} printable ASCII characters without spaces",
        secret=True,
    ),
    "HEALTH_WAIT_SECONDS": Rule(_is_seconds, _SECONDS),
    # A default in the place of keys that are wrong would store everything in the clear.
    "KEYRING": Rule(lambda value: True, "a Keyring, or what leads to one"),
}
