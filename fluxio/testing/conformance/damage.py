"""Rows that were changed behind the store's back: never repaired, never taken for good."""

from __future__ import annotations

from collections.abc import Callable

from fluxio.errors import CorruptCheckpointError
from fluxio.store.base import Row
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.checkpoints import loaded
from fluxio.testing.conformance.expect import refused, same, true
from fluxio.testing.conformance.samples import (
    begin,
    checkpoint,
    commit,
    row,
    start_row,
    step_row,
)

TOPIC = Topic("damage", frozenset({Capability.JOURNAL, Capability.DAMAGE}))


def _flip(payload: str, place: int) -> str:
    changed = "0" if payload[place] != "0" else "1"
    return payload[:place] + changed + payload[place + 1 :]


_CHANGES: dict[str, Callable[[str], str | None]] = {
    "the first character": lambda payload: _flip(payload, 0),
    "a character in the middle": lambda payload: _flip(payload, len(payload) // 2),
    "the last character": lambda payload: _flip(payload, len(payload) - 1),
    "cut by one": lambda payload: payload[:-1],
    "cut in half": lambda payload: payload[: len(payload) // 2],
    "emptied": lambda payload: "",
    "doubled": lambda payload: payload * 2,
    "something else": lambda payload: '{"writes":{},"route":null}',
    "no text of ours": lambda payload: "\u00e9\n\n{",
}


@TOPIC.promise("A snapshot that was damaged is refused, with run and row.", over=_CHANGES)
async def a_damaged_snapshot_is_refused(
    subject: Subject, change: Callable[[str], str | None]
) -> None:
    await subject.store.save(checkpoint("run", {"total": 100}))
    await subject.spoil("run", 0, change)
    with refused(CorruptCheckpointError, "load of a damaged run") as refusal:
        await subject.store.load("run")
    same((refusal.error.run_id, refusal.error.sequence), ("run", 0), "what the error says")


@TOPIC.promise("A row that was damaged is refused or shown as it is, never mended.", over=_CHANGES)
async def a_damaged_row_is_never_mended(
    subject: Subject, change: Callable[[str], str | None]
) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), row(2)))
    await subject.spoil("run", 1, change)
    found = await _readable(subject, "run")
    true(row(1) not in found, "the damaged row does not read as if it were whole")


@TOPIC.promise("A row that is missing is not passed over.")
async def a_missing_row_is_not_passed_over(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", start=start_row("run", {"n": 0}))
    await subject.journal.commit(claim, commit(*(start_row("run", {}, at) for at in (1, 2))))
    await subject.spoil("run", 1, lambda payload: None)
    found = [it.sequence for it in await _readable(subject, "run")]
    true(found != [0, 1, 2], "the missing row is not made up")
    true(len(found) < 3, "nothing takes its place")


@TOPIC.promise("A snapshot that lacks the row of a step is refused.")
async def a_gap_in_a_snapshot_is_refused(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    steps = [step_row("run", number, {f"step-{number}": 1}) for number in (1, 2, 3)]
    await subject.journal.commit(claim, commit(*steps))
    await subject.spoil("run", 2, lambda payload: None)
    with refused(CorruptCheckpointError, "load of a run with a missing row"):
        await subject.store.load("run")


@TOPIC.promise("A run whose newest row is missing is refused.")
async def a_missing_newest_row_is_refused(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"n": 1}))
    await subject.store.save(checkpoint("run", {"n": 2}))
    await subject.spoil("run", 1, lambda payload: None)
    with refused(CorruptCheckpointError, "load of a run whose newest row is missing"):
        await subject.store.load("run")


@TOPIC.promise("The payload of another run does not pass.")
async def a_swapped_payload_is_refused(subject: Subject) -> None:
    await subject.store.save(checkpoint("cheap", {"total": 1}))
    await subject.store.save(checkpoint("dear", {"total": 1000}))
    (cheap,) = await subject.journal.rows("cheap")
    await subject.spoil("dear", 0, lambda payload: cheap.payload)
    with refused(CorruptCheckpointError, "load of a run with another's payload"):
        await subject.store.load("dear")


@TOPIC.promise("A damaged run does not keep others from going on.")
async def other_runs_go_on(subject: Subject) -> None:
    await subject.store.save(checkpoint("bad"))
    await subject.store.save(checkpoint("good", {"n": 1}))
    await subject.spoil("bad", 0, lambda payload: "x")
    same((await loaded(subject.store, "good")).ctx_snapshot, {"n": 1}, "the other run")
    claim = await begin(subject.journal, "another")
    await subject.journal.commit(claim, commit(row(1)))


@TOPIC.promise("A damaged run can be deleted and begin anew.")
async def a_damaged_run_can_be_deleted(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    await subject.spoil("run", 0, lambda payload: "x")
    await subject.store.delete("run")
    await subject.store.save(checkpoint("run", {"n": 2}))
    same((await loaded(subject.store, "run")).ctx_snapshot, {"n": 2}, "the new state")


async def _readable(subject: Subject, run_id: str) -> list[Row]:
    try:
        return await subject.journal.rows(run_id)
    except CorruptCheckpointError:
        return []
