"""The contract itself: it is large, it reads well, and it catches stores that break it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxio.store.base import (
    Checkpoint,
    CheckpointStore,
    Claim,
    Commit,
    Opening,
    OpenMode,
    Row,
    RunRecord,
)
from fluxio.store.memory import InMemoryStore, MemoryJournal
from fluxio.testing import conformance
from fluxio.testing.conformance import Capability, Subject
from fluxio.testing.conformance.expect import alike
from fluxio.types import RunStatus
from tests.core.stores.toy import ToyStore, TransactionalStore

EVERYTHING = conformance.conformance_cases(Capability)


def test_there_are_cases_enough() -> None:
    assert len(conformance.conformance_cases()) >= 80
    assert len(EVERYTHING) >= 400


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in EVERYTHING]
    assert len(names) == len(set(names))


def test_every_case_states_a_promise_in_a_sentence() -> None:
    assert [it.name for it in EVERYTHING if not it.sentence.endswith(".")] == []
    assert [it.name for it in EVERYTHING if not it.sentence[0].isupper()] == []


def test_cases_are_chosen_by_what_the_store_offers() -> None:
    toy, memory = conformance.cases_for(ToyStore()), conformance.cases_for(InMemoryStore())
    assert {it.topic for it in toy} == {"checkpoints"}
    assert {it.topic for it in memory} == {
        "checkpoints",
        "runs",
        "claims",
        "commits",
        "rows",
        "concurrency",
    }
    assert conformance.capabilities_of(ToyStore()) == {Capability.THREADS}


async def test_a_case_that_needs_more_than_the_fixture_gives_says_what() -> None:
    (case,) = [it for it in EVERYTHING if it.name == "leases.a_lease_holds"]
    with pytest.raises(AssertionError, match="needs a way to let time pass"):
        await case.run(InMemoryStore())


# --- stores with a defect


class ForgetfulToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints.setdefault(checkpoint.run_id, checkpoint)


class LetterBlindToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints[checkpoint.run_id.casefold()] = checkpoint

    async def load(self, run_id: str) -> Checkpoint | None:
        return self.checkpoints.get(run_id.casefold())

    async def exists(self, run_id: str) -> bool:
        return run_id.casefold() in self.checkpoints


class TrimmingToy(ToyStore):
    async def load(self, run_id: str) -> Checkpoint | None:
        return self.checkpoints.get(run_id.strip())


class ImmortalToy(ToyStore):
    async def delete(self, run_id: str) -> None:
        pass


class StrictToy(ToyStore):
    async def delete(self, run_id: str) -> None:
        del self.checkpoints[run_id]


class GreedyToy(ToyStore):
    async def delete(self, run_id: str) -> None:
        for known in [it for it in self.checkpoints if it.startswith(run_id)]:
            del self.checkpoints[known]


class StringlyToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        text = json.dumps(checkpoint.ctx_snapshot, default=str)
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, ctx_snapshot=json.loads(text))


class SortingToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        ordered = dict(sorted(checkpoint.ctx_snapshot.items()))
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, ctx_snapshot=ordered)


class MergingToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        old = self.checkpoints.get(checkpoint.run_id)
        merged = {**(old.ctx_snapshot if old else {}), **checkpoint.ctx_snapshot}
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, ctx_snapshot=merged)


class MetalessToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, meta={})


class SunnyToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, error=False)


class CoarseToy(ToyStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        moment = checkpoint.created_at.replace(microsecond=0)
        self.checkpoints[checkpoint.run_id] = replace(checkpoint, created_at=moment)


def in_memory(change: type[MemoryJournal]) -> Callable[[], CheckpointStore]:
    """A store in memory whose journal has a defect."""

    def make() -> CheckpointStore:
        store = InMemoryStore()
        store._journal = change(1000)
        return store

    return make


class Unfenced(MemoryJournal):
    async def commit(self, claim: Claim, commit: Commit) -> None:
        log = self._logs.get(claim.run_id)
        if log is not None and log.record.owner is not None:
            claim = replace(claim, token=log.record.token, owner=log.record.owner)
        await super().commit(claim, commit)


class UnfencedByName(MemoryJournal):
    async def commit(self, claim: Claim, commit: Commit) -> None:
        log = self._logs.get(claim.run_id)
        if log is not None and log.record.owner == claim.owner:
            claim = replace(claim, token=log.record.token)
        await super().commit(claim, commit)


class Generous(MemoryJournal):
    """Lets the owner in twice."""

    async def open(self, opening: Opening) -> Claim:
        log = self._logs.get(opening.run_id)
        if log is not None and log.record.owner == opening.owner:
            log.record = replace(log.record, owner=None)
        return await super().open(opening)


class Reviving(MemoryJournal):
    async def commit(self, claim: Claim, commit: Commit) -> None:
        if claim.run_id in self._logs:
            await super().commit(claim, commit)


class Unordered(MemoryJournal):
    async def commit(self, claim: Claim, commit: Commit) -> None:
        log = self._logs.get(claim.run_id)
        if log is not None:
            head = log.record.head + 1
            rows = tuple(replace(row, sequence=head + at) for at, row in enumerate(commit.rows))
            commit = replace(commit, rows=rows)
        await super().commit(claim, commit)


class HalfWay(MemoryJournal):
    """Writes rows one by one, so that a refusal in the middle leaves the first ones."""

    async def commit(self, claim: Claim, commit: Commit) -> None:
        for row in commit.rows:
            await super().commit(claim, replace(commit, rows=(row,), status=RunStatus.RUNNING))
        await super().commit(claim, replace(commit, rows=()))


class Hoarding(MemoryJournal):
    """Restarts a run and keeps its old rows."""

    async def open(self, opening: Opening) -> Claim:
        old = list(self._logs[opening.run_id].rows) if opening.run_id in self._logs else []
        claim = await super().open(opening)
        if opening.mode is OpenMode.RESTART:
            self._logs[opening.run_id].rows += old[1:]
        return claim


class Repeating(MemoryJournal):
    """Begins to count tokens anew for every run that is made."""

    async def open(self, opening: Opening) -> Claim:
        known = opening.run_id in self._logs
        claim = await super().open(opening)
        if not known:
            log = self._logs[opening.run_id]
            log.record = replace(log.record, token=1)
            claim = replace(claim, token=1)
        return claim


class Lexical(MemoryJournal):
    """Sorts rows as texts."""

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        found = await super().rows(run_id, first=first, last=last)
        return sorted(found, key=lambda row: str(row.sequence))


class OffByOne(MemoryJournal):
    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        return await super().rows(run_id, first=first, last=None if last is None else last - 1)


class Rounding(MemoryJournal):
    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        found = await super().rows(run_id, first=first, last=last)
        return [replace(row, duration=round(row.duration, 6)) for row in found]


class Trimming(MemoryJournal):
    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        found = await super().rows(run_id, first=first, last=last)
        return [replace(row, payload=row.payload.rstrip()) for row in found]


class Lingering(MemoryJournal):
    """Keeps saying when a run finished, though it runs again."""

    async def run(self, run_id: str) -> RunRecord | None:
        record = await super().run(run_id)
        return record and replace(record, finished_at=record.finished_at or record.updated_at)


class Forgetful(MemoryJournal):
    """Says of no run what it had been before."""

    async def open(self, opening: Opening) -> Claim:
        return replace(await super().open(opening), previous=RunStatus.QUEUED)


class Newest(MemoryJournal):
    async def last_full(self, run_id: str, *, upto: int | None = None) -> int:
        return await super().last_full(run_id)


DEFECTS: dict[str, Callable[[], CheckpointStore]] = {
    kind.__name__: kind
    for kind in (
        ForgetfulToy,
        LetterBlindToy,
        TrimmingToy,
        ImmortalToy,
        StrictToy,
        GreedyToy,
        StringlyToy,
        SortingToy,
        MergingToy,
        MetalessToy,
        SunnyToy,
        CoarseToy,
    )
} | {
    kind.__name__: in_memory(kind)
    for kind in (
        Unfenced,
        UnfencedByName,
        Generous,
        Reviving,
        Unordered,
        HalfWay,
        Hoarding,
        Repeating,
        Lexical,
        OffByOne,
        Rounding,
        Trimming,
        Lingering,
        Forgetful,
        Newest,
    )
}


async def failures(make: Callable[[], CheckpointStore]) -> list[str]:
    """The cases that a store does not pass."""
    failed = []
    for case in conformance.cases_for(make()):
        try:
            await case.run(make())
        except Exception:
            failed.append(case.name)
    return failed


@pytest.mark.parametrize("make", DEFECTS.values(), ids=DEFECTS)
async def test_a_defect_is_caught(make: Callable[[], CheckpointStore]) -> None:
    base = ToyStore if isinstance(make(), ToyStore) else InMemoryStore
    assert set(await failures(make)) > set(await failures(base))


async def test_transactions_that_do_not_roll_back_are_caught() -> None:
    store = TransactionalStore()
    store.ledger.write = store.ledger.kept.append  # type: ignore[method-assign]
    (case,) = [it for it in EVERYTHING if it.name == "transactions.a_failing_stage_leaves_nothing"]
    with pytest.raises(AssertionError, match="the notes"):
        await case.run(Subject(store=store, ledger=store.ledger))


ALIKE: list[tuple[Any, Any, bool]] = [
    (1, 1, True),
    (1, True, False),
    (1, 1.0, False),
    (0.0, -0.0, False),
    (float("nan"), float("nan"), True),
    ([1], (1,), False),
    ({"a": 1}, {"a": 1.0}, False),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
    ({1, 2}, {2, 1}, True),
    ({1}, {True}, False),
    ({1}, frozenset({1}), False),
    ([[1, [2]]], [[1, [2]]], True),
    ([1, 2], [1], False),
]


@pytest.mark.parametrize(("one", "other", "expected"), ALIKE)
def test_values_are_compared_with_their_types(one: Any, other: Any, expected: bool) -> None:
    assert alike(one, other) is expected
