"""Transactional stages: their own writes and their checkpoint commit together or not at all."""

from __future__ import annotations

from typing import NoReturn

from fluxio.errors import LeaseLostError, StoreError
from fluxio.store.base import Commit, OpenMode
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import refused, same, untouched
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import begin, commit, leave, opening, row
from fluxio.types import RunStatus

TOPIC = Topic("transactions", frozenset({Capability.JOURNAL, Capability.TRANSACTIONS}))


class StageFailed(Exception):
    """What a failing stage raises in these cases."""


@TOPIC.promise("What the stage returns is handed on.")
async def the_result_is_handed_on(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    result = await subject.transactions.run(claim, lambda: ("result", commit(row(1))))
    same(result, "result", "what run() returned")


@TOPIC.promise("Writes and checkpoint are both there afterwards.")
async def both_are_committed(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")

    def work() -> tuple[None, Commit]:
        subject.notes.write("charged")
        return None, commit(row(1), ip=5)

    await subject.transactions.run(claim, work)
    same(await subject.notes.notes(), ["charged"], "the notes")
    record = await record_of(subject, "run")
    same((record.head, record.ip), (1, 5), "head and instruction pointer")
    same((await subject.journal.rows("run"))[1:], [row(1)], "the rows after the first")


@TOPIC.promise("A stage that raises leaves neither, and its error is handed on.")
async def a_failing_stage_leaves_nothing(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")

    def work() -> NoReturn:
        subject.notes.write("charged")
        raise StageFailed

    async with untouched(subject.journal, "run"):
        with refused(StageFailed, "a stage that raises"):
            await subject.transactions.run(claim, work)
    same(await subject.notes.notes(), [], "the notes")


@TOPIC.promise("A stage whose claim was lost meanwhile leaves nothing.")
async def a_lost_claim_rolls_back(subject: Subject) -> None:
    claim = await leave(subject.journal, "run")
    await subject.journal.open(opening("run", OpenMode.TAKE))

    def work() -> tuple[None, Commit]:
        subject.notes.write("charged")
        return None, commit(row(2))

    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a transaction with a lost claim"):
            await subject.transactions.run(claim, work)
    same(await subject.notes.notes(), [], "the notes")


@TOPIC.promise("A stage whose run was deleted leaves nothing.")
async def a_deleted_run_rolls_back(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.store.delete("run")

    def work() -> tuple[None, Commit]:
        subject.notes.write("charged")
        return None, commit(row(1))

    with refused(LeaseLostError, "a transaction of a deleted run"):
        await subject.transactions.run(claim, work)
    same(await subject.notes.notes(), [], "the notes")
    same(await subject.journal.run("run"), None, "the record of the deleted run")


@TOPIC.promise("A stage whose row does not fit leaves nothing.")
async def a_taken_sequence_rolls_back(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))

    def work() -> tuple[None, Commit]:
        subject.notes.write("charged")
        return None, commit(row(1, payload="other"))

    async with untouched(subject.journal, "run"):
        with refused(StoreError, "a transaction with a taken sequence"):
            await subject.transactions.run(claim, work)
    same(await subject.notes.notes(), [], "the notes")


@TOPIC.promise("After a rollback the same stage can be tried again.")
async def a_rolled_back_stage_can_be_repeated(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")

    def fail() -> NoReturn:
        subject.notes.write("first")
        raise StageFailed

    def succeed() -> tuple[None, Commit]:
        subject.notes.write("second")
        return None, commit(row(1))

    with refused(StageFailed, "a stage that raises"):
        await subject.transactions.run(claim, fail)
    await subject.transactions.run(claim, succeed)
    same(await subject.notes.notes(), ["second"], "the notes")
    same((await record_of(subject, "run")).head, 1, "the head")


@TOPIC.promise("A transaction may end the run.")
async def a_transaction_may_end_the_run(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    ending = commit(row(1), status=RunStatus.SUCCEEDED)
    await subject.transactions.run(claim, lambda: (None, ending))
    record = await record_of(subject, "run")
    same((record.status, record.owner), (RunStatus.SUCCEEDED, None), "status and owner")


@TOPIC.promise("Ordinary commits and transactions take turns in one run.")
async def both_kinds_of_commit_mix(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    await subject.transactions.run(claim, lambda: (None, commit(row(2))))
    await subject.journal.commit(claim, commit(row(3)))
    sequences = [it.sequence for it in await subject.journal.rows("run")]
    same(sequences, [0, 1, 2, 3], "the sequences")
