"""How often something may happen, as people write it: "10/s", "10/m", "10/h" or "10/d"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_RATE = r"(?P<count>[1-9][0-9]{0,8})/(?P<unit>[smhd])"
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many times in so many seconds."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rate in a text for which `is_rate` is true."""
        found = re.fullmatch(_RATE, text)
        assert found is not None
        return cls(int(found["count"]), _SECONDS[found["unit"]])

    @property
    def interval(self) -> float:
        """Seconds between two of them when they are evenly spread."""
        return self.seconds / self.count


def is_rate(value: object) -> bool:
    """Whether a value is such a text."""
    return isinstance(value, str) and re.fullmatch(_RATE, value) is not None
