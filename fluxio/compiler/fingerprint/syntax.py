"""Canonical text of a syntax tree: what the code says, however it is laid out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

# Whether a name is read or written follows from its place.
_UNSAID = frozenset({"ctx", "type_comment"})


def syntax_tokens(root: ast.AST) -> list[str]:
    """The canonical tokens of a tree, the same on every supported Python version.

    Positions, comments, docstrings, quotes, redundant parentheses and the way a string is cut into
    literals leave no trace. Empty fields are skipped, so a field that a newer Python adds changes
    nothing until somebody uses it. `ast.dump` has neither property. The decorators of `root` itself
    are left out if it is a function: what they do shows in the function they return. The walk keeps
    its own stack, so deeply nested expressions are fine.
    """
    tokens: list[str] = []
    pending: list[str | ast.AST] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            tokens.append(item)
            continue
        # Reversed, because what is pushed last is written first.
        pending.append(")")
        for name, value in reversed(_fields(item, is_root=item is root)):
            pending.extend(reversed(_field_items(name, value)))
        pending.append(f"({type(item).__name__}")
    return tokens


def body_without_docstring(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements of a body; `pass` stands for a body that had only a docstring."""
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest or [ast.Pass()]
        case _:
            return list(body)


def _fields(node: ast.AST, *, is_root: bool) -> list[tuple[str, object]]:
    fields: dict[str, object] = {name: getattr(node, name, None) for name in sorted(node._fields)}
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            fields["body"] = body_without_docstring(node.body)
            if is_root:
                del fields["decorator_list"]
        case ast.ClassDef():
            fields["body"] = body_without_docstring(node.body)
        case ast.Constant() | ast.MatchSingleton():
            return [("value", constant_token(node.value))]
        case ast.JoinedStr():
            fields["values"] = _merged(node.values)
        case ast.Delete():
            fields["targets"] = list(_deleted(node.targets))
        case _:
            pass
    return [(name, value) for name, value in fields.items() if name not in _UNSAID]


def _field_items(name: str, value: object) -> list[str | ast.AST]:
    match value:
        case None | []:
            return []
        case list():
            return [f"{name}=[", *(_item(element) for element in value), "]"]
        case _:
            return [f"{name}=", _item(value)]


def _item(value: object) -> str | ast.AST:
    match value:
        case ast.AST():
            return value
        case _:
            # An identifier, a number of dots or a conversion; None is the key of `**` in a dict.
            return f"'{value}"


def constant_token(value: Any) -> str:
    """The type and exact value of a literal, as one token."""
    match value:
        case bool() | None:
            text = repr(value)
        case int():
            text = format(value, "x")  # no limit on the number of digits, unlike decimal text
        case float():
            text = value.hex()
        case str():
            text = value
        case bytes():
            text = value.hex()
        case _:
            text = repr(value)  # complex, and the ellipsis
    return f"{type(value).__name__}:{text}"


def _merged(pieces: Iterable[ast.expr]) -> list[ast.expr]:
    # Python 3.11 and 3.12 cut the literal text of an f-string at different places.
    merged: list[ast.expr] = []
    for piece in pieces:
        match piece:
            case ast.Constant(value=""):
                continue
            case ast.Constant(value=str(text)) if merged and isinstance(merged[-1], ast.Constant):
                merged[-1] = ast.Constant(value=f"{merged[-1].value!s}{text}")
            case _:
                merged.append(piece)
    return merged


def _deleted(targets: Iterable[ast.expr]) -> Iterable[ast.expr]:
    # Formatters turn `del (a, b)` into `del a, b`, which is another tree for the same thing.
    for target in targets:
        match target:
            case ast.Tuple() | ast.List():
                yield from _deleted(target.elts)
            case _:
                yield target
