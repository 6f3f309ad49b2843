"""What a benchmark is: something of ours to measure, and the floor that is measured beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Measure = Callable[[], float]
"""Does the work once and gives one figure, in the unit of its workload."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Something to measure, always by turns with its floor.

    `ours` and `floor` each give one figure in `unit`; the ratio is ours divided by the floor, and
    `goal` says where it should be: "<= 1.6" or, where more is better, ">= 1.2". A goal for the
    figure itself ends with the unit: "<= 2 us". `facts` tells what else is worth knowing (bytes
    written, queries), measured once after the rounds. `close` takes away what the workload left
    behind, such as workers it started.
    """

    name: str
    title: str
    unit: str
    ours: Measure
    floor: Measure
    floor_title: str
    goal: str
    facts: Callable[[], Mapping[str, str]] = field(default=dict)
    close: Callable[[], None] = field(default=lambda: None)

    def is_met_by(self, value: float, ratio: float) -> bool:
        """Whether a figure, or its ratio to the floor, is where it should be."""
        sign, bound, *unit = self.goal.split()
        found = value if unit else ratio
        return found <= float(bound) if sign == "<=" else found >= float(bound)
