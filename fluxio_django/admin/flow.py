"""A compiled program as the tree its author wrote: steps, choices between routes, splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from fluxio.nodes import ForkMode
from fluxio.program import Call, CompiledPipeline, End, Fork, Join


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One stage; `key` is its step key."""

    key: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A router, and the routes it chooses from by their names."""

    router: Step
    routes: Sequence[tuple[str, Flow]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Branches that run beside each other; nobody waits for those in the `background`."""

    background: bool
    branches: Sequence[Flow]


Part = Step | Choice | Split
Flow = tuple[Part, ...]
"""Parts that come one after another."""


def flow_of(program: CompiledPipeline) -> Flow:
    """The tree of a program."""
    return tuple(_parts(program, 0, None))


def steps_in(flow: Flow) -> Iterator[Step]:
    """Every step of a tree, in the order of the program."""
    for part in flow:
        match part:
            case Step():
                yield part
            case Choice():
                yield part.router
                for _name, route in part.routes:
                    yield from steps_in(route)
            case Split():
                for branch in part.branches:
                    yield from steps_in(branch)
            case _:
                assert_never(part)


def _parts(program: CompiledPipeline, start: int, stop: int | None) -> Iterator[Part]:
    """The parts from instruction `start` on, up to the one numbered `stop` or the lane's end."""
    at = start
    while at != stop:
        instruction = program.instructions[at]
        match instruction:
            case Call():
                step = Step(key=instruction.key, name=instruction.stage.name)
                if instruction.routes is None:
                    yield step
                else:
                    routes = [
                        (name, tuple(_parts(program, entry, instruction.next)))
                        for name, entry in instruction.routes.items()
                    ]
                    yield Choice(router=step, routes=routes)
                at = instruction.next
            case Fork():
                branches = [
                    tuple(_parts(program, branch.entry, None)) for branch in instruction.branches
                ]
                background = instruction.mode is ForkMode.FIRE_FORGET
                yield Split(background=background, branches=branches)
                at = instruction.next
            case Join() | End():
                return
            case _:
                assert_never(instruction)
