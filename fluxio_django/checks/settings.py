"""Checks of FLUXIO itself: keys and values that were passed over."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import problems


def check_settings(app_configs: object, **_: Any) -> list[CheckMessage]:
    """An unknown key; a value that does not fit."""
    return [
        (CheckID.UNFIT_VALUE if problem.known else CheckID.UNKNOWN_KEY).message(
            problem.message, hint=problem.hint, obj="settings.FLUXIO"
        )
        for problem in problems()
    ]
