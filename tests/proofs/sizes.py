"""How large the proofs are: what a pull request can wait for, or what a soak has the hours for."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

HALF_HOUR = 1800


class Scale(StrEnum):
    """Which of two figures a proof is held to."""

    PULL_REQUEST = "pull-request"
    SOAK = "soak"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much a proof tries.

    `share` cuts the figures of a soak, for machines that have not got the hours; a cut one says so
    in the table. `turn` chooses the sample where not every point is tried: as many turns as there
    are points to a sample try all of them.
    """

    scale: Scale = Scale.PULL_REQUEST
    share: Fraction = Fraction(1)
    turn: int = 0

    def __str__(self) -> str:
        return f"{self.scale}, cut to {self.share}" if self.share < 1 else str(self.scale)

    def trials(self, *, pull_request: int, soak: int) -> int:
        """So many trials."""
        if self.scale is Scale.PULL_REQUEST:
            return pull_request
        return max(pull_request, math.ceil(soak * self.share))

    def points(self, total: int, *, pull_request: int) -> Sequence[int]:
        """Which of the points from 1 to `total`: all in a soak, else about so many.

        They are evenly spread, and begin one further at each turn.
        """
        wanted = self.trials(pull_request=min(pull_request, total), soak=total)
        step = max(1, math.ceil(total / max(1, wanted)))
        return range(1 + self.turn % step, total + 1, step)


def size_by(environment: Mapping[str, str] = os.environ) -> Size:
    """The size that the environment asks for; every half hour is a turn unless it names one.

    `FLUXIO_PROOFS` is "pull-request" or "soak", with a share if the soak is cut: "soak:1/10".

    Raises:
        ValueError: it asks for something else.
    """
    scale, _, share = environment.get("FLUXIO_PROOFS", Scale.PULL_REQUEST).partition(":")
    turn = environment.get("FLUXIO_PROOFS_TURN") or int(time.time()) // HALF_HOUR
    return Size(scale=Scale(scale), share=Fraction(share or 1), turn=int(turn))
