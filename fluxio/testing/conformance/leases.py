"""Leases: how a dead owner's run is taken over, and why its ghost can do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from fluxio.errors import (
    CheckpointVersionError,
    ForeignRunError,
    LeaseLostError,
    RunIDInUseError,
)
from fluxio.store.base import Claim, Commit, OpenMode
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import refused, same, true, untouched
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import (
    ENDINGS,
    HEIR,
    LEASE_SECONDS,
    OTHER_VERSION,
    OWNER,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
    start_row,
)
from fluxio.types import RunStatus

TOPIC = Topic("leases", frozenset({Capability.JOURNAL, Capability.LEASES}))

PAST_THE_LEASE = LEASE_SECONDS + 1
MOST_OF_THE_LEASE = LEASE_SECONDS - 10


async def inherit(subject: Subject, run_id: str = "run") -> Claim:
    """Let the lease run out and take the run over."""
    await subject.pass_time(PAST_THE_LEASE)
    return await subject.journal.open(opening(run_id, OpenMode.TAKE, owner=HEIR))


async def renew(subject: Subject, *claims: Claim) -> None:
    """Renew as the heartbeat does: blocking, in a thread of its own."""
    await asyncio.to_thread(subject.leasing.renew, claims)


@TOPIC.promise("A record says when the lease ends.")
async def a_lease_has_an_end(subject: Subject) -> None:
    await begin(subject.journal, "run")
    record = await record_of(subject, "run")
    if record.lease_expires_at is None:
        raise AssertionError("A leased run must say when its lease ends.")
    left = record.lease_expires_at - record.created_at
    about = timedelta(seconds=LEASE_SECONDS)
    true(abs(left - about) < timedelta(seconds=5), f"a lease of {about} ends in {left}")


@TOPIC.promise("The length of a lease is the claim's own.")
async def a_lease_is_as_long_as_asked(subject: Subject) -> None:
    await begin(subject.journal, "short", lease_seconds=5)
    await begin(subject.journal, "long", lease_seconds=500)
    await subject.pass_time(50)
    await subject.journal.open(opening("short", OpenMode.TAKE, owner=HEIR))
    with refused(RunIDInUseError, "TAKE within a long lease"):
        await subject.journal.open(opening("long", OpenMode.TAKE, owner=HEIR))


@TOPIC.promise("Within its lease a run cannot be taken; the error says until when.")
async def a_lease_holds(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await subject.pass_time(MOST_OF_THE_LEASE)
    expires_at = (await record_of(subject, "run")).lease_expires_at
    with refused(RunIDInUseError, "TAKE within the lease") as refusal:
        await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    error = refusal.error
    same((error.owner, error.lease_expires_at), (OWNER, expires_at), "what the error says")


@TOPIC.promise("After its lease a run can be taken over.")
async def an_expired_run_is_taken_over(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    taken = await inherit(subject)
    found = (taken.head, taken.owner, taken.previous)
    same(found, (1, HEIR, RunStatus.RUNNING), "the claim")
    true(taken.token > claim.token, "the token grows")


@TOPIC.promise("A takeover is counted.")
async def takeovers_are_counted(subject: Subject) -> None:
    await begin(subject.journal, "run")
    for count in range(1, 6):
        await inherit(subject)
        same((await record_of(subject, "run")).takeovers, count, "the takeovers")


@TOPIC.promise("Takeovers are counted from zero again once a row was recorded.")
async def takeovers_are_counted_in_a_row(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await inherit(subject)
    heir = await inherit(subject)
    await subject.journal.commit(heir, commit(ip=heir.head))
    same((await record_of(subject, "run")).takeovers, 2, "the takeovers after a commit of no row")
    await subject.journal.commit(heir, commit(row(1)))
    same((await record_of(subject, "run")).takeovers, 0, "the takeovers after a row")
    await inherit(subject)
    same((await record_of(subject, "run")).takeovers, 1, "the takeovers of the next step")


@TOPIC.promise("A takeover begins a lease of its own.")
async def an_heir_has_its_own_lease(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await inherit(subject)
    await subject.pass_time(MOST_OF_THE_LEASE)
    with refused(RunIDInUseError, "TAKE within the heir's lease") as refusal:
        await subject.journal.open(opening("run", OpenMode.TAKE, owner="third"))
    same(refusal.error.owner, HEIR, "the owner in the error")


@TOPIC.promise("RESTART may take an expired run, and nothing of it stays.")
async def an_expired_run_is_restarted(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    await subject.pass_time(PAST_THE_LEASE)
    fresh = start_row("run", {"fresh": True})
    again = await subject.journal.open(opening("run", OpenMode.RESTART, start=fresh, owner=HEIR))
    same((again.head, again.previous), (0, RunStatus.QUEUED), "the claim")
    same(await subject.journal.rows("run"), [fresh], "the rows")
    same((await record_of(subject, "run")).takeovers, 0, "the takeovers")


@TOPIC.promise("CREATE refuses an expired run: it is there.")
async def an_expired_run_is_not_created(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, "CREATE of an expired run"):
            await begin(subject.journal, "run", owner=HEIR)


@TOPIC.promise("An expired run of another pipeline stays where it is.")
async def an_expired_foreign_run_is_refused(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    async with untouched(subject.journal, "run"):
        for mode in OpenMode:
            with refused(ForeignRunError, f"{mode} for another pipeline"):
                await subject.journal.open(opening("run", mode, pipeline="somebody.else"))


@TOPIC.promise("A refused takeover is none: other code is not counted.")
async def a_refused_takeover_is_not_counted(subject: Subject) -> None:
    await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    async with untouched(subject.journal, "run"):
        with refused(CheckpointVersionError, "TAKE with another version"):
            await subject.journal.open(opening("run", OpenMode.TAKE, version=OTHER_VERSION))
    await inherit(subject)
    same((await record_of(subject, "run")).takeovers, 1, "the takeovers")


@TOPIC.promise("A run that was freed is taken without a takeover.", over=ENDINGS)
async def a_freed_run_is_no_takeover(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    taken = await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    same(taken.previous, status, "the former status")
    same((await record_of(subject, "run")).takeovers, 0, "the takeovers")


@TOPIC.promise("An expired run may be saved over from outside, and its owner is fenced.")
async def an_expired_run_may_be_saved_over(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    await subject.store.save(checkpoint("run", {"rescued": True}))
    async with untouched(subject.journal, "run"):
        with refused(LeaseLostError, "a commit after the rescue"):
            await subject.journal.commit(claim, commit(row(2)))


# --- the ghost of a former owner

_LATE: dict[str, Callable[[int], Commit]] = {
    "a row": lambda sequence: commit(row(sequence)),
    "no row": lambda sequence: commit(ip=99),
    "an ending": lambda sequence: commit(row(sequence), status=RunStatus.SUCCEEDED),
}


async def _claimed(subject: Subject, heir: Claim) -> None:
    return None


async def _went_on(subject: Subject, heir: Claim) -> None:
    await subject.journal.commit(heir, commit(row(2)))


async def _finished(subject: Subject, heir: Claim) -> None:
    await subject.journal.commit(heir, commit(row(2), status=RunStatus.SUCCEEDED))


async def _died_too(subject: Subject, heir: Claim) -> None:
    await subject.pass_time(PAST_THE_LEASE)


_HEIRS: dict[str, Callable[[Subject, Claim], Awaitable[None]]] = {
    "claimed": _claimed,
    "went on": _went_on,
    "finished": _finished,
    "died too": _died_too,
}


@TOPIC.promise("Whatever the heir did, the former owner can never commit again.", over=_HEIRS)
async def a_ghost_cannot_commit(
    subject: Subject, heir_does: Callable[[Subject, Claim], Awaitable[None]]
) -> None:
    ghost = await begin(subject.journal, "run")
    await subject.journal.commit(ghost, commit(row(1)))
    heir = await inherit(subject)
    await heir_does(subject, heir)
    head = (await record_of(subject, "run")).head
    async with untouched(subject.journal, "run"):
        for late in _LATE.values():
            with refused(LeaseLostError, "a commit by the former owner"):
                await subject.journal.commit(ghost, late(head + 1))


@TOPIC.promise("The heir sees the row that the former owner committed at the last moment.")
async def the_last_row_is_inherited(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    await subject.journal.commit(claim, commit(row(1), row(2)))
    await subject.pass_time(PAST_THE_LEASE)
    heir = await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    same(heir.head, 2, "the head in the heir's claim")


@TOPIC.promise("An owner that nobody replaced may commit, even after its lease.", over=_LATE)
async def a_slow_owner_may_commit(subject: Subject, late: Callable[[int], Commit]) -> None:
    claim = await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    change = late(1)
    await subject.journal.commit(claim, change)
    record = await record_of(subject, "run")
    same((record.head, record.status), (len(change.rows), change.status), "head and status")


# --- renewal


@TOPIC.promise("A renewed lease holds.")
async def a_renewed_lease_holds(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    for _ in range(3):
        await subject.pass_time(MOST_OF_THE_LEASE)
        await renew(subject, claim)
    with refused(RunIDInUseError, "TAKE after a renewal"):
        await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))


@TOPIC.promise("A renewed lease ends like any other.")
async def a_renewed_lease_ends(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await renew(subject, claim)
    taken = await inherit(subject)
    same(taken.previous, RunStatus.RUNNING, "the former status")


@TOPIC.promise("Renewing changes nothing but the lease.")
async def renewing_changes_only_the_lease(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1)))
    before, rows = await record_of(subject, "run"), await subject.journal.rows("run")
    await subject.pass_time(MOST_OF_THE_LEASE)
    await renew(subject, claim)
    after = await record_of(subject, "run")
    aged = replace(before, lease_expires_at=after.lease_expires_at, updated_at=after.updated_at)
    same(after, aged, "the record")
    same(await subject.journal.rows("run"), rows, "the rows")


@TOPIC.promise("Many leases are renewed at once.")
async def many_leases_are_renewed(subject: Subject) -> None:
    claims = [await begin(subject.journal, f"run-{number}") for number in range(25)]
    await subject.pass_time(MOST_OF_THE_LEASE)
    await renew(subject, *claims)
    await subject.pass_time(MOST_OF_THE_LEASE)
    for claim in claims:
        with refused(RunIDInUseError, f"TAKE of {claim.run_id}"):
            await subject.journal.open(opening(claim.run_id, OpenMode.TAKE, owner=HEIR))


@TOPIC.promise("Renewing nothing is fine.")
async def renewing_nothing_is_fine(subject: Subject) -> None:
    await renew(subject)


@TOPIC.promise("An owner that nobody replaced may renew, even after its lease.")
async def a_slow_owner_may_renew(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.pass_time(PAST_THE_LEASE)
    await renew(subject, claim)
    with refused(RunIDInUseError, "TAKE after a late renewal"):
        await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))


@TOPIC.promise("A lost claim is not renewed, and the heir's lease stays as it is.")
async def a_lost_claim_is_not_renewed(subject: Subject) -> None:
    ghost = await begin(subject.journal, "run")
    await inherit(subject)
    async with untouched(subject.journal, "run"):
        await renew(subject, ghost)


@TOPIC.promise("A run that ended is not brought back by a renewal.", over=ENDINGS)
async def an_ended_run_is_not_renewed(subject: Subject, status: RunStatus) -> None:
    claim = await leave(subject.journal, "run", status)
    async with untouched(subject.journal, "run"):
        await renew(subject, claim)


@TOPIC.promise("A deleted run is not brought back by a renewal.")
async def a_deleted_run_is_not_renewed(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.store.delete("run")
    await renew(subject, claim)
    same(await subject.journal.run("run"), None, "the record of the deleted run")
    same(await subject.store.exists("run"), False, "exists of the deleted run")


@TOPIC.promise("Lost claims do not keep others from being renewed.")
async def lost_claims_are_skipped(subject: Subject) -> None:
    ghost = await begin(subject.journal, "lost")
    gone = await begin(subject.journal, "gone")
    await subject.store.delete("gone")
    await inherit(subject, "lost")
    claim = await begin(subject.journal, "kept")
    await subject.pass_time(MOST_OF_THE_LEASE)
    await renew(subject, ghost, gone, claim)
    await subject.pass_time(MOST_OF_THE_LEASE)
    with refused(RunIDInUseError, "TAKE of the renewed run"):
        await subject.journal.open(opening("kept", OpenMode.TAKE, owner=HEIR))


@TOPIC.promise("One run's expiry frees no other.")
async def expiry_is_per_run(subject: Subject) -> None:
    await begin(subject.journal, "old")
    await subject.pass_time(PAST_THE_LEASE)
    await begin(subject.journal, "young")
    await subject.journal.open(opening("old", OpenMode.TAKE, owner=HEIR))
    with refused(RunIDInUseError, "TAKE of the younger run"):
        await subject.journal.open(opening("young", OpenMode.TAKE, owner=HEIR))
