"""Lays nodes out as a flat program; the one mutable object of the compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from fluxio.compiler.tree import Body, ForkNode, RouteNode, StageNode, SubNode
from fluxio.nodes import ForkMode
from fluxio.program import MAIN_LANE, Branch, Call, End, Fork, Instruction, Join, Lane
from fluxio.types import StageMiddleware

Exit = Callable[[int], None]
"""Called with the number of the instruction that follows, once it is known."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a body stands: its lane, the first part of its keys, the middleware around it."""

    lane: int
    prefix: str
    middleware: tuple[StageMiddleware, ...]

    def under(self, segment: str) -> _Place:
        return replace(self, prefix=segment + "/")


class Builder:
    """Turns one checked body into instructions; use once."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.lanes: list[Lane] = [Lane(path="", parent=None, fork=None, background=False)]
        self._keys: set[str] = set()

    def build(self, body: Body, middleware: Sequence[StageMiddleware]) -> None:
        """Fill `instructions` and `lanes`."""
        exits = self._body(body, _Place(MAIN_LANE, "", tuple(middleware)))
        end = self._add(End(key=self._key("#end")))
        _join_up(exits, end)

    @property
    def index(self) -> Mapping[str, int]:
        """The number of the instruction behind each key."""
        return MappingProxyType({item.key: at for at, item in enumerate(self.instructions)})

    def _add(self, instruction: Instruction) -> int:
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def _key(self, wanted: str) -> str:
        key, count = wanted, 1
        while key in self._keys:
            count += 1
            key = f"{wanted}#{count}"
        self._keys.add(key)
        return key

    def _body(self, body: Body, place: _Place) -> list[Exit]:
        exits: list[Exit] = []
        for node in body:
            _join_up(exits, len(self.instructions))
            match node:
                case StageNode():
                    exits = self._stage(node, place)
                case RouteNode():
                    exits = self._router(node, place)
                case ForkNode():
                    exits = self._fork(node, place)
                case SubNode():
                    inner = place.under(self._key(place.prefix + node.name))
                    inner = replace(inner, middleware=place.middleware + node.middleware)
                    exits = self._body(node.body, inner)
        return exits

    def _call(self, node: StageNode, place: _Place) -> int:
        return self._add(
            Call(
                key=self._key(place.prefix + node.stage.name),
                lane=place.lane,
                stage=node.stage,
                next=-1,
                middleware=place.middleware,
            )
        )

    def _stage(self, node: StageNode, place: _Place) -> list[Exit]:
        at = self._call(node, place)
        return [lambda target: self._patch(at, next=target)]

    def _router(self, node: RouteNode, place: _Place) -> list[Exit]:
        at = self._call(node.router, place)
        router = self.instructions[at]
        routes: dict[str, int] = {}
        exits: list[Exit] = []
        for name, body in node.routes.items():
            routes[name] = len(self.instructions)
            exits += self._body(body, place.under(f"{router.key}/{name}"))
        self._patch(at, routes=MappingProxyType(routes))
        # A router never falls through, yet the body after its routes is where it would go.
        exits.append(lambda target: self._patch(at, next=target))
        return exits

    def _fork(self, node: ForkNode, place: _Place) -> list[Exit]:
        key = self._key(place.prefix + node.name)
        fork = Fork(key=key, lane=place.lane, mode=node.mode, branches=(), next=-1)
        at = self._add(fork)
        branches = tuple(self._branch(at, fork, name, body, place) for name, body in node.branches)
        self._patch(at, branches=branches)
        return [lambda target: self._patch(at, next=target)]

    def _branch(self, at: int, fork: Fork, name: str, body: Body, place: _Place) -> Branch:
        lane = len(self.lanes)
        path = f"{fork.key}/{name}"
        background = fork.mode is ForkMode.FIRE_FORGET or self.lanes[place.lane].background
        self.lanes.append(Lane(path=path, parent=place.lane, fork=at, background=background))
        entry = len(self.instructions)
        exits = self._body(body, replace(place.under(fork.key), lane=lane))
        join = self._add(Join(key=self._key(f"{path}/#join"), lane=lane, fork=at))
        _join_up(exits, join)
        return Branch(name=name, lane=lane, entry=entry)

    def _patch(self, at: int, **changes: Any) -> None:
        self.instructions[at] = replace(self.instructions[at], **changes)


def _join_up(exits: Sequence[Exit], target: int) -> None:
    for leave in exits:
        leave(target)
