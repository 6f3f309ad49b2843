"""Describes instances: by their type and state if that is plain to see, else by their type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import FunctionType, MemberDescriptorType, SimpleNamespace
from typing import Any

from fluxio.compiler.fingerprint.classes import is_told
from fluxio.compiler.fingerprint.memory import changed_attributes
from fluxio.compiler.fingerprint.origin import is_standard, module_of, type_name
from fluxio.compiler.fingerprint.parts import Acting, Parts, opaque
from fluxio.compiler.fingerprint.source import class_nodes

_HEAP_TYPE = 1 << 9

# Lazily computed: whether they are there depends on who has looked.
_CACHED = "cached_property"


def describe_object(acting: Acting) -> Parts:
    """An instance of a class without a rule of its own, apart from what it remembers (see memory).

    A callable counts with the source of its class. It and records (dataclasses, namespaces) count
    attribute by attribute; anything else counts with its state if all of that can be described,
    else by its type alone: what is left of a connection without its socket says nothing.
    """
    kind = type(acting.value)
    if _is_sealed(kind):
        wrapped = _wrapped(acting.value)
        if wrapped is None:
            return opaque(kind)
        return Parts(label="wrapper", tokens=[type_name(kind)], members=[("wrapped", wrapped)])
    state = dict(instance_state(acting.value))
    method = acting.method or ("__call__" if is_callable(kind) else None)
    nodes = [
        node
        for base in kind.__mro__
        if not is_standard(module_of(base))
        for node in class_nodes(base)
    ]
    # All of it, whether it is there yet or not: some attributes appear with the first call.
    memory = changed_attributes(nodes, method) | acting.memory
    members: list[tuple[str, object]] = [("class", kind)] if method else []
    members += [(name, state[name]) for name in sorted(state.keys() - memory)]
    return Parts(
        label="object",
        tokens=[type_name(kind), *(f"memory {name}" for name in sorted(memory))],
        members=members,
        is_whole=method is None and not _is_record(kind),
    )


def instance_state(value: Any) -> Iterator[tuple[str, object]]:
    """The attributes that an instance holds itself, from its slots and its `__dict__`.

    No code of the instance runs: properties and `__getattr__` may open connections.
    """
    lazy: set[str] = set()
    for base in type(value).__mro__:
        if is_standard(module_of(base)):
            continue  # what Python keeps in its own slots changes from version to version
        for name, attribute in vars(base).items():
            if type(attribute).__name__ == _CACHED:
                lazy.add(name)
            if type(attribute) is MemberDescriptorType and is_told(name):
                try:
                    yield name, attribute.__get__(value)
                except AttributeError:
                    continue  # an empty slot
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return
    if type(attributes) is dict:
        yield from (
            (name, attribute)
            for name, attribute in attributes.items()
            if type(name) is str and is_told(name) and name not in lazy
        )


def is_callable(kind: type) -> bool:
    """Whether calling an instance runs Python code of its class."""
    return any(type(vars(base).get("__call__")) is FunctionType for base in kind.__mro__)


def _wrapped(value: object) -> object:
    try:
        return object.__getattribute__(value, "__wrapped__")
    except AttributeError:
        return None


def _is_record(kind: type) -> bool:
    return is_dataclass(kind) or kind is SimpleNamespace


def _is_sealed(kind: type) -> bool:
    if _is_record(kind):
        return False
    module = module_of(kind)
    if is_standard(module) or module.partition(".")[0] == "django":
        return True
    # Part of the state is in C.
    return any(base is not object and not base.__flags__ & _HEAP_TYPE for base in kind.__mro__)
