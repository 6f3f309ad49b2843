"""Checks of who may see and do what."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from fluxio.errors import ConfigurationError
from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import visibility_rule


def check_visibility(app_configs: object, **_: Any) -> list[CheckMessage]:
    """FLUXIO["VISIBLE_TO"] leads to no function."""
    try:
        visibility_rule()
    except ConfigurationError as problem:
        message, _separator, remedy = str(problem).partition(". Use ")
        found = CheckID.NO_VISIBILITY.message(
            f"{message}.", hint=f"Use {remedy}", obj="settings.FLUXIO"
        )
        return [found]
    return []
