"""Checks of what FLUXIO leads to: the store, the keys it seals with, callbacks."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from fluxio.errors import ConfigurationError
from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import (
    USUAL_STORE,
    default_store,
    project_callbacks,
    project_keyring,
    settings,
)


def check_store(app_configs: object, **_: Any) -> list[CheckMessage]:
    """FLUXIO["STORE"] leads to no store."""
    if settings().store == USUAL_STORE:
        return []  # without loading it
    try:
        default_store()
    except ConfigurationError as problem:
        message, _separator, remedy = str(problem).rpartition(". Use ")
        found = CheckID.NO_STORE.message(f"{message}.", hint=f"Use {remedy}", obj="settings.FLUXIO")
        return [found]
    return []


def check_keyring(app_configs: object, **_: Any) -> list[CheckMessage]:
    """FLUXIO["KEYRING"] leads to no keys."""
    try:
        project_keyring()
    except ConfigurationError as problem:
        hint = "Nothing is stored or read until it does. " + str(problem).rpartition(". ")[2]
        return [CheckID.NO_KEYRING.message(str(problem), hint=hint, obj="settings.FLUXIO")]
    return []


def check_callbacks(app_configs: object, **_: Any) -> list[CheckMessage]:
    """FLUXIO["CALLBACKS"] leads to something that is no callback."""
    try:
        project_callbacks()
    except ConfigurationError as problem:
        message, _separator, remedy = str(problem).rpartition(". Use ")
        return [
            CheckID.NO_CALLBACK.message(f"{message}.", hint=f"Use {remedy}", obj="settings.FLUXIO")
        ]
    return []
