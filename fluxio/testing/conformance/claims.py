"""Who gets a run: creating, restarting and taking it, and what is refused."""

from __future__ import annotations

from fluxio.errors import (
    CheckpointVersionError,
    ForeignRunError,
    NoCheckpointError,
    RunIDInUseError,
)
from fluxio.store.base import OpenMode, RunRecord
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import refused, same, true, untouched
from fluxio.testing.conformance.runs import record_of
from fluxio.testing.conformance.samples import (
    ENDINGS,
    HEIR,
    LEASE_SECONDS,
    OTHER_MANIFEST,
    OTHER_VERSION,
    OWNER,
    PIPELINE,
    VERSION,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
    start_row,
)
from fluxio.types import RunStatus

TOPIC = Topic("claims", frozenset({Capability.JOURNAL}))

MODES = {mode.value: mode for mode in OpenMode}


@TOPIC.promise("A claim on a new run says where it stands.")
async def a_new_claim_tells_where_it_stands(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", owner=OWNER, lease_seconds=12.5)
    found = (claim.run_id, claim.owner, claim.attempt, claim.head, claim.lease_seconds)
    same(found, ("run", OWNER, 1, 0, 12.5), "the claim")


@TOPIC.promise("Tokens are whole numbers above 0.")
async def a_token_is_positive(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    true(type(claim.token) is int and claim.token > 0, "the token is a whole number above 0")


@TOPIC.promise("CREATE refuses a run that is recorded, however it ended.", over=ENDINGS)
async def create_refuses_a_known_run(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, "CREATE of a known run") as refusal:
            await begin(subject.journal, "run")
    same(refusal.error.run_id, "run", "the id in the error")


@TOPIC.promise("CREATE refuses a run that is only a saved snapshot.")
async def create_refuses_a_snapshot(subject: Subject) -> None:
    await subject.store.save(checkpoint("run"))
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, "CREATE of a saved run"):
            await begin(subject.journal, "run")


@TOPIC.promise("Nobody gets a run that is being executed; the error says by whom.", over=MODES)
async def a_running_run_is_refused(subject: Subject, mode: OpenMode) -> None:
    await begin(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, f"{mode} of a running run") as refusal:
            await subject.journal.open(opening("run", mode, owner=HEIR))
    same((refusal.error.run_id, refusal.error.owner), ("run", OWNER), "what the error says")


@TOPIC.promise("The owner itself gets no second claim: two threads may have one name.", over=MODES)
async def the_owner_gets_no_second_claim(subject: Subject, mode: OpenMode) -> None:
    await begin(subject.journal, "run")
    with refused(RunIDInUseError, f"{mode} by the same owner"):
        await subject.journal.open(opening("run", mode, owner=OWNER))


@TOPIC.promise("A refused opening leaves the owner its claim.", over=MODES)
async def a_refusal_leaves_the_claim(subject: Subject, mode: OpenMode) -> None:
    claim = await begin(subject.journal, "run")
    with refused(RunIDInUseError, f"{mode} of a running run"):
        await subject.journal.open(opening("run", mode, owner=HEIR))
    await subject.journal.commit(claim, commit(row(1)))
    same((await record_of(subject, "run")).head, 1, "the head after the owner's commit")


@TOPIC.promise("RESTART creates a run that is unknown.")
async def restart_creates(subject: Subject) -> None:
    claim = await subject.journal.open(opening("run", OpenMode.RESTART))
    same((claim.head, claim.attempt), (0, 1), "the claim")
    same((await record_of(subject, "run")).status, RunStatus.RUNNING, "the status")


@TOPIC.promise("RESTART removes the history of a run that ended and begins again.", over=ENDINGS)
async def restart_begins_again(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status, rows=3)
    start = start_row("run", {"fresh": True})
    claim = await subject.journal.open(opening("run", OpenMode.RESTART, start=start, owner=HEIR))
    same(await subject.journal.rows("run"), [start], "the rows")
    record = await record_of(subject, "run")
    found = (record.status, record.head, record.owner, record.error, record.finished_at)
    same(found, (RunStatus.RUNNING, 0, HEIR, "", None), "the record")
    same((claim.head, claim.attempt), (0, 1), "head and attempt in the claim")


@TOPIC.promise("RESTART gives a run that is yet to begin, however the old one ended.", over=ENDINGS)
async def restart_forgets_the_ending(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    claim = await subject.journal.open(opening("run", OpenMode.RESTART, owner=HEIR))
    same(claim.previous, RunStatus.QUEUED, "the former status in the claim")


@TOPIC.promise("RESTART takes on the version and the link it is given.")
async def restart_replaces_the_record(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", parent="source", parent_sequence=4)
    await subject.journal.commit(claim, commit(row(1), status=RunStatus.FAILED, error="boom"))
    await subject.journal.open(
        opening("run", OpenMode.RESTART, version=OTHER_VERSION, manifest=OTHER_MANIFEST)
    )
    record = await record_of(subject, "run")
    found = (record.version, record.parent, record.parent_sequence, record.step)
    same(found, (OTHER_VERSION, None, None, "reserve"), "the record")


@TOPIC.promise("TAKE of an unknown run is refused and makes none.")
async def take_refuses_an_unknown_run(subject: Subject) -> None:
    with refused(NoCheckpointError, "TAKE of an unknown run") as refusal:
        await subject.journal.open(opening("nobody", OpenMode.TAKE))
    same(refusal.error.run_id, "nobody", "the id in the error")
    true(isinstance(refusal.error, KeyError), "the error is a KeyError")
    same(await subject.journal.run("nobody"), None, "the record of the unknown run")


@TOPIC.promise("TAKE keeps the history of a run, however it ended.", over=ENDINGS)
async def take_keeps_the_history(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status, rows=2)
    before = await subject.journal.rows("run")
    claim = await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    found = (claim.head, claim.attempt, claim.owner, claim.previous)
    same(found, (2, 1, HEIR, status), "the claim")
    same(await subject.journal.rows("run"), before, "the rows")


@TOPIC.promise("TAKE makes a run that ended a running one.", over=ENDINGS)
async def take_makes_it_run(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    record = await record_of(subject, "run")
    found = (record.status, record.owner, record.finished_at, record.takeovers)
    same(found, (RunStatus.RUNNING, HEIR, None, 0), "the record")


@TOPIC.promise("TAKE keeps when the run began, and the link to its source.")
async def take_keeps_the_beginning(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", parent="source", parent_sequence=1)
    await subject.journal.commit(claim, commit(status=RunStatus.WAITING))
    before = await record_of(subject, "run")
    await subject.journal.open(opening("run", OpenMode.TAKE))
    after = await record_of(subject, "run")
    same(after.created_at, before.created_at, "when the run began")
    same((after.parent, after.parent_sequence), ("source", 1), "the link")


@TOPIC.promise("TAKE finds the attempt of a replay.")
async def take_finds_the_attempt(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1, attempt=3), status=RunStatus.FAILED))
    taken = await subject.journal.open(opening("run", OpenMode.TAKE))
    same((taken.attempt, taken.head), (3, 1), "attempt and head in the claim")


@TOPIC.promise("A run may be taken on condition that it is as it was known.", over=ENDINGS)
async def an_unchanged_run_is_taken(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", status)
    known = await record_of(subject, "run")
    asked = opening("run", OpenMode.TAKE, known=known, as_known=True)
    claim = await subject.journal.open(asked)
    same((claim.previous, claim.head), (status, 1), "what the claim says")


@TOPIC.promise("On that condition a run is refused that somebody took and left.", over=ENDINGS)
async def a_run_that_was_taken_meanwhile_is_refused(subject: Subject, status: RunStatus) -> None:
    await leave(subject.journal, "run", RunStatus.FAILED)
    known = await record_of(subject, "run")
    other = await subject.journal.open(opening("run", OpenMode.TAKE, owner=HEIR))
    await subject.journal.commit(other, commit(status=status))
    await _refuses_what_has_changed(subject, known)


@TOPIC.promise("On that condition a run is refused that was begun anew, however far it came.")
async def a_run_that_was_restarted_meanwhile_is_refused(subject: Subject) -> None:
    await leave(subject.journal, "run")
    known = await record_of(subject, "run")
    other = await subject.journal.open(opening("run", OpenMode.RESTART, owner=HEIR))
    await subject.journal.commit(other, commit(row(1), status=RunStatus.FAILED))
    await _refuses_what_has_changed(subject, known)


@TOPIC.promise("On that condition a run is refused that was deleted and made again.")
async def a_run_that_was_made_again_meanwhile_is_refused(subject: Subject) -> None:
    await leave(subject.journal, "run")
    known = await record_of(subject, "run")
    await subject.store.delete("run")
    await leave(subject.journal, "run")
    await _refuses_what_has_changed(subject, known)


@TOPIC.promise("On that condition a run is refused that has ended since.", over=ENDINGS)
async def a_run_that_ended_meanwhile_is_refused(subject: Subject, status: RunStatus) -> None:
    claim = await begin(subject.journal, "run")
    known = await record_of(subject, "run")
    await subject.journal.commit(claim, commit(row(1), status=status))
    await _refuses_what_has_changed(subject, known)


async def _refuses_what_has_changed(subject: Subject, known: RunRecord) -> None:
    asked = opening("run", OpenMode.TAKE, known=known, as_known=True)
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, "TAKE of a run that has changed") as refusal:
            await subject.journal.open(asked)
    same(refusal.error.run_id, "run", "the id in the error")


@TOPIC.promise("A run of another pipeline is refused while it runs.", over=MODES)
async def a_foreign_running_run_is_refused(subject: Subject, mode: OpenMode) -> None:
    await begin(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(ForeignRunError, f"{mode} for another pipeline") as refusal:
            await subject.journal.open(opening("run", mode, pipeline="somebody.else"))
    same((refusal.error.run_id, refusal.error.pipeline), ("run", PIPELINE), "what the error says")


@TOPIC.promise("A run of another pipeline is refused after it ended, too.", over=MODES)
async def a_foreign_run_is_refused(subject: Subject, mode: OpenMode) -> None:
    await leave(subject.journal, "run")
    async with untouched(subject.journal, "run"):
        with refused(ForeignRunError, f"{mode} for another pipeline"):
            await subject.journal.open(opening("run", mode, pipeline=PIPELINE.upper()))


@TOPIC.promise("TAKE refuses a run that other code recorded; the error lists what changed.")
async def another_version_is_refused(subject: Subject) -> None:
    await leave(subject.journal, "run")
    changed = opening("run", OpenMode.TAKE, version=OTHER_VERSION, manifest=OTHER_MANIFEST)
    async with untouched(subject.journal, "run"):
        with refused(CheckpointVersionError, "TAKE with another version") as refusal:
            await subject.journal.open(changed)
    error = refusal.error
    found = (error.run_id, error.stored, error.current)
    same(found, ("run", VERSION, OTHER_VERSION), "what the error says")
    true(any("pick/premium/charge" in line for line in error.changes), "the change is listed")


@TOPIC.promise("A run of the version that an opening carries is taken; it keeps its version.")
async def a_carried_version_is_taken(subject: Subject) -> None:
    await leave(subject.journal, "run", RunStatus.FAILED)
    asked = opening("run", OpenMode.TAKE, version=OTHER_VERSION, carries=VERSION)
    claim = await subject.journal.open(asked)
    same((claim.previous, claim.head), (RunStatus.FAILED, 1), "what the claim says")
    same((await record_of(subject, "run")).version, VERSION, "the version of the run")


@TOPIC.promise("A version that an opening does not carry is refused all the same.")
async def a_third_version_is_refused(subject: Subject) -> None:
    await leave(subject.journal, "run", RunStatus.FAILED)
    asked = opening("run", OpenMode.TAKE, version=OTHER_VERSION, carries=OTHER_VERSION[::-1])
    async with untouched(subject.journal, "run"):
        with refused(CheckpointVersionError, "TAKE with another version"):
            await subject.journal.open(asked)


@TOPIC.promise("A version is compared bytewise.")
async def versions_are_compared_bytewise(subject: Subject) -> None:
    await leave(subject.journal, "run")
    with refused(CheckpointVersionError, "TAKE with a version in other letters"):
        await subject.journal.open(opening("run", OpenMode.TAKE, version=VERSION.upper()))


@TOPIC.promise("After a refused version the right code can still take the run.")
async def a_refused_version_leaves_the_run_free(subject: Subject) -> None:
    await leave(subject.journal, "run")
    with refused(CheckpointVersionError, "TAKE with another version"):
        await subject.journal.open(opening("run", OpenMode.TAKE, version=OTHER_VERSION))
    claim = await subject.journal.open(opening("run", OpenMode.TAKE))
    same(claim.previous, RunStatus.FAILED, "the former status")


@TOPIC.promise("Tokens grow with every TAKE.")
async def tokens_grow_over_takes(subject: Subject) -> None:
    tokens = [(await leave(subject.journal, "run")).token]
    for _ in range(5):
        claim = await subject.journal.open(opening("run", OpenMode.TAKE))
        tokens.append(claim.token)
        await subject.journal.commit(claim, commit(status=RunStatus.FAILED))
    true(tokens == sorted(set(tokens)), f"tokens grow: {tokens}")


@TOPIC.promise("Tokens grow with every RESTART.")
async def tokens_grow_over_restarts(subject: Subject) -> None:
    tokens = [(await leave(subject.journal, "run")).token]
    for _ in range(5):
        claim = await subject.journal.open(opening("run", OpenMode.RESTART))
        tokens.append(claim.token)
        await subject.journal.commit(claim, commit(status=RunStatus.FAILED))
    true(tokens == sorted(set(tokens)), f"tokens grow: {tokens}")


@TOPIC.promise("Tokens do not repeat when a run is deleted and made again.")
async def tokens_do_not_repeat_after_a_delete(subject: Subject) -> None:
    tokens = []
    for _ in range(5):
        tokens.append((await leave(subject.journal, "run")).token)
        await subject.store.delete("run")
    same(len(set(tokens)), 5, f"how many of the tokens {tokens} differ")


@TOPIC.promise("One owner may own many runs.")
async def one_owner_owns_many_runs(subject: Subject) -> None:
    claims = [await begin(subject.journal, f"run-{number}") for number in range(20)]
    for claim in claims:
        await subject.journal.commit(claim, commit(row(1)))
    heads = [(await record_of(subject, claim.run_id)).head for claim in claims]
    same(heads, [1] * 20, "the heads of all runs")


@TOPIC.promise("A run that is being executed cannot be saved over from outside.")
async def a_running_run_is_not_saved_over(subject: Subject) -> None:
    await begin(subject.journal, "run", lease_seconds=LEASE_SECONDS)
    async with untouched(subject.journal, "run"):
        with refused(RunIDInUseError, "save of a running run"):
            await subject.store.save(checkpoint("run", {"outside": True}))
