"""What is recorded of a run, with the assertions that tests make about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fluxio.pipeline import Pipeline
from fluxio.runtime.history import HistoryEntry
from fluxio.store.base import RowKind

_MISSING = object()


class Recorded(Sequence[HistoryEntry]):
    """The rows of a run, oldest first. Each assertion that fails shows what was recorded.

    Steps are named by their keys or by the last part of them: "charge" finds "premium/charge" too.
    """

    def __init__(self, run_id: str, history: Sequence[HistoryEntry]) -> None:
        self.run_id = run_id
        self._entries = tuple(history)

    @classmethod
    async def of(cls, pipeline: Pipeline, run_id: str) -> Recorded:
        """What the pipeline's store has of a run.

        Raises:
            NoCheckpointError: nothing.
        """
        return cls(run_id, await pipeline.history(run_id))

    @property
    def steps(self) -> list[str]:
        """The keys of the steps that succeeded, in the order in which they were recorded."""
        return [entry.step for entry in self._entries if entry.kind is RowKind.STEP]

    @property
    def failures(self) -> list[str]:
        """The keys of the steps that failed for good, in that order."""
        return [entry.step for entry in self._entries if entry.kind is RowKind.ERROR]

    def assert_steps(self, *steps: str) -> None:
        """These steps succeeded, in this order, and no others.

        Raises:
            AssertionError: it was otherwise.
        """
        found = self.steps
        same = len(found) == len(steps) and all(map(_is, found, steps))
        self._require(same, f"the steps {_listed(steps)}")

    def assert_ran_once(self, *steps: str) -> None:
        """Each of these steps is recorded as done exactly once, over all attempts.

        Raises:
            AssertionError: it is not.
        """
        for step in steps:
            times = sum(_is(found, step) for found in self.steps)
            self._require(times == 1, f"{step!r} once, not {times} times,")

    def assert_failed(self, step: str, error: type[BaseException] | str | None = None) -> None:
        """This step failed; with this type of error, or with a message that holds this text.

        Raises:
            AssertionError: it did not.
        """
        found = [
            entry.error
            for entry in self._entries
            if entry.kind is RowKind.ERROR and _is(entry.step, step)
        ]
        self._require(bool(found), f"a failure of {step!r}")
        if isinstance(error, type):
            fits = any(body is not None and body.type == error.__qualname__ for body in found)
            self._require(fits, f"a failure of {step!r} with {error.__qualname__}")
        elif error is not None:
            fits = any(body is not None and error in body.message for body in found)
            self._require(fits, f"a failure of {step!r} that says {error!r}")

    def assert_route(self, router: str, route: str) -> None:
        """This router chose this route, the last time it ran.

        Raises:
            AssertionError: it chose another one, or did not run.
        """
        chosen = [entry.route for entry in self._entries if _is(entry.step, router)]
        self._require(chosen[-1:] == [route], f"that {router!r} chose {route!r}")

    def assert_wrote(self, step: str, **values: Any) -> None:
        """This step wrote these values, the last time it succeeded; it may have written more.

        Raises:
            AssertionError: it did not.
        """
        wrote = [
            entry.writes
            for entry in self._entries
            if entry.kind is RowKind.STEP and _is(entry.step, step)
        ]
        self._require(bool(wrote), f"the step {step!r}")
        for key, value in values.items():
            found = wrote[-1].get(key, _MISSING)
            self._require(found == value, f"that {step!r} wrote {key}={value!r}")

    def _require(self, fine: bool, what: str) -> None:
        if not fine:
            raise AssertionError(f"Run {self.run_id!r} should have recorded {what}:\n{self}")

    def __getitem__(self, index: Any) -> Any:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[HistoryEntry]:
        return iter(self._entries)

    def __str__(self) -> str:
        return "\n".join(map(_line, self._entries))


def _is(key: str, name: str) -> bool:
    return key == name or key.rpartition("/")[2] == name


def _listed(steps: Sequence[str]) -> str:
    return ", ".join(steps) or "of nothing"


def _line(entry: HistoryEntry) -> str:
    place = f"  {entry.sequence:>3}  {entry.kind.value:<6} {entry.step}"
    if entry.error is not None:
        return f"{place}  {entry.error.type}: {entry.error.message}"
    if entry.route is not None:
        return f"{place}  -> {entry.route}"
    return f"{place}  {dict(entry.writes)}" if entry.writes else place
