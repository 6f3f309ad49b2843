"""Durations as small plots: where they lie on a scale by powers of ten, and run after run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from fluxio_django.admin.measures import duration_text
from fluxio_django.admin.samples import EndedRun, Spread

WIDTH, HEIGHT = 240, 28

MOST_BARS = 100
"""How many runs are drawn one by one."""

_CLASSES = 40
_SHORTEST = 1e-5
_MOST_TICKS = 4
_BAR, _RUNS_HEIGHT = 8, 64


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from one power of ten seconds to another."""

    first: int
    last: int

    @classmethod
    def over(cls, spreads: Iterable[Spread]) -> Scale:
        """The shortest axis that has room for all of these."""
        ends = [end for spread in spreads for end in (spread.seconds[0], spread.seconds[-1])]
        shortest, longest = (max(end, _SHORTEST) for end in (min(ends), max(ends)))
        first = floor(log10(shortest))
        return cls(first, max(ceil(log10(longest)), first + 1))

    def place(self, seconds: float) -> float:
        """Where a duration lies, in pixels from the left."""
        share = (log10(max(seconds, _SHORTEST)) - self.first) / (self.last - self.first)
        return round(min(max(share, 0.0), 1.0) * WIDTH, 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Where the axis has marks, and what they say."""
        every = ceil((self.last - self.first) / _MOST_TICKS)
        return [
            (self.place(10.0**power), _power_text(power))
            for power in range(self.first, self.last + 1, every)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar of a plot; all lengths are pixels. `title` is said where somebody points at it."""

    x: float
    y: float
    width: float
    height: float
    tone: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """Bars, and the lines of median and 95th percentile; `description` says it in words."""

    width: int
    height: int
    bars: Sequence[Bar]
    median: float | None = None
    p95: float | None = None
    description: str = ""


def spread_plot(spread: Spread, scale: Scale) -> Plot:
    """How many durations lie where on the scale."""
    counts = [0] * _CLASSES
    for seconds in spread.seconds:
        at = int(scale.place(seconds) / WIDTH * _CLASSES)
        counts[min(at, _CLASSES - 1)] += 1
    each, most = WIDTH / _CLASSES, max(counts)
    bars = [
        Bar(x=at * each, y=HEIGHT - height, width=each - 1, height=height)
        for at, count in enumerate(counts)
        if count
        for height in [max(round(HEIGHT * count / most, 1), 2)]
    ]
    return Plot(
        width=WIDTH,
        height=HEIGHT,
        bars=bars,
        median=scale.place(spread.median),
        p95=scale.place(spread.p95),
        description=_("%(count)d durations from %(shortest)s to %(longest)s")
        % {
            "count": len(spread.seconds),
            "shortest": duration_text(spread.seconds[0]),
            "longest": duration_text(spread.seconds[-1]),
        },
    )


def runs_plot(runs: Sequence[EndedRun]) -> Plot | None:
    """The newest runs one after another, the newest on the right; None where there are none.

    A bar is as high as the run was long; the longest twentieth is cut off at the same height.
    """
    newest = list(reversed(runs[:MOST_BARS]))
    known = sorted(run.seconds for run in newest if run.seconds is not None)
    if not newest or not known:
        return None
    tallest = max(Spread(known).p95, _SHORTEST)
    bars = [_run_bar(at, run, tallest) for at, run in enumerate(newest)]
    failed = sum(run.failed for run in newest)
    return Plot(
        width=len(bars) * _BAR,
        height=_RUNS_HEIGHT,
        bars=bars,
        description=ngettext(
            "The newest run that ended; %(failed)d failed",
            "The newest %(count)d runs that ended; %(failed)d failed",
            len(newest),
        )
        % {"count": len(newest), "failed": failed},
    )


def _run_bar(at: int, run: EndedRun, tallest: float) -> Bar:
    share = min((run.seconds or 0.0) / tallest, 1.0)
    height = max(round(share * _RUNS_HEIGHT, 1), 3)
    took = duration_text(run.seconds) if run.seconds is not None else "?"
    said = _("%(run)s: failed after %(took)s") if run.failed else _("%(run)s: %(took)s")
    return Bar(
        x=at * _BAR,
        y=_RUNS_HEIGHT - height,
        width=_BAR - 2,
        height=height,
        tone="failed" if run.failed else "done",
        title=said % {"run": run.run_id, "took": took},
    )


def _power_text(power: int) -> str:
    if power < 0:
        return _("%(number)s ms") % {"number": f"{10.0 ** (power + 3):g}"}
    return _("%(number)s s") % {"number": f"{10**power:,}".replace(",", " ")}
