"""The stand-in for source: a code object as instructions with their operands spelled out."""

from __future__ import annotations

import dis
import inspect
from types import CodeType

from fluxio.compiler.fingerprint.parts import Parts

_SHAPE = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)

# It announces a large number, and numbers are spelled out here.
_PREFIX = "EXTENDED_ARG"


def describe_code(code: CodeType) -> Parts:
    """The parts of a code object, for functions without source (`exec`, the prompt, .pyc only).

    Lines, docstrings and the numbering of constants and names leave no trace, so the result is the
    same on every process and machine; but instructions belong to one minor version of Python, and
    on another version the same code has other parts.
    """
    instructions = [step for step in dis.get_instructions(code) if step.opname != _PREFIX]
    places = {step.offset: str(index) for index, step in enumerate(instructions)}
    tokens = [
        str(code.co_argcount),
        str(code.co_posonlyargcount),
        str(code.co_kwonlyargcount),
        str(code.co_flags & _SHAPE),
        " ".join(code.co_varnames),
        " ".join(code.co_freevars),
        code.co_exceptiontable.hex(),
    ]
    constants: list[tuple[str, object]] = []
    for step in instructions:
        operand = ""
        if step.opcode in dis.hasconst:
            constants.append((step.opname, step.argval))
        elif step.opcode in dis.hasjabs or step.opcode in dis.hasjrel:
            operand = places.get(step.argval, "?")
        elif isinstance(step.argval, str):
            operand = step.argval
        elif step.arg is not None:
            operand = str(step.arg)
        tokens.append(f"{step.opname} {operand}")
    return Parts(label="code", tokens=tokens, members=constants, is_shared=False)
