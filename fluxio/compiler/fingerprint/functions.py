"""Describes what can be called: functions with their defaults and closures, methods, partials."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from fluxio.compiler.fingerprint.memory import Changes, changes_of
from fluxio.compiler.fingerprint.origin import is_foreign, qualified_name
from fluxio.compiler.fingerprint.parts import Acting, Blank, Parts
from fluxio.compiler.fingerprint.source import function_node
from fluxio.compiler.fingerprint.syntax import syntax_tokens

_NO_CHANGES = Changes(rebound=frozenset(), filled=frozenset(), attributes={})

_CONTAINERS = (bytearray, deque, dict, list, set)


def describe_function(function: FunctionType) -> Parts:
    """A function: its syntax, and the values it carries (defaults, closure, what it wraps)."""
    # Not `__module__`: functools.wraps overwrites it with the module of the wrapped function.
    module = function.__globals__.get("__name__")
    wrapped = function.__dict__.get("__wrapped__")
    node = function_node(function)
    members = list(_carried(function, changes_of(node) if node else _NO_CHANGES))
    if wrapped is not None:
        members.append(("wrapped", wrapped))
    if isinstance(module, str) and is_foreign(module):
        name = qualified_name(module, function.__code__.co_qualname)
        return Parts(label="foreign function", tokens=[name], members=members)
    if node is None:
        members.append(("code", function.__code__))
    return Parts(label="function", tokens=syntax_tokens(node) if node else (), members=members)


def describe_method(method: MethodType) -> Parts:
    """A bound method: its function, and the object it acts on."""
    name = getattr(method.__func__, "__name__", None)
    receiver = Acting(value=method.__self__, method=name if isinstance(name, str) else "__call__")
    return Parts(
        label="method",
        members=[("function", method.__func__), ("self", receiver)],
        is_shared=False,
    )


def describe_builtin(function: Any) -> Parts:
    """A function written in C: its name, and the object it is bound to, if any."""
    module = getattr(function, "__module__", None)
    name = qualified_name(module if isinstance(module, str) else "", function.__qualname__)
    owner = getattr(function, "__self__", None)
    members = [] if owner is None or type(owner) is ModuleType else [("self", owner)]
    return Parts(label="builtin", tokens=[name], members=members, is_shared=False)


def _carried(function: FunctionType, changes: Changes) -> Iterator[tuple[str, object]]:
    code = function.__code__
    defaults = function.__defaults__ or ()
    positional = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    by_name = dict(zip(positional, defaults, strict=True)) | (function.__kwdefaults__ or {})
    for name, value in sorted(by_name.items()):
        yield f"default {name}", _definition(name, value, changes)
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in sorted(cells):
        yield f"closure {name}", _definition(name, _content(cell), changes)


def _definition(name: str, value: object, changes: Changes) -> object:
    kind = type(value)
    if name in changes.rebound or (name in changes.filled and issubclass(kind, _CONTAINERS)):
        return Blank.MEMORY
    if memory := changes.attributes.get(name):
        return Acting(value=value, memory=memory)
    return value


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return Blank.UNASSIGNED
