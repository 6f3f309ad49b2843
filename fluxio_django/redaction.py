"""The project's redaction: the one rule behind pages, JSON, comparisons, logs and error texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from fluxio.errors import ConfigurationError
from fluxio.redaction import Redaction
from fluxio_django.conf import settings
from fluxio_django.rules import RULES


@cache
def redaction() -> Redaction:
    """What FLUXIO["REDACT"] hides.

    Raises:
        ConfigurationError: nobody knows, since it is no list of parts of keys.
    """
    chosen, rule = settings().redact, RULES["REDACT"]
    if not rule.accepts(chosen):
        raise ConfigurationError(
            f"FLUXIO['REDACT'] is {chosen!r}, so that nobody knows what to hide. Give "
            f"{rule.wanted}."
        )
    return Redaction(tuple(chosen))


def shown_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A context, or what a step wrote, with everything hidden wrapped in a `Secret`."""
    return redaction().items(values)


def shown_value(value: Any) -> Any:
    """One value, with everything hidden inside it wrapped in a `Secret`."""
    return redaction().value(value)


def shown_text(text: str, values: Mapping[str, Any] | None = None) -> str:
    """A text of an error or a log line, without what is hidden; see `Redaction.text`."""
    return redaction().text(text, values)


def recorded_text(text: str, values: Mapping[str, Any] | None = None) -> str:
    """Do as `shown_text`; while nobody knows what to hide, the text says that in its place."""
    try:
        return shown_text(text, values)
    except ConfigurationError as problem:
        return str(problem)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "FLUXIO":
        redaction.cache_clear()


setting_changed.connect(_forget, dispatch_uid="fluxio_django.redaction")
