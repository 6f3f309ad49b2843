"""Rounds of measurements: ours and what it is compared with by turns, so that drift hits all."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.workload import Measure, Workload

FEWEST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """What one contender gave in each round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that counts."""
        return median(self.values)

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(min(self.values))}-{_short(max(self.values))})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A workload that was measured. `peers` are the others who did the same work."""

    workload: Workload
    ours: Figures
    floor: Figures
    peers: Mapping[str, Figures]
    facts: Mapping[str, str]

    @property
    def ratio(self) -> float:
        """Ours to the floor, by medians."""
        return self.ours.median / self.floor.median

    @property
    def meets_goal(self) -> bool:
        """Whether the workload is where it should be."""
        return self.workload.is_met_by(self.ours.median, self.ratio)


def measure(workload: Workload, peers: Mapping[str, Measure], rounds: int) -> Result:
    """Measure by turns; each contender works once unmeasured before, to be warm."""
    contenders = {"floor": workload.floor, "ours": workload.ours, **peers}
    try:
        for work in contenders.values():
            work()
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(max(FEWEST_ROUNDS, rounds)):
            for name, work in contenders.items():
                gc.collect()
                found[name].append(work())
        facts = dict(workload.facts())
    finally:
        workload.close()
    figures = {name: Figures(tuple(values)) for name, values in found.items()}
    return Result(
        workload=workload,
        ours=figures.pop("ours"),
        floor=figures.pop("floor"),
        peers=figures,
        facts=facts,
    )


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
