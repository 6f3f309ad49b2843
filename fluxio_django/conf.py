"""The FLUXIO setting: one dict, read when it is first needed, as a typed frozen object."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

import fluxio
from fluxio.errors import ConfigurationError
from fluxio.patterns import DEFAULT_PATTERNS
from fluxio_django.rules import RULES
from fluxio_django.rules import Rule as KeyRule

if TYPE_CHECKING:
    from fluxio_django.models import Run
    from fluxio_django.querysets import RunQuerySet

EVERY_PIPELINE = "*"
"""Stands in FLUXIO["RETENTION"] for the pipelines that it does not name."""

USUAL_STORE = "fluxio_django.DjangoStore"

DEFAULT_RETENTION = {
    EVERY_PIPELINE: {"succeeded": 90, "failed": 180, "cancelled": 180, "dead": 365},
}


Rule = Callable[[Any, "RunQuerySet[Run]"], "RunQuerySet[Run]"]
"""Takes a user and runs, and gives those of the runs that this user may know of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What FLUXIO says; each key is the name of a field in capitals."""

    store: str | fluxio.CheckpointStore = USUAL_STORE
    """Where durable pipelines that name no store keep their runs: a `CheckpointStore`, or the
    dotted path of one or of a class that needs no arguments."""

    database: str = "default"
    """The alias of the database that keeps runs."""

    lease_seconds: float = 30.0
    """How long a claim holds without a heartbeat: so long after a worker died others wait before
    they take its runs over."""

    sweep_seconds: float = 10.0
    """How often expired leases and lost messages are looked for."""

    max_takeovers: int = 5
    """How often a run may lose its worker before it is given up as dead."""

    max_payload_bytes: int = 10 * 1024 * 1024
    """What one row may store at most."""

    dispatcher: str = "inline"
    """Who executes what was enqueued: "inline", threads of the process; "eager", the caller;
    "celery", workers of the project's Celery application; "tasks", whatever runs Django's own
    tasks."""

    queues: Sequence[str] = ("default",)
    """The names that runs may be enqueued to; the first one is taken where none is named."""

    visible_to: str | Callable[[Any, Any], Any] | None = None
    """A function, or the dotted path of one, that takes a user and runs and gives those of them
    that this user may know of. Where it leads to no function, nobody is shown any."""

    redact: Sequence[str] = DEFAULT_PATTERNS
    """Parts of keys whose values nobody is shown. Where they are no list of texts, no values and no
    texts of errors are shown at all."""

    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The pipelines that `fluxio_django.urls` is open for, by name, each with a dict: `START` is
    who may start runs, "signed-in" or a permission; `SHOWS` are keys of the context that everybody
    is shown who may know of a run."""

    start_rate: str = "30/m"
    """How often one user may start or resume runs there; the units are s, m, h and d."""

    streams_per_user: int = 10
    """How many streams one user may have open in a process."""

    stream_seconds: float = 300.0
    """For how long a stream of events stays open; browsers come again."""

    retention: Mapping[str, Mapping[str, Any]] | None = field(
        default_factory=lambda: DEFAULT_RETENTION
    )
    """How long ended runs are kept: for the name of a pipeline, or "*" for all others, days (or a
    timedelta) by status; None keeps them for ever, and so does what does not fit."""

    keyring: fluxio.Keyring | str | Mapping[str, str] | Callable[[], fluxio.Keyring] | None = None
    """Seals what `DjangoStore` and `DjangoRedisStore` keep: a `fluxio.Keyring`, the dotted path of
    one or of a function that gives one, or key ids with 32 random bytes in base64 each, the newest
    first. Where it leads to no keys, nothing is stored or read."""

    callbacks: Sequence[fluxio.BaseCallback | str] = ()
    """What watches the runs of every registered pipeline, beside its own: each is a
    `fluxio.BaseCallback`, or the dotted path of one or of what gives one without arguments, such as
    "fluxio.LoggingCallback"."""

    health_token: str | None = field(default=None, repr=False)
    """A secret of at least 16 characters that opens the health view to whoever sends it; None keeps
    the view closed."""

    health_wait_seconds: float = 300.0
    """How long a run may wait for a worker before that view says that something is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something in FLUXIO that was passed over. `key` is None when FLUXIO itself is no dict."""

    key: str | None
    known: bool
    message: str
    hint: str


def settings() -> Settings:
    """What FLUXIO says now; defaults stand in for what it says wrongly, save where they would show,
    store or delete too much."""
    return _read()[0]


def problems() -> tuple[Problem, ...]:
    """What was passed over in FLUXIO."""
    return _read()[1]


@cache
def default_store() -> fluxio.CheckpointStore:
    """The store of durable pipelines that name none.

    Raises:
        ConfigurationError: FLUXIO["STORE"] leads to no store.
    """
    chosen = settings().store
    if isinstance(chosen, fluxio.CheckpointStore):
        return chosen
    try:
        found = import_string(chosen)
    except ImportError as problem:
        raise _no_store(chosen, f"cannot be imported: {problem}") from problem
    if isinstance(found, fluxio.CheckpointStore):
        return found
    if not (isinstance(found, type) and issubclass(found, fluxio.CheckpointStore)):
        raise _no_store(chosen, "is no CheckpointStore")
    try:
        return found()
    except TypeError as problem:
        raise _no_store(chosen, f"cannot be built without arguments: {problem}") from problem


@cache
def project_keyring() -> fluxio.Keyring | None:
    """The keys under which the stores of the project keep their rows; None where it has none.

    Raises:
        ConfigurationError: FLUXIO["KEYRING"] leads to no keys; nothing must be stored without them.
    """
    chosen: Any = settings().keyring
    try:
        if isinstance(chosen, str):
            chosen = import_string(chosen)
        if isinstance(chosen, Mapping):
            return fluxio.Keyring(keys={key_id: _key(text) for key_id, text in chosen.items()})
        found = chosen() if callable(chosen) else chosen
    except ConfigurationError:
        raise
    except Exception as problem:  # noqa: BLE001 - it comes from the code of the project
        # What it says may hold a key.
        raise _no_keyring(f"failed with {type(problem).__name__}") from None
    if found is None and settings().keyring is None:
        return None
    if not isinstance(found, fluxio.Keyring):
        raise _no_keyring(f"leads to {type(found).__name__}")
    return found


@cache
def project_callbacks() -> tuple[fluxio.BaseCallback, ...]:
    """What watches the runs of every registered pipeline.

    Raises:
        ConfigurationError: an entry of FLUXIO["CALLBACKS"] leads to no callback.
    """
    return tuple(_callback(chosen) for chosen in settings().callbacks)


@cache
def visibility_rule() -> Rule | None:
    """The function that FLUXIO["VISIBLE_TO"] names, None where it names none.

    Raises:
        ConfigurationError: it leads to no function.
    """
    chosen: Any = settings().visible_to
    if chosen is None:
        return None
    try:
        found = import_string(chosen) if isinstance(chosen, str) else chosen
    except ImportError as problem:
        raise _no_rule(chosen, f"cannot be imported: {problem}") from problem
    if not callable(found):
        raise _no_rule(chosen, "is no function")
    rule: Rule = found
    return rule


def _callback(chosen: fluxio.BaseCallback | str) -> fluxio.BaseCallback:
    if isinstance(chosen, fluxio.BaseCallback):
        return chosen
    try:
        found: Any = import_string(chosen)
        if not isinstance(found, fluxio.BaseCallback):
            found = found()
    except Exception as problem:  # an extra is missing, or code of the project failed
        raise _no_callback(chosen, f"failed with {type(problem).__name__}: {problem}") from problem
    if not isinstance(found, fluxio.BaseCallback):
        raise _no_callback(chosen, f"leads to {type(found).__name__}")
    return found


def _no_rule(chosen: object, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"FLUXIO['VISIBLE_TO'] is {chosen!r}, which {reason}. Use the dotted path of a function "
        "that takes a user and a query set of runs, and returns the runs this user may know of."
    )


def _no_callback(chosen: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"FLUXIO['CALLBACKS'] names {chosen!r}, which {reason}. Use callbacks, or the dotted paths "
        "of callbacks or of what gives one without arguments, e.g. 'fluxio.LoggingCallback'."
    )


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
        return Settings(retention=None), (problem,)
    accepted: dict[str, Any] = {}
    passed_over: list[Problem] = []
    for key, value in given.items():
        rule = RULES.get(key)
        if rule is None:
            passed_over.append(_unknown(key))
            continue
        fits = rule.accepts(value)
        if not fits:
            passed_over.append(_unfit(key, value, rule))
        if fits or rule.kept:
            accepted[key.lower()] = value
        elif rule.off:
            accepted[key.lower()] = None
    return Settings(**accepted), tuple(passed_over)


def _unknown(key: object) -> Problem:
    return Problem(
        key=str(key),
        known=False,
        message=f"FLUXIO has an unknown key {key!r}.",
        hint=f"Known keys: {', '.join(RULES)}.",
    )


def _unfit(key: str, value: object, rule: KeyRule) -> Problem:
    told = "does not fit" if rule.secret else f"is {value!r}"
    return Problem(
        key=key,
        known=True,
        message=f"FLUXIO[{key!r}] {told}; {rule.then}.",
        hint=f"Give {rule.wanted}.",
    )


assert set(RULES) == {each.name.upper() for each in fields(Settings)}


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLUXIO":
        _read.cache_clear()
        default_store.cache_clear()
        project_keyring.cache_clear()
        project_callbacks.cache_clear()
        visibility_rule.cache_clear()


setting_changed.connect(_forget, dispatch_uid="fluxio_django.conf")
