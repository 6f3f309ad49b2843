"""Packages that load a module when one of its names is first asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_of(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package; `homes` names modules, and what each is for."""
    home_of = {name: module for module, names in homes.items() for name in names}
    found = vars(sys.modules[package])

    def get(name: str) -> Any:
        module = home_of.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = found[name] = getattr(import_module(module), name)
        return value

    return get, lambda: sorted({*found, *home_of})
