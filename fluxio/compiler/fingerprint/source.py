"""Finds the piece of source that a function or a class was made from."""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import linecache
import operator
import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from fluxio.compiler.fingerprint.origin import module_of
from fluxio.compiler.fingerprint.syntax import FunctionNode

# Code from `exec` shares these names, and some versions of Python keep other text under them.
_NAMELESS = frozenset({"<string>", "<stdin>", "<unknown>"})

_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)

# `warnings.catch_warnings` changes state of the whole process.
_parsing = threading.Lock()


@dataclass(frozen=True, kw_only=True, slots=True)
class Definitions:
    """The functions of one file by first line and name, and its classes by qualified name."""

    functions: Mapping[tuple[int, str], list[FunctionNode]]
    classes: Mapping[str, list[ast.ClassDef]]


def function_node(function: FunctionType) -> FunctionNode | None:
    """The syntax of a function, or None where its source cannot be found.

    `inspect.getsource` cannot tell lambdas in one statement apart and returns text that may not
    parse. Here the whole file is parsed, and the node is found by the line, name and parameters
    that the code object remembers; among lambdas the columns of its instructions decide.
    """
    code = function.__code__
    found: Sequence[FunctionNode] = [
        node
        for node in _file_definitions(code.co_filename, function.__globals__).functions.get(
            (code.co_firstlineno, code.co_name), ()
        )
        if _fits(node, code)
    ]
    if len(found) > 1:
        found = _told_apart(found, code)
    return found[0] if len(found) == 1 else None


def class_nodes(kind: type) -> list[ast.ClassDef]:
    """The definitions of a class in its file, in order; empty where there is no source.

    Several definitions may share a name (`if ...: class A: ... else: class A: ...`). The lines of
    the methods tell which one it is; a class without methods is described by all of them.
    """
    methods = [function.__code__ for function in own_functions(kind)]
    module = sys.modules.get(module_of(kind))
    scope: dict[str, Any] = vars(module) if module else {}
    file = methods[0].co_filename if methods else scope.get("__file__")
    if not isinstance(file, str):
        return []
    found = _file_definitions(file, scope).classes.get(kind.__qualname__, [])
    around = [
        node
        for node in found
        if all(node.lineno <= code.co_firstlineno <= (node.end_lineno or 0) for code in methods)
    ]
    return around if methods else found


def own_functions(kind: type) -> Iterator[FunctionType]:
    """The functions written in the body of a class, without inherited and generated ones."""
    for attribute in vars(kind).values():
        function: Any = attribute
        if issubclass(type(attribute), staticmethod | classmethod):
            function = attribute.__func__
        elif issubclass(type(attribute), property):
            function = attribute.fget
        if type(function) is FunctionType:
            code = function.__code__
            if code.co_qualname == f"{kind.__qualname__}.{code.co_name}":
                yield function


def _file_definitions(filename: str, scope: dict[str, Any]) -> Definitions:
    if filename in _NAMELESS:
        return Definitions(functions={}, classes={})
    linecache.checkcache(filename)
    # The scope leads to the loader, which knows the source inside a zip archive.
    return _definitions("".join(linecache.getlines(filename, scope)))


@functools.lru_cache(maxsize=8)
def _definitions(source: str) -> Definitions:
    functions: defaultdict[tuple[int, str], list[FunctionNode]] = defaultdict(list)
    classes: defaultdict[str, list[ast.ClassDef]] = defaultdict(list)
    pending: list[tuple[ast.AST, str]] = [(_parse(source), "")]
    while pending:
        parent, prefix = pending.pop()
        for node in ast.iter_child_nodes(parent):
            inner = prefix
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    functions[_first_line(node), node.name].append(node)
                    inner = f"{prefix}{node.name}.<locals>."
                case ast.Lambda():
                    functions[node.lineno, "<lambda>"].append(node)
                case ast.ClassDef():
                    classes[f"{prefix}{node.name}"].append(node)
                    inner = f"{prefix}{node.name}."
                case _:
                    pass
            pending.append((node, inner))
    for nodes in classes.values():
        nodes.sort(key=lambda node: node.lineno)
    return Definitions(functions=dict(functions), classes=dict(classes))


def _parse(source: str) -> ast.Module:
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])  # such as a page of documentation


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    # A code object starts at its first decorator, a node at its `def`.
    return node.decorator_list[0].lineno if node.decorator_list else node.lineno


def _fits(node: FunctionNode, code: CodeType) -> bool:
    arguments = node.args
    shape = (
        len(arguments.posonlyargs),
        len(arguments.posonlyargs) + len(arguments.args),
        len(arguments.kwonlyargs),
        arguments.vararg is not None,
        arguments.kwarg is not None,
    )
    last = node.end_lineno or node.lineno
    # A file that was edited after its import often fails here, and then its text is not used.
    return shape == (
        code.co_posonlyargcount,
        code.co_argcount,
        code.co_kwonlyargcount,
        bool(code.co_flags & inspect.CO_VARARGS),
        bool(code.co_flags & inspect.CO_VARKEYWORDS),
    ) and all(code.co_firstlineno <= line <= last for _, _, line in code.co_lines() if line)


def _told_apart(nodes: Sequence[FunctionNode], code: CodeType) -> Sequence[FunctionNode]:
    lambdas = [node for node in nodes if isinstance(node, ast.Lambda)]
    places = [
        (line, column)
        for line, end_line, column, end_column in code.co_positions()
        if line is not None and column is not None
        if (line, column) != (end_line, end_column)  # bookkeeping takes up no room
    ]
    if not places:
        # Python 3.12 forgets where a constant stood, and `-X no_debug_ranges` forgets all columns.
        return [node for node in lambdas if _compiles_to(node, code)][:1]
    # Bodies nest or lie apart, so it is the last one that starts before the first instruction.
    started = [node for node in lambdas if _start(node.body) <= min(places)]
    return sorted(started, key=lambda node: _start(node.body))[-1:]


def _compiles_to(node: ast.Lambda, code: CodeType) -> bool:
    expression = ast.copy_location(ast.Expr(value=node), node)
    module = ast.Module(body=[expression], type_ignores=[])
    if code.co_flags & inspect.CO_NESTED:
        # The names it closes over have to belong to a function around it again.
        module = ast.parse(f"def maker({', '.join(code.co_freevars)}): 0")
        for maker in module.body:
            if isinstance(maker, ast.FunctionDef):
                maker.body = [expression]
    flags = code.co_flags & _FUTURE
    compiled = compile(module, code.co_filename, "exec", flags=flags, dont_inherit=True)
    inside = [constant for constant in compiled.co_consts if isinstance(constant, CodeType)]
    return code in inside or any(code in maker.co_consts for maker in inside)


def _start(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset
