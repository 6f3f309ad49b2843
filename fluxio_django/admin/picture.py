"""A pipeline as a picture: where its steps stand, and the lines between them.

Time runs from left to right; routes and branches lie below each other. All lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from django.utils.translation import gettext as _

from fluxio.program import CompiledPipeline
from fluxio_django.admin.flow import Choice, Flow, Part, Split, Step, flow_of, steps_in
from fluxio_django.admin.marks import NO_MARK, Mark, StepState
from fluxio_django.admin.measures import printable

MOST_DRAWN = 150
"""Larger pipelines are not drawn: nobody could read the picture."""

_HEIGHT, _GAP, _SPACE, _DOT, _MARGIN = 30, 12, 34, 12, 12
_CHARACTER, _PADDING, _LONGEST = 7, 14, 30
_SIGN = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A step in the picture; `x` and `y` are its upper left corner."""

    x: int
    y: int
    width: int
    text: str
    key: str
    mark: Mark
    address: str

    height: int = _HEIGHT

    @property
    def text_x(self) -> int:
        """Where the text begins."""
        return self.x + _PADDING + (_SIGN if self.mark.state.sign else 0)

    @property
    def sign_x(self) -> int:
        """Where the sign of its state stands."""
        return self.x + _PADDING - 3

    @property
    def baseline(self) -> int:
        """On which line the text stands."""
        return self.y + _HEIGHT // 2 + 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line to what comes next; `path` is in the language of SVG's paths."""

    path: str
    taken: bool
    background: bool
    label: str = ""
    label_x: int = 0
    label_y: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """Where branches part or meet, and where all begins and ends."""

    x: int
    y: int
    taken: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """All there is to draw. `description` says the same in words.

    `is_marked` says that it shows what became of the steps of a run.
    """

    width: int
    height: int
    boxes: Sequence[Box]
    lines: Sequence[Line]
    dots: Sequence[Dot]
    description: str
    is_marked: bool


def picture_of(
    program: CompiledPipeline,
    marks: Mapping[str, Mark],
    address: Callable[[str, Mark], str] = lambda key, mark: "",
) -> Picture | None:
    """The picture of a program with what became of its steps; None where it would be too large."""
    if len(program.calls) > MOST_DRAWN:
        return None
    flow = flow_of(program)
    drawing = _Drawing(marks=marks, address=address)
    width, height = _size_of(flow)
    middle = _MARGIN + height // 2
    start = _Exit(x=_MARGIN + _DOT, y=middle, taken=bool(marks))
    drawing.dots.append(Dot(x=_MARGIN + _DOT // 2, y=middle, taken=start.taken))
    exits = drawing.place(flow, _MARGIN + _DOT + _SPACE, middle, [start])
    end_x = 2 * _MARGIN + _DOT + 2 * _SPACE + width
    taken = [leaving for leaving in exits if leaving.taken]
    ended = bool(taken) and all(leaving.done for leaving in taken)
    drawing.link(exits, end_x, middle, taken=ended)
    drawing.dots.append(Dot(x=end_x + _DOT // 2, y=middle, taken=ended and bool(marks)))
    return Picture(
        width=end_x + _DOT + _MARGIN,
        height=height + 2 * _MARGIN,
        boxes=drawing.boxes,
        lines=sorted(drawing.lines, key=lambda line: line.taken),
        dots=drawing.dots,
        description=_description(steps_in(flow), marks),
        is_marked=bool(marks),
    )


def _description(steps: Iterable[Step], marks: Mapping[str, Mark]) -> str:
    if not marks:
        return ", ".join(printable(step.key) for step in steps)
    return ", ".join(
        _("%(step)s: %(state)s")
        % {"step": printable(step.key), "state": marks.get(step.key, NO_MARK).state.label}
        for step in steps
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Exit:
    """Where a line leaves for what comes next."""

    x: int
    y: int
    taken: bool
    done: bool = True
    background: bool = False
    label: str = ""


@dataclass(slots=True)
class _Drawing:
    """Collects shapes while it goes through the tree."""

    marks: Mapping[str, Mark]
    address: Callable[[str, Mark], str]
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)

    def place(self, flow: Flow, x: int, middle: int, exits: list[_Exit]) -> list[_Exit]:
        """Draw parts one after another, and give the places where lines leave the last one."""
        for part in flow:
            match part:
                case Step():
                    exits = [self._step(part, x, middle, exits)]
                case Choice():
                    exits = self._choice(part, x, middle, exits)
                case Split():
                    exits = self._split(part, x, middle, exits)
                case _:
                    assert_never(part)
            x += _size(part)[0] + _SPACE
        return exits

    def link(self, exits: Sequence[_Exit], x: int, y: int, *, taken: bool) -> None:
        """Draw lines from exits to a place."""
        for leaving in exits:
            self.lines.append(
                Line(
                    path=_curve(leaving, x, y),
                    taken=taken and leaving.taken and leaving.done,
                    background=leaving.background,
                    label=leaving.label,
                    label_x=x - 6,
                    label_y=y - 5,
                )
            )

    def _step(self, step: Step, x: int, middle: int, exits: list[_Exit]) -> _Exit:
        mark = self.marks.get(step.key, NO_MARK)
        box = Box(
            x=x,
            y=middle - _HEIGHT // 2,
            width=_width_of(step),
            text=_text_of(step),
            key=printable(step.key),
            mark=mark,
            address=self.address(step.key, mark),
        )
        self.boxes.append(box)
        reached = mark.state.is_reached
        self.link(exits, x, middle, taken=reached)
        done = mark.state is StepState.DONE
        return _Exit(x=x + box.width, y=middle, taken=reached, done=done)

    def _choice(self, choice: Choice, x: int, middle: int, exits: list[_Exit]) -> list[_Exit]:
        leaving = self._step(choice.router, x, middle, exits)
        begin = leaving.x + _room_for(choice)
        found: list[_Exit] = []
        for (name, route), y in zip(choice.routes, _lanes(choice, middle), strict=True):
            labelled = _Exit(
                x=leaving.x, y=leaving.y, taken=leaving.taken, done=leaving.done, label=_cut(name)
            )
            found += self.place(route, begin, y, [labelled])
        taken = [leaving for leaving in found if leaving.taken]
        return [*(leaving for leaving in found if not leaving.taken), *taken]

    def _split(self, split: Split, x: int, middle: int, exits: list[_Exit]) -> list[_Exit]:
        reached = any(
            self.marks.get(step.key, NO_MARK).state.is_reached
            for branch in split.branches
            for step in steps_in(branch)
        )
        self.dots.append(Dot(x=x + _DOT // 2, y=middle, taken=reached))
        self.link(exits, x, middle, taken=reached)
        ends: list[_Exit] = []
        for branch, y in zip(split.branches, _lanes(split, middle), strict=True):
            opened = _Exit(x=x + _DOT, y=middle, taken=reached, background=split.background)
            ends += self.place(branch, x + _DOT + _SPACE, y, [opened])
        if split.background:
            return [_Exit(x=x + _DOT, y=middle, taken=reached)]
        joined = bool(ends) and all(end.taken and end.done for end in ends)
        meeting = x + _size(split)[0] - _DOT
        self.link(ends, meeting, middle, taken=True)
        self.dots.append(Dot(x=meeting + _DOT // 2, y=middle, taken=joined))
        return [_Exit(x=meeting + _DOT, y=middle, taken=joined)]


def _curve(leaving: _Exit, x: int, y: int) -> str:
    """A line that bends once: below its label's room, or right before the place it leads to."""
    begin, end = leaving.x, x
    if leaving.label:
        end = x - len(leaving.label) * _CHARACTER - 6
    elif x - leaving.x > 2 * _SPACE:
        begin = x - _SPACE
    half = (begin + end) // 2
    return (
        f"M{leaving.x} {leaving.y}L{begin} {leaving.y}"
        f"C{half} {leaving.y} {half} {y} {end} {y}L{x} {y}"
    )


def _flows_of(part: Choice | Split) -> Sequence[Flow]:
    if isinstance(part, Split):
        return part.branches
    return [route for _name, route in part.routes]


def _lanes(part: Choice | Split, middle: int) -> list[int]:
    """The middles of the lanes of a part; those of the background lie below its own line."""
    heights = [_size_of(flow)[1] for flow in _flows_of(part)]
    if isinstance(part, Split) and part.background:
        top = middle + _HEIGHT // 2 + _GAP
    else:
        top = middle - (sum(heights) + _GAP * (len(heights) - 1)) // 2
    lanes = []
    for height in heights:
        lanes.append(top + height // 2)
        top += height + _GAP
    return lanes


def _size_of(flow: Flow) -> tuple[int, int]:
    sizes = [_size(part) for part in flow]
    width = sum(width for width, _height in sizes) + _SPACE * max(len(sizes) - 1, 0)
    return width, max((height for _width, height in sizes), default=_HEIGHT)


def _size(part: Part) -> tuple[int, int]:
    if isinstance(part, Step):
        return _width_of(part), _HEIGHT
    sizes = [_size_of(flow) for flow in _flows_of(part)]
    width = max(width for width, _height in sizes)
    height = sum(height for _width, height in sizes) + _GAP * (len(sizes) - 1)
    match part:
        case Choice():
            return _width_of(part.router) + _room_for(part) + width, max(height, _HEIGHT)
        case Split(background=True):
            # As much room above its line, which has to stay in the middle.
            return 2 * _DOT + 2 * _SPACE + width, 2 * (height + _GAP) + _HEIGHT
        case Split():
            return 2 * _DOT + 2 * _SPACE + width, max(height, _HEIGHT)
        case _:
            assert_never(part)


def _room_for(choice: Choice) -> int:
    longest = max(len(_cut(name)) for name, _route in choice.routes)
    return _SPACE + longest * _CHARACTER


def _width_of(step: Step) -> int:
    return len(_text_of(step)) * _CHARACTER + 2 * _PADDING + _SIGN


def _text_of(step: Step) -> str:
    return _cut(step.name)


def _cut(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
