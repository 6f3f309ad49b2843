"""Fingerprints of code and values: equal for unchanged source, different for changed code.

A fingerprint is the hex sha256 of a canonical text. It is the same in every process, on every
machine, under every hash seed and on every supported version of Python, and it does not change
with comments, docstrings, blank lines, line shifts or formatting.

What counts: the syntax of a function; its defaults, closure and partial arguments; what it wraps;
for a callable object its class and attributes; for a class its syntax, its bases and the classes
that its pydantic fields name.

What does not count:

- functions, classes and constants that the code only mentions as globals: they are not followed;
- code of the standard library and of frameworks: it counts by name;
- what code itself changes while it runs (a `nonlocal` counter, a list it appends to, an attribute
  that a method sets after construction): it counts by name;
- objects with something inside that cannot be described (a lock, a connection), objects of the
  standard library, and whatever is nested deeper than 100 levels: they count by type.

Code without source (`exec`, the prompt, an installation of .pyc files only) counts by its
instructions. These change with the minor version of Python; give such stages a version by hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from fluxio.compiler.fingerprint.rendering import Rendering, encoded

__all__ = ["code_fingerprint", "value_fingerprint"]

# Changes only together with what is written: all fingerprints change with it.
_FORMAT = b"fluxio 1 "


def code_fingerprint(function: Callable[..., Any]) -> str:
    """The fingerprint of anything that can be called, as 64 hexadecimal digits.

    Any callable will do: a function, lambda, method, partial, class or object with `__call__`. A
    decorator counts through the function it returns, so one that only registers does not count.
    """
    return _digest(b"code ", function)


def value_fingerprint(value: object) -> str:
    """The fingerprint of any value, as 64 hexadecimal digits: a schema, an option, a container.

    Types count exactly (`1`, `1.0` and `True` differ); the order of dict items and of set elements
    does not count.
    """
    return _digest(b"value ", value)


def _digest(purpose: bytes, value: object) -> str:
    rendering = Rendering()
    rendering.write(value)
    text = b"".join(encoded(rendering.tokens))
    return hashlib.sha256(_FORMAT + purpose + text).hexdigest()
