"""How a run goes on: rows and record move together, and only for whoever owns the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fluxio.errors import LeaseLostError, StoreError
from fluxio.store.base import Claim, Commit, OpenMode, RowKind
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import refused, same, untouched
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import (
    ENDINGS,
    HEIR,
    OTHER_VERSION,
    OWNER,
    begin,
    commit,
    leave,
    opening,
    row,
    start_row,
)
from fluxio.types import RunStatus

TOPIC = Topic("commits", frozenset({Capability.JOURNAL}))


@TOPIC.promise("A committed row can be read.")
async def a_committed_row_can_be_read(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    same((await subject.journal.rows("run"))[1:], [row(1)], "the rows after the first")


@TOPIC.promise("Rows of one commit keep their order.")
async def rows_of_one_commit_keep_their_order(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    rows = [row(sequence, step=f"branch-{sequence}") for sequence in range(1, 101)]
    await subject.journal.commit(claim, commit(*rows))
    same((await subject.journal.rows("run"))[1:], rows, "the rows after the first")


@TOPIC.promise("A commit moves the record.")
async def a_commit_moves_the_record(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    moved = commit(row(1), row(2), ip=7, step="pick/premium/charge", attempt=2)
    await subject.journal.commit(claim, moved)
    record = await record_of(subject, "run")
    found = (record.head, record.ip, record.step, record.attempt, record.status)
    same(found, (2, 7, "pick/premium/charge", 2, RunStatus.RUNNING), "the record")


@TOPIC.promise("A run is of the version of its newest row.")
async def a_commit_moves_the_version(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    carried = row(1, kind=RowKind.START, full=True, attempt=2, version=OTHER_VERSION)
    await subject.journal.commit(claim, commit(carried, attempt=2))
    same((await record_of(subject, "run")).version, OTHER_VERSION, "the version of the run")
    await subject.journal.commit(claim, commit(step="pick/premium/charge"))
    same((await record_of(subject, "run")).version, OTHER_VERSION, "the version without rows")


@TOPIC.promise("A commit of a running run leaves the owner its claim.")
async def a_running_run_keeps_its_owner(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    record = await record_of(subject, "run")
    same((record.owner, record.token), (OWNER, claim.token), "owner and token")


@TOPIC.promise("A commit without rows moves the record only.")
async def a_commit_may_have_no_rows(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(ip=3, step="pick/premium/charge"))
    record = await record_of(subject, "run")
    same((record.head, record.ip, record.step), (0, 3, "pick/premium/charge"), "the record")
    same(len(await subject.journal.rows("run")), 1, "how many rows there are")


@TOPIC.promise("A run grows commit by commit.")
async def many_commits_add_up(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    for sequence in range(1, 121):
        await subject.journal.commit(claim, commit(row(sequence)))
    same((await record_of(subject, "run")).head, 120, "the head")
    sequences = [it.sequence for it in await subject.journal.rows("run")]
    same(sequences, list(range(121)), "the sequences")


@TOPIC.promise("A status that ends the execution frees the run.", over=ENDINGS)
async def an_ending_frees_the_run(subject: Subject, status: RunStatus) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), status=status))
    record = await record_of(subject, "run")
    same(record.status, status, "the status")
    same((record.owner, record.lease_expires_at), (None, None), "owner and lease")
    same(len(await subject.journal.rows("run")), 2, "how many rows there are")


@TOPIC.promise("Only a finished run says when it finished.", over=ENDINGS)
async def only_finished_runs_have_an_end(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    record = await record_of(subject, "run")
    same(record.finished_at is None, status.is_open, "finished_at is missing")


@TOPIC.promise("A run that was freed can be taken at once.", over=ENDINGS)
async def a_freed_run_can_be_taken(subject: Subject, status: RunStatus) -> None:
    old = await leave(subject.journal, "run", status)
    claim = await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    await subject.journal.commit(claim, commit(row(2)))
    same((await record_of(subject, "run")).head, 2, "the head")
    with refused(LeaseLostError, "a commit by the former owner"):
        await subject.journal.commit(old, commit(row(3)))


_ERRORS = {
    "none": "",
    "a line": "ValueError: no such order",
    "600 characters": "E" * 600,
    "other scripts": "Fehler: \u201eungültig\u201c \u65e5\u672c \U0001f680",
    "line breaks": "first\nsecond",
}


@TOPIC.promise("The summary of an error is kept.", over=_ERRORS)
async def an_error_is_kept(subject: Subject, error: str) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), status=RunStatus.FAILED, error=error))
    same((await record_of(subject, "run")).error, error, "the error")


_STEPS = {
    "nothing": "",
    "a path": "pick/premium/charge#2",
    "500 characters": "/".join(["route"] * 84)[:500],
    "other scripts": "prüfen/\u65e5\u672c",
}


@TOPIC.promise("The step that is due is kept.", over=_STEPS)
async def a_step_is_kept(subject: Subject, step: str) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), step=step))
    same((await record_of(subject, "run")).step, step, "the step")


@TOPIC.promise("An error is gone once the run goes on.")
async def an_error_does_not_linger(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), status=RunStatus.FAILED, error="boom"))
    claim = await subject.journal.open(opening("run", OpenMode.TAKE))
    await subject.journal.commit(claim, commit(row(2), status=RunStatus.SUCCEEDED))
    same((await record_of(subject, "run")).error, "", "the error")


# --- only the owner commits

_FORGERIES: dict[str, Callable[[Claim], Claim]] = {
    "an older token": lambda claim: replace(claim, token=claim.token - 1),
    "a newer token": lambda claim: replace(claim, token=claim.token + 1),
    "token 0": lambda claim: replace(claim, token=0),
    "a run nobody knows": lambda claim: replace(claim, run_id="nobody"),
}
_COMMITS: dict[str, Callable[[int], Commit]] = {
    "a row": lambda sequence: commit(row(sequence)),
    "no row": lambda sequence: commit(ip=99),
    "an ending": lambda sequence: commit(row(sequence), status=RunStatus.SUCCEEDED),
}


@TOPIC.promise("A claim that was never given is refused, and nothing is written.", over=_FORGERIES)
async def a_forged_claim_is_refused(subject: Subject, forge: Callable[[Claim], Claim]) -> None:
    claim = await begin(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit with a forged claim"):
            await subject.journal.commit(forge(claim), commit(row(1)))
    same(await subject.journal.run("nobody"), None, "a run that was never opened")


@TOPIC.promise("The claim on one run is no claim on another.")
async def a_claim_is_for_one_run(subject: Subject) -> None:
    mine = await begin(subject.journal, "mine")
    await begin(subject.journal, "yours", owner=HEIR)
    async with untouched(subject.journal, "yours"):
        with refused(LeaseLostError, "a commit to somebody else's run"):
            await subject.journal.commit(replace(mine, run_id="yours"), commit(row(1)))


@TOPIC.promise("Whoever ended the execution cannot commit again.", over=_COMMITS)
async def nothing_follows_an_ending(subject: Subject, late: Callable[[int], Commit]) -> None:
    claim = await leave(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit after the end") as refusal:
            await subject.journal.commit(claim, late(2))
    found = (refusal.error.run_id, refusal.error.token)
    same(found, ("run", claim.token), "what the error says")


@TOPIC.promise("After somebody else took the run, the former owner cannot commit.", over=_COMMITS)
async def a_former_owner_is_fenced_by_a_take(
    subject: Subject, late: Callable[[int], Commit]
) -> None:
    claim = await leave(subject.journal, "run", RunStatus.WAITING)
    await subject.journal.open(opening("run", OpenMode.TAKE, owner=OWNER))
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit by the former owner"):
            await subject.journal.commit(claim, late(2))


@TOPIC.promise("After a RESTART, the former owner cannot commit.", over=_COMMITS)
async def a_former_owner_is_fenced_by_a_restart(
    subject: Subject, late: Callable[[int], Commit]
) -> None:
    claim = await leave(subject.journal, "run")
    await subject.journal.open(opening("run", OpenMode.RESTART, owner=OWNER))
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit by the former owner"):
            await subject.journal.commit(claim, late(1))


@TOPIC.promise("A deleted run takes no commit, and does not come back.", over=_COMMITS)
async def a_deleted_run_takes_no_commit(subject: Subject, late: Callable[[int], Commit]) -> None:
    claim = await begin(subject.journal, "run")
    await subject.store.delete("run")
    with refused(LeaseLostError, "a commit to a deleted run"):
        await subject.journal.commit(claim, late(1))
    same(await subject.journal.run("run"), None, "the record of the deleted run")
    same(await subject.journal.rows("run"), [], "the rows of the deleted run")


@TOPIC.promise("A run that was deleted and made again takes no commit of its first life.")
async def a_second_life_fences_the_first(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.store.delete("run")
    await begin(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit of the first life"):
            await subject.journal.commit(claim, commit(row(1)))


# --- rows follow each other

_MISFITS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "the newest sequence again": lambda: (row(1, payload="other"),),
    "sequence 0 again": lambda: (row(0, payload="other"),),
    "a good row and a taken one": lambda: (row(2), row(1, payload="other")),
    "the same sequence twice": lambda: (row(2), row(2, payload="other")),
}


@TOPIC.promise("A sequence that is taken is refused, and nothing is written.", over=_MISFITS)
async def a_taken_sequence_is_refused(
    subject: Subject, rows: Callable[[], tuple[Any, ...]]
) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    async with untouched(subject.journal, "run"):
        with refused(StoreError, "a commit of a taken sequence"):
            await subject.journal.commit(claim, commit(*rows(), ip=50, step="reserve"))


@TOPIC.promise("After a refused commit the owner still owns, and may commit what fits.")
async def a_refused_commit_leaves_the_claim(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    with refused(StoreError, "a commit of a taken sequence"):
        await subject.journal.commit(claim, commit(row(1, payload="other")))
    await subject.journal.commit(claim, commit(row(2)))
    same((await record_of(subject, "run")).head, 2, "the head")


@TOPIC.promise("A refused ending leaves the run running.")
async def a_refused_ending_does_not_end(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    with refused(StoreError, "an ending with a taken sequence"):
        taken = row(0, payload="other")
        await subject.journal.commit(claim, commit(taken, status=RunStatus.SUCCEEDED))
    record = await record_of(subject, "run")
    same((record.status, record.owner), (RunStatus.RUNNING, OWNER), "status and owner")


@TOPIC.promise("A commit to one run leaves the others.")
async def other_runs_are_left_alone(subject: Subject) -> None:
    claim = await begin(subject.journal, "one")
    await begin(subject.journal, "two")
    async with untouched(subject.journal, "two"):
        await subject.journal.commit(claim, commit(row(1), status=RunStatus.FAILED, error="boom"))


@TOPIC.promise("A replay appends an attempt and alters no row before it.")
async def a_replay_appends(subject: Subject) -> None:
    await leave(subject.journal, "run", RunStatus.SUCCEEDED, rows=3)
    before = await subject.journal.rows("run")
    claim = await subject.journal.open(opening("run", OpenMode.TAKE))
    again = replace(start_row("run", sequence=4), attempt=2)
    await subject.journal.commit(claim, commit(again, row(5, attempt=2), attempt=2))
    rows = await subject.journal.rows("run")
    same(rows[:4], before, "the rows of the first attempt")
    same([it.attempt for it in rows], [1, 1, 1, 1, 2, 2], "the attempts")
