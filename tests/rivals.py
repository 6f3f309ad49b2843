"""Rivals: somebody else does something to the runs of a database between two statements of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

RUNS = "fluxio_django_run"


@contextmanager
def rival_after(
    alias: str,
    act: Callable[[], object],
    *,
    kind: str = "SELECT",
    times: int = 1,
    least: int | None = None,
) -> Iterator[list[str]]:
    """Let a rival act behind the next statements on runs that begin so; gives those statements.

    What the rival does itself is not counted. There have to be as many as `times` (or `least`).
    """
    met: list[str] = []
    acts = False

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal acts
        result = execute(sql, params, many, context)
        if not acts and sql.startswith(kind) and RUNS in sql:
            met.append(sql)
            if len(met) <= times:
                acts = True
                act()
                acts = False
        return result

    with connections[alias].execute_wrapper(look):
        yield met
    assert len(met) >= (times if least is None else least), "the rival had nothing to act behind"
