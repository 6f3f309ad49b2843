"""Several store objects on the same data, as several processes have them."""

from __future__ import annotations

from fluxio.errors import ForeignRunError, LeaseLostError, RunIDInUseError
from fluxio.store.base import CheckpointStore, Journal, OpenMode
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.checkpoints import loaded
from fluxio.testing.conformance.expect import refused, same, true, untouched
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import (
    HEIR,
    MANIFEST,
    OWNER,
    PIPELINE,
    VERSION,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
)
from fluxio.types import RunStatus

TOPIC = Topic("shared", frozenset({Capability.JOURNAL, Capability.SHARED}))


def journal_of(store: CheckpointStore) -> Journal:
    """The journal of the other store object."""
    journal = store.journal()
    if journal is None:
        raise AssertionError("Every store object on the same data must have a journal.")
    return journal


@TOPIC.promise("What one process saved, another loads.")
async def a_snapshot_is_seen(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"n": 1}))
    same((await loaded(subject.second(), "run")).ctx_snapshot, {"n": 1}, "the context")


@TOPIC.promise("What one process deleted is gone for another.")
async def a_deletion_is_seen(subject: Subject) -> None:
    other = subject.second()
    await subject.store.save(checkpoint("run"))
    same(await other.exists("run"), True, "exists before")
    await subject.store.delete("run")
    same(await other.exists("run"), False, "exists after")


@TOPIC.promise("Rows, record and manifest of one process are read by another.")
async def a_log_is_seen(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1), row(2)))
    other = journal_of(subject.second())
    same(await other.run("run"), await record_of(subject, "run"), "the record")
    same(await other.rows("run"), await subject.journal.rows("run"), "the rows")
    same(await other.manifest(PIPELINE, VERSION), MANIFEST, "the manifest")


@TOPIC.promise("A commit is seen at once by whoever looked before.")
async def a_commit_is_seen_at_once(subject: Subject) -> None:
    other = journal_of(subject.second())
    claim = await begin(subject.journal, "run")
    for head in range(1, 6):
        await subject.journal.commit(claim, commit(row(head)))
        record = await other.run("run")
        same(record and record.head, head, "the head")
        same(len(await other.rows("run")), head + 1, "how many rows there are")


@TOPIC.promise("A run that one process executes is refused to another.")
async def a_running_run_is_refused_elsewhere(subject: Subject) -> None:
    await begin(subject.journal, "run")
    other = journal_of(subject.second())
    async with untouched(subject.journal, "run"):
        for mode in OpenMode:
            with refused(RunIDInUseError, f"{mode} in another process") as refusal:
                await other.open(opening("run", mode, owner=HEIR))
            same(refusal.error.owner, OWNER, "the owner in the error")


@TOPIC.promise("A foreign run is refused in every process.")
async def a_foreign_run_is_refused_elsewhere(subject: Subject) -> None:
    await leave(subject.journal, "run")
    other = journal_of(subject.second())
    with refused(ForeignRunError, "RESTART for another pipeline, elsewhere"):
        await other.open(opening("run", OpenMode.RESTART, pipeline="somebody.else"))


@TOPIC.promise("Processes hand a run on, and tokens grow on the way.")
async def a_run_is_handed_on(subject: Subject) -> None:
    first, second = subject.journal, journal_of(subject.second())
    claim = await begin(first, "run")
    tokens = [claim.token]
    for turn in range(1, 5):
        await (first if turn % 2 else second).commit(
            claim, commit(row(turn), status=RunStatus.WAITING)
        )
        claim = await (second if turn % 2 else first).open(opening("run", OpenMode.TAKE))
        same(claim.head, turn, "the head in the claim")
        tokens.append(claim.token)
    true(tokens == sorted(set(tokens)), f"tokens grow: {tokens}")


@TOPIC.promise("After another process took over, the former owner cannot commit.")
async def a_former_owner_is_fenced_elsewhere(subject: Subject) -> None:
    claim = await leave(subject.journal, "run", RunStatus.WAITING)
    other = journal_of(subject.second())
    await other.open(opening("run", OpenMode.TAKE, owner=HEIR))
    async with untouched(other, "run"):
        with refused(LeaseLostError, "a commit by the former owner"):
            await subject.journal.commit(claim, commit(row(2)))


@TOPIC.promise("Tokens do not repeat when one process deletes a run and another makes it again.")
async def tokens_do_not_repeat_elsewhere(subject: Subject) -> None:
    ghost = await begin(subject.journal, "run")
    other = subject.second()
    await other.delete("run")
    claim = await begin(journal_of(other), "run")
    true(claim.token != ghost.token, "the tokens differ")
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit of the run's first life"):
            await subject.journal.commit(ghost, commit(row(1)))
