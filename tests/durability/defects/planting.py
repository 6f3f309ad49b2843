"""Plants one defect in this process; as a plugin of pytest (`-p`), in the process of the tests."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

VARIABLE = "FLUXIO_PLANTED_DEFECT"
"""Names the defect; processes that a test starts inherit it."""

CATALOGUES = ("recording", "running", "owning")
"""Modules beside this one. They are imported late, since they need Django's apps."""


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Something done wrong on purpose; `plant` patches it into this process.

    `tests` are those that have to catch it, the cheapest ones that can, as pytest takes them.
    """

    name: str
    wrong: str
    plant: Callable[[], None]
    tests: tuple[str, ...]


_defects: dict[str, Defect] = {}


def defect(*tests: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a function that plants a defect; its name and docstring say which."""

    def enter(plant: Callable[[], None]) -> Callable[[], None]:
        name = plant.__name__.replace("_", "-")
        _defects[name] = Defect(name=name, wrong=plant.__doc__ or "", plant=plant, tests=tests)
        return plant

    return enter


def all_defects() -> dict[str, Defect]:
    """Every defect, by name."""
    for catalogue in CATALOGUES:
        import_module(f"tests.durability.defects.{catalogue}")
    return dict(_defects)


def swap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace what an owner has under a name by what is made of it.

    Raises:
        AttributeError: it has no such thing; the defect has to follow the code.
    """
    setattr(owner, name, make(getattr(owner, name)))


def plant_chosen() -> None:
    """Plant the defect that the environment names, if it names one."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        all_defects()[chosen].plant()


def pytest_sessionstart() -> None:
    """Django is set up by now."""
    plant_chosen()
