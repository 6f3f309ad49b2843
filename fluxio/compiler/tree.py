"""The user's nodes, checked and typed: what the passes and the builder work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxio.errors import CompilationError
from fluxio.nodes import ForkMode, Nestable, NodeType, Parallel, Stage, as_stage
from fluxio.types import StageMiddleware


@dataclass(frozen=True, slots=True)
class StageNode:
    """One stage."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class RouteNode:
    """A router stage and the bodies it chooses from."""

    router: StageNode
    routes: Mapping[str, Body]


@dataclass(frozen=True, slots=True)
class ForkNode:
    """Named branches side by side."""

    name: str
    mode: ForkMode
    branches: tuple[tuple[str, Body], ...]


@dataclass(frozen=True, slots=True)
class SubNode:
    """A pipeline inside a pipeline; its own middleware goes inside the outer one's."""

    name: str
    body: Body
    middleware: tuple[StageMiddleware, ...]
    auto_parallel: bool


TreeNode = StageNode | RouteNode | ForkNode | SubNode
Body = tuple[TreeNode, ...]

_DEEPEST = 50


def parse(nodes: Sequence[Any], where: str) -> Body:
    """Check a list of nodes and give it types; `where` names the place in errors.

    Raises:
        CompilationError: with the place and the remedy.
    """
    return _Parser().body(nodes, where)


class _Parser:
    def __init__(self) -> None:
        self._depth = 0

    def body(self, nodes: Sequence[Any], where: str) -> Body:
        if isinstance(nodes, str | bytes) or not isinstance(nodes, Sequence):
            raise CompilationError(
                f"{where} takes a list of nodes, not {type(nodes).__name__}. Put it in [ ]."
            )
        if not nodes:
            raise CompilationError(f"{where} is empty. Add at least one stage.")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CompilationError(
                f"{where} is nested more than {_DEEPEST} deep. Does a pipeline contain itself?"
            )
        parsed: list[TreeNode] = []
        for node in nodes:
            if isinstance(node, Mapping):
                parsed.append(self._routes(node, parsed, where))
            else:
                parsed.append(self._node(node, where))
        self._depth -= 1
        return tuple(parsed)

    def _node(self, node: Any, where: str) -> TreeNode:
        if isinstance(node, Stage):
            return StageNode(node)
        if isinstance(node, Parallel):
            return self._fork(node)
        if isinstance(node, Nestable):
            return self._sub(node)
        if callable(node) and not isinstance(node, type):
            try:
                return StageNode(as_stage(node))
            except (TypeError, ValueError) as problem:
                raise CompilationError(f"{where}: {problem}") from problem
        raise CompilationError(
            f"{where} has a node of type {type(node).__name__}. Nodes are stages, Parallel([...]), "
            "a dict of routes after a router stage, or another Pipeline."
        )

    def _routes(self, routes: Mapping[Any, Any], parsed: list[TreeNode], where: str) -> RouteNode:
        if not parsed or not isinstance(parsed[-1], StageNode):
            raise CompilationError(
                f"{where} has a dict of routes with no router before it. "
                "Put a stage that returns Send(...) right before the dict."
            )
        router = parsed.pop()
        assert isinstance(router, StageNode)
        name = router.stage.name
        if router.stage.node_type is NodeType.STREAM:
            raise CompilationError(f"Router {name!r} is a STREAM stage, which cannot return Send.")
        if not routes:
            raise CompilationError(f"Router {name!r} has no routes. Add at least one.")
        bodies: dict[str, Body] = {}
        for route, body in routes.items():
            if not isinstance(route, str) or not route.isprintable() or set(route) & set("/#"):
                raise CompilationError(
                    f"Route {route!r} of {name!r}: give a printable name without / and #."
                )
            bodies[route] = self.body(_listed(body), f"Route {route!r} of {name!r}")
        return RouteNode(router, bodies)

    def _fork(self, node: Parallel) -> ForkNode:
        name = _segment(node.name or "parallel")
        if not node.branches:
            raise CompilationError(f"Parallel {name!r} is empty. Add at least one branch.")
        names: list[str] = []
        branches: list[tuple[str, Body]] = []
        for at, branch in enumerate(node.branches):
            if isinstance(branch, Mapping):
                raise CompilationError(
                    f"Branch {at} of Parallel {name!r} is a dict of routes with no router before "
                    "it. Make the branch a list: [router, {...}]."
                )
            body = self.body(_listed(branch), f"Branch {at} of Parallel {name!r}")
            wanted = _first_name(body[0])
            names.append(wanted)
            count = names.count(wanted)
            branches.append((wanted if count == 1 else f"{wanted}#{count}", body))
        return ForkNode(name, node.mode, tuple(branches))

    def _sub(self, pipeline: Nestable) -> SubNode:
        name = _segment(pipeline.name or "pipeline")
        body = self.body(pipeline.nodes, f"Pipeline {name!r}")
        return SubNode(name, body, pipeline.middleware, pipeline.auto_parallel)


def _listed(body: Any) -> Sequence[Any]:
    return body if isinstance(body, list | tuple) else (body,)


def _first_name(node: TreeNode) -> str:
    match node:
        case StageNode():
            return node.stage.name
        case RouteNode():
            return node.router.stage.name
        case _:
            return node.name


def _segment(name: str) -> str:
    if not isinstance(name, str) or not name.isprintable() or not name or set(name) & set("/#"):
        raise CompilationError(f"The name {name!r} does not serve: printable text without / and #.")
    return name
