"""Many at once: exactly one winner, nothing half-done to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any, TypeVar

from fluxio.errors import LeaseLostError, RunIDInUseError, StoreError
from fluxio.store.base import Claim, OpenMode
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import same, true
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import (
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
)
from fluxio.types import RunStatus

TOPIC = Topic("concurrency", frozenset({Capability.JOURNAL}))

THREADS = 8
Result = TypeVar("Result")


async def attempt(work: Callable[[], Awaitable[Result]]) -> Result | Exception:
    """What came of it: the result, or the refusal."""
    try:
        return await work()
    except (RunIDInUseError, LeaseLostError, StoreError) as refusal:
        return refusal


async def in_threads(works: Sequence[Callable[[], Coroutine[Any, Any, Result]]]) -> list[Result]:
    """Run each in a thread with an event loop of its own, all of them let go at once."""
    barrier = Barrier(len(works))

    def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        barrier.wait(timeout=30)
        return asyncio.run(work())

    with ThreadPoolExecutor(len(works)) as pool:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, run, work) for work in works))


def check_one_winner(outcomes: Sequence[Claim | Exception]) -> Claim:
    """Fail unless one got the run and all others were told that it is in use."""
    winners = [it for it in outcomes if isinstance(it, Claim)]
    same(len(winners), 1, "how many got the run")
    losers = {type(it) for it in outcomes if not isinstance(it, Claim)}
    same(losers, {RunIDInUseError}, "what the others were told")
    return winners[0]


_MODES = {mode.value: mode for mode in OpenMode}


async def _prepare(subject: Subject, run_id: str, mode: OpenMode) -> None:
    if mode is not OpenMode.CREATE:
        await leave(subject.journal, run_id)


@TOPIC.promise("Of many tasks that open a run, one gets it.", over=_MODES)
async def one_task_wins(subject: Subject, mode: OpenMode) -> None:
    await _prepare(subject, "run", mode)
    journal = subject.journal
    asked = [opening("run", mode, owner=f"owner-{number}") for number in range(20)]
    outcomes = await asyncio.gather(*(attempt(partial(journal.open, it)) for it in asked))
    winner = check_one_winner(outcomes)
    same((await record_of(subject, "run")).owner, winner.owner, "the owner in the record")
    await journal.commit(winner, commit(row(winner.head + 1)))


@TOPIC.promise("Of many threads that open a run, one gets it.", Capability.THREADS, over=_MODES)
async def one_thread_wins(subject: Subject, mode: OpenMode) -> None:
    journal = subject.journal
    for turn in range(5):
        run_id = f"run-{turn}"
        await _prepare(subject, run_id, mode)
        asked = [opening(run_id, mode, owner=f"owner-{number}") for number in range(THREADS)]
        outcomes = await in_threads([partial(attempt, partial(journal.open, it)) for it in asked])
        winner = check_one_winner(outcomes)
        same((await record_of(subject, run_id)).owner, winner.owner, "the owner in the record")


@TOPIC.promise("Of two processes that open a run, one gets it.", Capability.SHARED, over=_MODES)
async def one_process_wins(subject: Subject, mode: OpenMode) -> None:
    journals = [subject.journal, subject.second().journal(), subject.second().journal()]
    for turn in range(10):
        run_id = f"run-{turn}"
        await _prepare(subject, run_id, mode)
        asked = [opening(run_id, mode, owner=f"owner-{number}") for number in range(3)]
        outcomes = await asyncio.gather(
            *(
                attempt(partial(journal.open, it))
                for journal, it in zip(journals, asked, strict=True)
                if journal is not None
            )
        )
        check_one_winner(outcomes)


@TOPIC.promise("Of many commits of one sequence, one is written.")
async def one_commit_wins(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    rivals = [row(1, payload=f"rival-{number}") for number in range(10)]
    outcomes = await asyncio.gather(
        *(attempt(partial(subject.journal.commit, claim, commit(it))) for it in rivals)
    )
    written = [it for it, outcome in zip(rivals, outcomes, strict=True) if outcome is None]
    same(len(written), 1, "how many were written")
    same((await subject.journal.rows("run"))[1:], written, "the rows after the first")


@TOPIC.promise("Many runs go on at the same time.")
async def many_runs_go_on(subject: Subject) -> None:
    async def whole_run(run_id: str) -> None:
        claim = await begin(subject.journal, run_id)
        for sequence in range(1, 6):
            await subject.journal.commit(claim, commit(row(sequence)))
        await subject.journal.commit(claim, commit(row(6), status=RunStatus.SUCCEEDED))

    names = [f"run-{number}" for number in range(25)]
    await asyncio.gather(*map(whole_run, names))
    records = [await record_of(subject, name) for name in names]
    same({(it.head, it.status) for it in records}, {(6, RunStatus.SUCCEEDED)}, "all records")


@TOPIC.promise("Threads with loops of their own execute runs at the same time.", Capability.THREADS)
async def threads_go_on(subject: Subject) -> None:
    journal = subject.journal

    async def whole_runs(thread: int) -> None:
        for number in range(5):
            claim = await begin(journal, f"run-{thread}-{number}")
            await journal.commit(claim, commit(row(1)))
            await journal.commit(claim, commit(row(2), status=RunStatus.SUCCEEDED))

    await in_threads([partial(whole_runs, it) for it in range(THREADS)])
    for thread in range(THREADS):
        for number in range(5):
            rows = await journal.rows(f"run-{thread}-{number}")
            same([it.sequence for it in rows], [0, 1, 2], "the rows of a run")


@TOPIC.promise("One store works over event loops that follow each other.", Capability.THREADS)
async def loops_may_follow_each_other(subject: Subject) -> None:
    store = subject.store

    async def visit(number: int) -> int:
        await store.save(checkpoint("run", {"number": number}))
        found = await store.load("run")
        return -1 if found is None else int(found.ctx_snapshot["number"])

    for number in range(4):
        (seen,) = await in_threads([partial(visit, number)])
        same(seen, number, "the state in a new event loop")
    same((await visit(9)), 9, "the state in the first event loop")


@TOPIC.promise("A reader sees whole commits: every row up to the head, and none beyond.")
async def readers_see_whole_commits(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")

    async def write() -> None:
        for turn in range(30):
            await subject.journal.commit(claim, commit(row(2 * turn + 1), row(2 * turn + 2)))
            await asyncio.sleep(0)

    async def read() -> None:
        while (record := await record_of(subject, "run")).head < 60:
            rows = await subject.journal.rows("run", last=record.head)
            same(record.head % 2, 0, "the head is at the end of a commit")
            same(len(rows), record.head + 1, "how many rows there are up to the head")
            await asyncio.sleep(0)

    await asyncio.gather(write(), read())


@TOPIC.promise("An ending and a TAKE at the same time leave the run whole, whoever is first.")
async def an_ending_races_a_take(subject: Subject) -> None:
    for turn in range(10):
        run_id = f"run-{turn}"
        claim = await begin(subject.journal, run_id)
        ending = commit(row(1), status=RunStatus.WAITING)
        taking = opening(run_id, OpenMode.TAKE, owner="heir")
        ended, taken = await asyncio.gather(
            attempt(partial(subject.journal.commit, claim, ending)),
            attempt(partial(subject.journal.open, taking)),
        )
        same(ended, None, "what came of the ending")
        record = await record_of(subject, run_id)
        expected = RunStatus.RUNNING if isinstance(taken, Claim) else RunStatus.WAITING
        same((record.head, record.status), (1, expected), "the record")


@TOPIC.promise("Saving a run from outside many times at once keeps every row.")
async def saves_do_not_overwrite_rows(subject: Subject) -> None:
    await asyncio.gather(
        *(subject.store.save(checkpoint("run", {"n": number})) for number in range(10))
    )
    rows = await subject.journal.rows("run")
    same([it.sequence for it in rows], list(range(10)), "the sequences")
    same(len({it.payload for it in rows}), 10, "how many payloads differ")


@TOPIC.promise("A deletion during a run ends it: no commit brings it back.")
async def a_deletion_races_commits(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    under_way = asyncio.Event()

    async def write() -> int:
        for sequence in range(1, 200):
            change = commit(row(sequence))
            if await attempt(partial(subject.journal.commit, claim, change)) is not None:
                return sequence
            if sequence == 3:
                under_way.set()
            await asyncio.sleep(0)
        return 200

    async def remove() -> None:
        await under_way.wait()
        await subject.store.delete("run")

    stopped, _ = await asyncio.gather(write(), remove())
    true(stopped < 200, "the owner noticed")
    same(await subject.journal.run("run"), None, "the record of the deleted run")
    same(await subject.journal.rows("run"), [], "the rows of the deleted run")
