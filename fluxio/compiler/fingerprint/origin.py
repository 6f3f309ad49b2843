"""Where code comes from: whose it is, and by which name a process-independent text can call it."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

_STANDARD_LIBRARY = str(Path(os.__file__).parent)

# Their releases come and go without changing what a pipeline says, so they count by name alone.
_FRAMEWORKS = frozenset(
    {
        "annotated_types",
        "asgiref",
        "attr",
        "attrs",
        "django",
        "fluxio",
        "fluxio_django",
        "msgspec",
        "pydantic",
        "pydantic_core",
        "typing_extensions",
    }
)


def is_foreign(module: str) -> bool:
    """Whether code of this module counts by name: the standard library, a framework, fluxio."""
    return _top(module) in _FRAMEWORKS or is_standard(module)


def is_standard(module: str) -> bool:
    """Whether the module belongs to Python itself.

    A name is not enough: a project may well have a package called `profile` or `calendar`.
    """
    top = _top(module)
    return top in sys.stdlib_module_names and _lives_in_standard_library(sys.modules.get(top))


@cache
def _lives_in_standard_library(module: ModuleType | None) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if origin in ("built-in", "frozen"):
        return True
    return isinstance(origin, str) and origin.startswith(_STANDARD_LIBRARY + os.sep)


def module_of(kind: type) -> str:
    """The name of the module that a class says it is from."""
    module = getattr(kind, "__module__", None)
    return module if isinstance(module, str) else ""


def type_name(kind: type) -> str:
    """A name of a class that is the same in every process and on every Python version."""
    return qualified_name(module_of(kind), kind.__qualname__)


def qualified_name(module: str, name: str) -> str:
    """`name` as part of its module; of foreign modules only the package counts.

    Releases move classes between modules (`pathlib._local.PosixPath` in Python 3.13).
    """
    if is_foreign(module):
        return f"{_top(module).lstrip('_')}.{name}"
    return f"{module_name(module)}.{name}"


def module_name(module: str) -> str:
    """The name under which a module would be imported, even where it is the script being run."""
    # multiprocessing runs the parent's script in its children as `__mp_main__`.
    if module not in ("__main__", "__mp_main__"):
        return module
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if isinstance(file, str) else module


def _top(module: str) -> str:
    return module.partition(".")[0]
