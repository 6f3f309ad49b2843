"""When the steps of a page ran, and how long: bars along the time of each attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.utils import timezone
from django.utils.translation import gettext as _

from fluxio_django.admin.measures import duration_text, printable, time_text
from fluxio_django.admin.standing import Standing
from fluxio_django.enums import RowKind
from fluxio_django.log import Line, Page

LANE = 20
"""The height of a lane in pixels."""

_NARROWEST = 0.4
_ROOM_PER_CHARACTER = 0.85
_MOST_LANES = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One step; `left` and `width` are percentages of the time of its attempt, `top` pixels."""

    left: str
    width: str
    top: int
    text: str
    title: str
    tone: str

    @property
    def baseline(self) -> int:
        """On which line the text stands."""
        return self.top + 13


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownAttempt:
    """The bars of one attempt, and the same in words."""

    number: int
    begun: str
    took: str
    height: int
    bars: Sequence[Bar]
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    step: str
    begin: datetime
    end: datetime
    tone: str
    duration: float


def timeline_of(standing: Standing, log: Page) -> list[ShownAttempt]:
    """The attempts that have steps among the lines of a page."""
    attempts: list[ShownAttempt] = []
    numbered = ((_attempt(line), line) for line in log.lines)
    told = [(number, line) for number, line in numbered if number is not None]
    for number, group in groupby(told, key=lambda pair: pair[0]):
        spans = list(_spans(line for _number, line in group))
        if number == standing.run.attempt and log.newer is None and standing.executing:
            spans += _under_way(standing, spans)
        if spans:
            attempts.append(_shown(number, spans))
    return attempts


def _attempt(line: Line) -> int | None:
    return line.checkpoint.attempt if line.checkpoint is not None else None


def _spans(lines: Iterable[Line]) -> Iterable[_Span]:
    for line in lines:
        row = line.checkpoint
        if row is None or not row.step:
            continue
        seconds = min(max(row.duration, 0.0), 10 * 366 * 86_400.0)
        yield _Span(
            step=printable(row.step),
            begin=row.created_at - timedelta(seconds=seconds),
            end=row.created_at,
            tone="failed" if row.kind == RowKind.ERROR else "done",
            duration=seconds,
        )


def _under_way(standing: Standing, spans: Sequence[_Span]) -> list[_Span]:
    run, now = standing.run, timezone.now()
    begin = spans[-1].end if spans else run.started_at or run.created_at
    if not run.step or begin > now:
        return []
    taken = (now - begin).total_seconds()
    return [_Span(step=printable(run.step), begin=begin, end=now, tone="current", duration=taken)]


def _shown(number: int, spans: Sequence[_Span]) -> ShownAttempt:
    begin = min(span.begin for span in spans)
    end = max(span.end for span in spans)
    whole = max((end - begin).total_seconds(), 1e-9)
    free: list[datetime] = []
    bars = []
    for span in sorted(spans, key=lambda span: span.begin):
        lane = next((at for at, since in enumerate(free) if since <= span.begin), len(free))
        lane = min(lane, _MOST_LANES - 1)
        free[lane : lane + 1] = [span.end]
        bars.append(_bar(span, (span.begin - begin).total_seconds() / whole, whole, lane))
    longest = max(spans, key=lambda span: span.duration)
    return ShownAttempt(
        number=number,
        begun=time_text(begin),
        took=duration_text(whole),
        height=len(free) * LANE,
        bars=bars,
        description=_("%(count)d steps in %(took)s; the longest is %(step)s with %(longest)s.")
        % {
            "count": len(spans),
            "took": duration_text(whole),
            "step": longest.step,
            "longest": duration_text(longest.duration),
        },
    )


def _bar(span: _Span, place: float, whole: float, lane: int) -> Bar:
    width = max(100 * span.duration / whole, _NARROWEST)
    left = min(max(100 * place, 0.0), 100 - _NARROWEST)
    name = span.step.rpartition("/")[2]
    fits = len(name) * _ROOM_PER_CHARACTER < width
    return Bar(
        left=f"{left:.2f}",
        width=f"{min(width, 100 - left):.2f}",
        top=lane * LANE,
        text=name if fits else "",
        title=f"{span.step}: {duration_text(span.duration)}",
        tone=span.tone,
    )
