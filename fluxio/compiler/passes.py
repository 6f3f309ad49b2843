"""Rewrites of the tree that keep its meaning: folding independent stages into a Parallel."""

from __future__ import annotations

import logging
from dataclasses import replace

from fluxio.compiler.tree import Body, ForkNode, RouteNode, StageNode, SubNode, TreeNode
from fluxio.nodes import ForkMode, NodeType

logger = logging.getLogger("fluxio.compiler")


def fold_independent(body: Body, pipeline: str, *, enabled: bool) -> Body:
    """Fold runs of consecutive independent stages into Parallels, with one warning in the log.

    Two stages are independent when both declare non-empty `reads` and `writes` and neither writes
    what the other reads or writes. Routers, STREAM and transactional stages are never folded. A
    nested pipeline follows its own `auto_parallel`.
    """
    folded: list[str] = []
    result = _fold(body, folded, enabled)
    if folded:
        logger.warning(
            "Pipeline %s: auto_parallel runs these stages side by side: %s. "
            "The order of their side effects is no longer fixed.",
            pipeline,
            "; ".join(folded),
        )
    return result


def _fold(body: Body, folded: list[str], enabled: bool) -> Body:
    result: list[TreeNode] = []
    group: list[StageNode] = []

    def close() -> None:
        if len(group) > 1:
            names = [node.stage.name for node in group]
            folded.append(", ".join(names))
            result.append(ForkNode("parallel", ForkMode.PARALLEL, _branches(group)))
        else:
            result.extend(group)
        group.clear()

    for node in body:
        if enabled and isinstance(node, StageNode) and _foldable(node):
            if not all(_independent(node, other) for other in group):
                close()
            group.append(node)
            continue
        close()
        result.append(_inside(node, folded, enabled))
    close()
    return tuple(result)


def _inside(node: TreeNode, folded: list[str], enabled: bool) -> TreeNode:
    match node:
        case RouteNode():
            routes = {name: _fold(inner, folded, enabled) for name, inner in node.routes.items()}
            return replace(node, routes=routes)
        case ForkNode():
            branches = tuple((name, _fold(inner, folded, enabled)) for name, inner in node.branches)
            return replace(node, branches=branches)
        case SubNode():
            return replace(node, body=_fold(node.body, folded, node.auto_parallel))
        case StageNode():
            return node


def _branches(group: list[StageNode]) -> tuple[tuple[str, Body], ...]:
    return tuple((node.stage.name, (node,)) for node in group)


def _foldable(node: StageNode) -> bool:
    stage = node.stage
    plain = stage.node_type is not NodeType.STREAM and not stage.transactional
    return plain and bool(stage.reads) and bool(stage.writes)


def _independent(one: StageNode, other: StageNode) -> bool:
    if one.stage.name == other.stage.name:
        return False
    reads, writes = one.stage.reads or frozenset(), one.stage.writes or frozenset()
    others = (other.stage.reads or frozenset()) | (other.stage.writes or frozenset())
    return not (writes & others) and not (reads & (other.stage.writes or frozenset()))
