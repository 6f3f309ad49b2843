"""The small changes: every mutant of a module, each as one edit of its syntax tree.

The operators are those that mutation testing has found to say most (Offutt et al., "An Experimental
Determination of Sufficient Mutant Operators", 1996): relations, connectors, constants, arithmetic;
and beside them what hurts a runtime most, a statement, an argument or a result that is missing.
Left alone are words for people (messages, log lines, docstrings), annotations and assertions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_RELATIONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}

Edit = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: at which line, what it does in words, and the whole module with it."""

    line: int
    change: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module."""
    found = (mutant_of(source, number) for number in range(count_edits(source)))
    plain = ast.unparse(ast.parse(source))
    return [mutant for mutant in found if mutant.source != plain]


def count_edits(source: str) -> int:
    """How many edits a module can suffer; a few of them leave it as it is."""
    return sum(1 for _ in _edits(ast.parse(source)))


def mutant_of(source: str, number: int) -> Mutant:
    """What the edit with this number makes of a module.

    Raises:
        IndexError: there are not so many.
    """
    tree = ast.parse(source)
    for at, (node, change, edit) in enumerate(_edits(tree)):
        if at == number:
            edit()
            return Mutant(node.lineno, change, ast.unparse(ast.fix_missing_locations(tree)))
    raise IndexError(number)


def _edits(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, Edit]]:
    for node in _code(tree):
        yield from _operators(node)
        yield from _values(node)
        yield from _deletions(node)


def _operators(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, Edit]]:
    match node:
        case ast.Compare(ops=[relation]) if type(relation) in _RELATIONS:
            other = _RELATIONS[type(relation)]
            yield node, f"{_name(relation)} -> {other.__name__}", _set(node, "ops", [other()])
        case ast.BoolOp(op=op):
            flipped = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield node, f"{_name(op)} -> {_name(flipped)}", _set(node, "op", flipped)
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
            swapped = _ARITHMETIC[type(operator)]
            yield node, f"{_name(operator)} -> {swapped.__name__}", _set(node, "op", swapped())
        case ast.UnaryOp(op=ast.Not()):
            # The tree has no node for "as it is"; two of these cancel each other.
            twice = ast.UnaryOp(ast.Not(), node.operand)
            yield node, "not dropped", _set(node, "operand", twice)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
                negated = ast.UnaryOp(ast.Not(), test)
                yield node, "condition negated", _set(node, "test", negated)
        case _:
            pass


def _values(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, Edit]]:
    match node:
        case ast.Constant():
            yield from _constants(node)
        case ast.comprehension(ifs=[test]):
            yield test, "filter dropped", _set(node, "ifs", [])
        case ast.Return(value=ast.expr() as value):
            if not (isinstance(value, ast.Constant) and value.value is None):
                yield node, "return None", _set(node, "value", ast.Constant(None))
        case ast.Call(keywords=[_, *_]):
            yield from _arguments(node)
        case _:
            pass


def _constants(node: ast.Constant) -> Iterator[tuple[ast.expr, str, Edit]]:
    match node.value:
        case bool(value):
            yield node, f"{value} -> {not value}", _set(node, "value", not value)
        case int(value):
            yield node, f"{value} -> {value + 1}", _set(node, "value", value + 1)
        case float(value):
            yield node, f"{value} -> {value + 1}", _set(node, "value", value + 1)
        case str(value):
            yield node, f"{value!r} changed", _set(node, "value", f"{value}?")
        case _:
            pass


def _arguments(node: ast.Call) -> Iterator[tuple[ast.expr, str, Edit]]:
    for at, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            rest = [*node.keywords[:at], *node.keywords[at + 1 :]]
            yield keyword.value, f"argument {keyword.arg} dropped", _set(node, "keywords", rest)


def _deletions(node: ast.AST) -> Iterator[tuple[ast.stmt, str, Edit]]:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(node, ast.Module | ast.ClassDef) or not isinstance(block, list):
            continue
        for at, statement in enumerate(block):
            if _can_go(statement):
                gone = f"deleted: {ast.unparse(statement).splitlines()[0]}"
                yield statement, gone, _replace(block, at)


def _can_go(statement: ast.stmt) -> bool:
    """Whether the module still means something without it."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr(value=value):
            return not _is_for_people(value)
        case ast.Assign(targets=targets):
            return isinstance(targets[0], ast.Attribute | ast.Subscript)
        case ast.Raise() | ast.AugAssign() | ast.Delete() | ast.Break() | ast.Continue():
            return True
        case _:
            return False


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that decide what happens, each after its parent."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_for_people(child):
                yield from _code(child)


def _is_for_people(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"))):
            return True
        case ast.Call(func=ast.Name(id=name)):
            # What an error says, a cast, a type variable: nothing that runs differently.
            return name.endswith(("Error", "TypeVar", "assert_never", "cast", "getLogger"))
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in ("__all__", "logger", "__slots__")
        case _:
            return False


def _name(node: ast.AST) -> str:
    return type(node).__name__


def _set(node: ast.AST, field: str, value: object) -> Edit:
    return lambda: setattr(node, field, value)


def _replace(block: list[ast.stmt], at: int) -> Edit:
    def edit() -> None:
        block[at] = ast.Pass()

    return edit
