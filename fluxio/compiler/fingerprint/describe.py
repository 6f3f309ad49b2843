"""Chooses who describes a value; the type decides, never what the value says about itself."""

from __future__ import annotations

import types
from enum import Enum

from fluxio.compiler.fingerprint.bytecode import describe_code
from fluxio.compiler.fingerprint.classes import describe_annotation, describe_class
from fluxio.compiler.fingerprint.functions import (
    describe_builtin,
    describe_function,
    describe_method,
)
from fluxio.compiler.fingerprint.objects import describe_object
from fluxio.compiler.fingerprint.origin import module_of
from fluxio.compiler.fingerprint.parts import Acting, Parts
from fluxio.compiler.fingerprint.plain import Rule, describe_enum, rules

_RULES: dict[type, Rule] = {
    **rules(),
    type: describe_class,
    types.BuiltinFunctionType: describe_builtin,
    types.ClassMethodDescriptorType: describe_builtin,
    types.CodeType: describe_code,
    types.FunctionType: describe_function,
    types.GenericAlias: describe_annotation,
    types.MethodDescriptorType: describe_builtin,
    types.MethodType: describe_method,
    types.MethodWrapperType: describe_builtin,
    types.UnionType: describe_annotation,
    types.WrapperDescriptorType: describe_builtin,
}


def describe(value: object) -> Parts:
    """One level of any value. Nobody asks `isinstance`: mocks and lazy objects lie about it."""
    if rule := _RULES.get(type(value)):
        return rule(value)
    acting = value if type(value) is Acting else Acting(value=value)
    kind = type(acting.value)
    if Enum in kind.__mro__:
        return describe_enum(acting.value)  # type: ignore[arg-type]
    for base in kind.__mro__:
        if rule := _RULES.get(base):
            return rule(acting.value)
    if module_of(kind) in ("typing", "typing_extensions"):
        return describe_annotation(acting.value)
    return describe_object(acting)
