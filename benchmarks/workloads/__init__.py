"""The workloads, one file each: `W1` stands in w1.py, and a new file is found by its name.

Each file has `workloads()`, which gives the workloads of that file; it is called once, when Django
is set up, and only for files that are wanted.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from benchmarks.workload import Workload

_FILE = re.compile(r"w\d+")


def file_names() -> list[str]:
    """The files there are, in the order of their numbers."""
    found = (path.stem for path in Path(__file__).parent.glob("w*.py"))
    return sorted(filter(_FILE.fullmatch, found), key=lambda name: int(name[1:]))


def chosen_workloads(names: list[str] | None) -> list[Workload]:
    """The workloads of these names, all of them where None; "W1" stands for "W1-redis" as well.

    Raises:
        SystemExit: a name is unknown.
    """
    if names is None:
        return [work for stem in file_names() for work in _workloads_in(stem)]
    found: dict[str, Workload] = {}
    made: dict[str, list[Workload]] = {}
    for name in names:
        stem, _, variant = name.lower().partition("-")
        if stem not in file_names():
            raise SystemExit(f"There is no workload {name}. Known: {', '.join(file_names())}.")
        in_file = made.get(stem) or made.setdefault(stem, _workloads_in(stem))
        works = [work for work in in_file if not variant or work.name.lower() == name.lower()]
        if not works:
            known = ", ".join(work.name for work in in_file)
            raise SystemExit(f"There is no workload {name}. This file has {known}.")
        found |= {work.name: work for work in works}
    return list(found.values())


def _workloads_in(stem: str) -> list[Workload]:
    module = import_module(f"benchmarks.workloads.{stem}")
    return list(module.workloads())
