"""What can be refused before anything runs, beyond the shape of the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluxio.compiler.tree import Body, ForkNode, RouteNode, StageNode, SubNode
from fluxio.context import merge_conflict
from fluxio.errors import DeclaredConflictError
from fluxio.nodes import ForkMode
from fluxio.observability.base import BaseCallback
from fluxio.options import check_number, check_whole_number
from fluxio.store.base import CheckpointStore


def check_declared_writes(body: Body) -> None:
    """Refuse branches of one Parallel that declare the same key.

    Stages inside routes are left to the run, since at most one route of a router is taken.

    Raises:
        DeclaredConflictError: with the keys and the branches.
    """
    for node in body:
        match node:
            case ForkNode():
                for _, inner in node.branches:
                    check_declared_writes(inner)
                if node.mode is ForkMode.PARALLEL:
                    _check_fork(node)
            case RouteNode():
                for inner in node.routes.values():
                    check_declared_writes(inner)
            case SubNode():
                check_declared_writes(node.body)
            case StageNode():
                pass


def _check_fork(fork: ForkNode) -> None:
    writers: dict[str, list[str]] = {}
    for name, body in fork.branches:
        for key in declared_writes(body):
            writers.setdefault(key, []).append(name)
    conflicts = {key: names for key, names in writers.items() if len(names) > 1}
    if conflicts:
        found = merge_conflict(conflicts)
        raise DeclaredConflictError(
            f"Parallel {fork.name!r}: {found}",
            conflicting_keys=found.conflicting_keys,
            branch_names=found.branch_names,
        )


def declared_writes(body: Body) -> frozenset[str]:
    """The keys that a body certainly writes, as far as its stages declare them."""
    keys: set[str] = set()
    for node in body:
        match node:
            case StageNode():
                keys |= node.stage.writes or frozenset()
            case RouteNode():
                keys |= node.router.stage.writes or frozenset()
            case SubNode():
                keys |= declared_writes(node.body)
            case ForkNode():
                if node.mode is ForkMode.PARALLEL:
                    for _, inner in node.branches:
                        keys |= declared_writes(inner)
    return frozenset(keys)


def check_surroundings(
    *,
    middleware: Sequence[Any],
    callbacks: Sequence[Any],
    store: object,
    max_workers: int | None,
) -> None:
    """Refuse what stands around the stages where it cannot do its part.

    Raises:
        TypeError: something is of another kind than what belongs there.
        ValueError: `max_workers` is out of range.
    """
    for made in middleware:
        if isinstance(made, type) or not callable(made):
            raise TypeError(
                f"middleware has {made!r}; give what is called as (stage, context, call_next), "
                "e.g. RetryMiddleware()."
            )
    for callback in callbacks:
        if not isinstance(callback, BaseCallback):
            raise TypeError(f"callbacks has {callback!r}; give instances of BaseCallback.")
        check_number(f"{type(callback).__name__}.timeout", callback.timeout, "seconds")
    if store is not None and not isinstance(store, CheckpointStore):
        raise TypeError(
            f"checkpoint_store is {store!r}; give an instance of CheckpointStore, "
            "e.g. InMemoryStore()."
        )
    if max_workers is not None:
        check_whole_number("max_workers", max_workers, "threads")
