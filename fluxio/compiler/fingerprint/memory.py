"""Tells what code remembers between calls from what defines it, by looking at what it changes.

A counter that a stage keeps in a closure, or a cache that an object fills, differs from process to
process while the code is the same. So what the code itself changes counts by name, not by value.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fluxio.compiler.fingerprint.syntax import FunctionNode

_FILLING = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "intersection_update",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "subtract",
        "symmetric_difference_update",
        "update",
    }
)

_CONSTRUCTION = frozenset(
    {
        "__attrs_post_init__",
        "__init__",
        "__init_subclass__",
        "__new__",
        "__post_init__",
        "__set_name__",
        "__setstate__",
        "model_post_init",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What a piece of code changes.

    Attributes:
        rebound: outer variables that it assigns to (`nonlocal`).
        filled: variables whose value it changes in place (`seen.append(x)`, `seen[x] = y`).
        attributes: by variable, the attributes it assigns to or changes in place.
    """

    rebound: frozenset[str]
    filled: frozenset[str]
    attributes: Mapping[str, frozenset[str]]


def changes_of(node: FunctionNode) -> Changes:
    """What a function and the functions inside it change, as far as its text shows."""
    rebound: set[str] = set()
    filled: set[str] = set()
    attributes: defaultdict[str, set[str]] = defaultdict(set)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Nonlocal):
            rebound.update(inner.names)
        for variable, attribute in _changed(inner):
            if attribute is None:
                filled.add(variable)
            else:
                attributes[variable].add(attribute)
    return Changes(
        rebound=frozenset(rebound),
        filled=frozenset(filled),
        attributes={name: frozenset(changed) for name, changed in attributes.items()},
    )


def changed_attributes(classes: Iterable[ast.ClassDef], method: str | None) -> frozenset[str]:
    """The attributes of an instance that its own methods change after construction.

    `classes` are the definitions of its class and bases. Where the `method` through which a run
    enters the object is given, only that one, the operators, and the methods these mention count:
    a setter that is called while a pipeline is put together is no memory.
    """
    methods = list(_methods(classes))
    entered = {node.name for _, node in methods} if method is None else {method}
    entered |= {node.name for _, node in methods if _is_operator(node.name)}
    entered -= _CONSTRUCTION
    changed: set[str] = set()
    waiting = [(owner, node) for owner, node in methods if node.name in entered]
    while waiting:
        owner, node = waiting.pop()
        mentioned = {inner.attr for inner in ast.walk(node) if isinstance(inner, ast.Attribute)}
        fresh = mentioned - entered - _CONSTRUCTION
        entered |= fresh
        waiting += [(other, inner) for other, inner in methods if inner.name in fresh]
        if receiver := _receiver(node):
            attributes = changes_of(node).attributes.get(receiver, frozenset())
            changed |= {_stored_as(attribute, owner) for attribute in attributes}
    return frozenset(changed)


Method = ast.FunctionDef | ast.AsyncFunctionDef


def _methods(classes: Iterable[ast.ClassDef]) -> Iterator[tuple[str, Method]]:
    for node in classes:
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, statement


def _is_operator(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _stored_as(attribute: str, owner: str) -> str:
    # Python stores `self.__calls` of a class `Stage` as `_Stage__calls`.
    if not attribute.startswith("__") or _is_operator(attribute):
        return attribute
    return f"_{owner.lstrip('_')}{attribute}"


def _receiver(node: FunctionNode) -> str | None:
    positional = [*node.args.posonlyargs, *node.args.args]
    return positional[0].arg if positional else None


def _changed(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    match node:
        case (
            ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del())
        ):
            target: ast.expr | None = node
        case ast.Call(func=ast.Attribute(value=filled, attr=name)) if name in _FILLING:
            target = filled
        case _:
            target = None
    if target is not None and (root := _root(target)) is not None:
        yield root


def _root(node: ast.expr) -> tuple[str, str | None] | None:
    # `state.rows[0].x = 1` changes the attribute `rows` of `state`; `rows[0].x = 1` fills `rows`.
    attribute: str | None = None
    while True:
        match node:
            case ast.Name(id=name):
                return name, attribute
            case ast.Attribute(value=inner, attr=attr):
                node, attribute = inner, attr
            case ast.Subscript(value=inner):
                node, attribute = inner, None
            case _:
                return None
