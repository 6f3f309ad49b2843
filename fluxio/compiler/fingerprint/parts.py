"""What one value consists of: the form that every describer answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from fluxio.compiler.fingerprint.origin import type_name


class Parts(NamedTuple):
    """One level of a value: text about itself, and the values inside that are described in turn.

    Attributes:
        label: what kind of thing it is.
        tokens: text that says everything about the value apart from its members.
        members: named values inside, in an order that does not depend on the process.
        groups: unnamed values inside without an order of their own (the elements of a set, the
            items of a dict); whoever writes them sorts the groups by their first value.
        is_shared: whether being the same object in two places is a fact about the value.
        is_opaque: whether the label is all that can be said.
        is_whole: whether one opaque member makes the value opaque too.
    """

    label: str
    tokens: Sequence[str] = ()
    members: Sequence[tuple[str, object]] = ()
    groups: Sequence[tuple[object, ...]] = ()
    is_shared: bool = True
    is_opaque: bool = False
    is_whole: bool = False


class Blank(Enum):
    """What stands in the place of a value that is left out."""

    MEMORY = "memory"
    UNASSIGNED = "unassigned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Acting:
    """An object together with what is known about how it is used.

    Attributes:
        value: the object.
        method: the method through which a run enters it; None where that is not known.
        memory: the attributes that code around it changes.
    """

    value: object
    method: str | None = None
    memory: frozenset[str] = frozenset()


def opaque(kind: type) -> Parts:
    """A value of which nothing but its type can be told: a lock, a connection, a generator."""
    return Parts(label="opaque", tokens=[type_name(kind)], is_opaque=True)
