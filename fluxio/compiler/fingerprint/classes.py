"""Describes classes, schemas among them, and the types that annotations are built from."""

from __future__ import annotations

import ast
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from fluxio.compiler.fingerprint.memory import changed_attributes
from fluxio.compiler.fingerprint.origin import is_foreign, module_of, type_name
from fluxio.compiler.fingerprint.parts import Parts
from fluxio.compiler.fingerprint.source import class_nodes, own_functions
from fluxio.compiler.fingerprint.syntax import syntax_tokens


def describe_class(kind: type) -> Parts:
    """A class: its syntax and its bases, up to those that belong to Python or a framework.

    Added are the values that a factory bound into it, and the classes that its schema names:
    a change of `Line` changes `Order` with its field `lines: list[Line]`.
    """
    if is_foreign(module_of(kind)):
        return Parts(label="foreign class", tokens=[type_name(kind)])
    members: list[tuple[str, object]] = [
        ("base", base) for base in kind.__bases__ if base is not object
    ]
    nodes = class_nodes(kind)
    if nodes:
        tokens = [kind.__qualname__, *(token for node in nodes for token in syntax_tokens(node))]
        members += _bound(kind, nodes)
    else:
        tokens = [type_name(kind)]
        members += [
            (name, value)
            for name, value in sorted(vars(kind).items())
            if is_told(name) or type(value) is types.FunctionType
        ]
    members += _schema_fields(kind, has_source=bool(nodes))
    return Parts(label="class", tokens=tokens, members=members)


def describe_annotation(annotation: Any) -> Parts:
    """A type that is no class: `list[Order]`, `int | None`, `Annotated[int, Gt(0)]`, a TypeVar."""
    origin = typing.get_origin(annotation)
    if origin is None:
        return Parts(label="annotation", tokens=[repr(annotation)], is_shared=False)
    is_union = origin in (typing.Union, types.UnionType)
    members = [("origin", "union" if is_union else origin)]
    members += [("argument", argument) for argument in typing.get_args(annotation)]
    return Parts(label="annotation", members=members, is_shared=False)


def is_told(name: str) -> bool:
    """Whether an attribute says something about its owner, rather than about how Python made it."""
    if name == "__wrapped__":
        return True
    return not (name.startswith("__") and name.endswith("__")) and not name.startswith("_abc_")


def _bound(kind: type, nodes: list[ast.ClassDef]) -> Iterator[tuple[str, object]]:
    for function in own_functions(kind):
        if function.__closure__ or function.__defaults__ or function.__kwdefaults__:
            yield f"method {function.__name__}", function
    if "<locals>" not in kind.__qualname__:
        return
    # In a class that a function makes, `rate = rate` says nothing about the value.
    memory = changed_attributes(nodes, None)
    methods = {function.__name__ for function in own_functions(kind)}
    for name in sorted(_assigned(nodes) - memory - methods):
        if name in vars(kind) and is_told(name):
            yield name, vars(kind)[name]


def _assigned(nodes: list[ast.ClassDef]) -> set[str]:
    return {
        inner.id
        for node in nodes
        for statement in node.body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for inner in ast.walk(statement)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


def _schema_fields(kind: type, *, has_source: bool) -> Iterator[tuple[str, object]]:
    if not any(module_of(base).partition(".")[0] == "pydantic" for base in kind.__mro__):
        return
    fields = getattr(kind, "model_fields", None)
    if not isinstance(fields, Mapping):
        return
    for name, field in sorted(fields.items()):
        told: tuple[object, ...] = (field.annotation,)
        if not has_source:  # made by `create_model`, or a generic with its parameters filled in
            told = (field.annotation, field.alias, field.default, tuple(field.metadata))
        yield f"field {name}", told
