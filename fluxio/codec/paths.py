"""Key paths: how an error names the one value inside a context that it is about."""

from __future__ import annotations

import json
from typing import Any

LONGEST_KEY = 60
LONGEST_PATH = 300


class Refusal(Exception):
    """Why one value cannot be encoded or decoded.

    Inside the codec only: it gathers the steps of its key path while it travels up the walk, so
    that values without a fault pay nothing for paths. `holders` are the containers it came through,
    innermost first like `steps`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []
        self.holders: list[object] = []

    def through(self, holder: object, step: str) -> Refusal:
        """Note that the refusal leaves `holder`, in which `step` leads to the value."""
        self.holders.append(holder)
        self.steps.append(step)
        return self

    def path(self, root: str, length: int | None = None) -> str:
        """The key path from `root` over the first `length` steps, all of them by default."""
        return _capped(root + "".join(self.steps[::-1][:length]))

    def circle(self) -> int | None:
        """After how many steps a container is met again inside itself; None if there is none."""
        met: set[int] = set()
        for length, holder in enumerate(self.holders[::-1]):
            if id(holder) in met:
                return length
            met.add(id(holder))
        return None


def key_step(key: object) -> str:
    """The step into a mapping: ``["lines"]`` for a str, ``[3]`` for an int, else its type."""
    if isinstance(key, str):
        shown = key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + "..."
        return f"[{json.dumps(shown)}]"
    if key is None or type(key) in (bool, int, float):
        return f"[{_scalar(key)}]"
    return f"[<{type(key).__name__}>]"


def index_step(index: int) -> str:
    """The step to one item of a sequence: ``[3]``."""
    return f"[{index}]"


def attribute_step(name: str) -> str:
    """The step to one field of an object: ``.price``."""
    return f".{name}"


def passing(error: Exception, holder: object, step: str) -> Refusal:
    """The refusal that leaves `holder`, whatever went wrong while its items were walked."""
    if isinstance(error, Refusal):
        return error.through(holder, step)
    if isinstance(error, RecursionError):
        refusal = Refusal(
            "is nested deeper than the interpreter's stack reaches from here. "
            "Flatten it, or call from fewer nested functions."
        )
    else:
        refusal = Refusal(
            "was changed by another thread while it was being encoded. "
            "Set a new value instead of changing one in place."
        )
    return refusal.through(holder, step)


def _scalar(key: Any) -> str:
    # A huge int has no decimal text under the interpreter's digit limit.
    if type(key) is int and key.bit_length() > 200:
        return f"<int of {key.bit_length()} bits>"
    return repr(key)


def _capped(path: str) -> str:
    if len(path) <= LONGEST_PATH:
        return path
    return f"{path[:220]} ... {path[-60:]}"
