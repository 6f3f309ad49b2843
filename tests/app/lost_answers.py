"""A database that does what it is asked, and whose answer nobody hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connections


@contextmanager
def answers_lost(database: str, kind: str, times: int = 1) -> Iterator[None]:
    """The connection goes when a statement has been carried out, before its answer is heard."""
    left = [times]

    def lose(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith(kind) and left[0]:
            left[0] -= 1
            raise OperationalError("the answer never came")
        return result

    with connections[database].execute_wrapper(lose):
        yield
    assert left == [0], "no answer was lost"


@contextmanager
def commit_lost(database: str) -> Iterator[None]:
    """The next transaction is durable, and its end is not heard of."""
    kind: Any = type(connections[database])
    commit = kind._commit
    lost: list[bool] = []

    def lose(connection: Any) -> None:
        commit(connection)
        if not lost:
            lost.append(True)
            raise OperationalError("the answer never came")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "_commit", lose)
        yield
    assert lost, "no answer was lost"
