"""Values of every type that the codec knows, nested; drawn once, for all stores there are."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from tests.core.codec.test_codec_values import VALUES


@cache
def examples(count: int) -> list[Any]:
    """About so many values, the same at every call."""
    drawn: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(VALUES)
    def draw(value: Any) -> None:
        drawn.append(value)

    draw()
    return drawn
