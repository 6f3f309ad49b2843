"""What the cases check with: explicit, so that failures read well under any test runner."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Generic, TypeVar

from fluxio.errors import FluxioError
from fluxio.store.base import Journal

Refusal = TypeVar("Refusal", bound=BaseException)


def same(found: Any, expected: Any, what: str) -> None:
    """Fail unless both are alike in value and type, all the way down."""
    if not alike(found, expected):
        raise AssertionError(f"{what}: expected {_short(expected)}, found {_short(found)}.")


def true(condition: bool, what: str) -> None:
    """Fail unless the condition holds; `what` is the sentence that should have been true."""
    if not condition:
        raise AssertionError(f"This does not hold: {what}.")


def alike(one: Any, other: Any) -> bool:
    """Whether values and types are equal all the way down; 1, 1.0 and True differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, dict):
        return alike(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(any(alike(a, b) for b in other) for a in one)
    return bool(one == other) and getattr(one, "tzinfo", None) == getattr(other, "tzinfo", None)


class refused(Generic[Refusal]):
    """Fail unless the block raises this error; the error is in `error` afterwards."""

    error: Refusal

    def __init__(self, kind: type[Refusal], what: str) -> None:
        self._kind = kind
        self._what = what

    def __enter__(self) -> refused[Refusal]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None:
            raise AssertionError(
                f"{self._what} must raise {self._kind.__name__}; nothing was raised."
            )
        if not isinstance(error, self._kind):
            if not isinstance(error, FluxioError):
                return False
            raise AssertionError(
                f"{self._what} must raise {self._kind.__name__}, not {error!r}."
            ) from error
        self.error = error
        return True


@asynccontextmanager
async def untouched(journal: Journal, run_id: str) -> AsyncIterator[None]:
    """Fail if the block changes the record or the rows of a run."""
    record, rows = await journal.run(run_id), await journal.rows(run_id)
    yield
    same(await journal.run(run_id), record, f"the record of {run_id!r} after a refusal")
    same(await journal.rows(run_id), rows, f"the rows of {run_id!r} after a refusal")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-80:]}"
