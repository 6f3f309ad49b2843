"""What a journal tells about a run, and how its two faces show the same data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fluxio.program import Manifest, ManifestEntry
from fluxio.store.base import OpenMode, RunRecord
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import same, true
from fluxio.testing.conformance.samples import (
    LOOKALIKES,
    MANIFEST,
    OTHER_MANIFEST,
    OTHER_VERSION,
    OWNER,
    PIPELINE,
    RUN_IDS,
    VERSION,
    begin,
    checkpoint,
    commit,
    leave,
    opening,
    row,
    start_row,
    step_row,
)
from fluxio.types import RunStatus

TOPIC = Topic("runs", frozenset({Capability.JOURNAL}))


async def record_of(subject: Subject, run_id: str) -> RunRecord:
    """The record of a run that must be there."""
    record = await subject.journal.run(run_id)
    if record is None:
        raise AssertionError(f"The journal must know run {run_id!r}.")
    return record


@TOPIC.promise("An unknown run has no record.")
async def an_unknown_run_has_no_record(subject: Subject) -> None:
    same(await subject.journal.run("nobody"), None, "the record of an unknown run")


@TOPIC.promise("An unknown run has no rows.")
async def an_unknown_run_has_no_rows(subject: Subject) -> None:
    same(await subject.journal.rows("nobody"), [], "the rows of an unknown run")


@TOPIC.promise("An unknown version has no manifest.")
async def an_unknown_version_has_no_manifest(subject: Subject) -> None:
    same(await subject.journal.manifest(PIPELINE, VERSION), None, "an unknown manifest")


_CREATED: dict[str, tuple[str, Any]] = {
    "run_id": ("run_id", "run"),
    "pipeline": ("pipeline", PIPELINE),
    "version": ("version", VERSION),
    "status": ("status", RunStatus.RUNNING),
    "attempt": ("attempt", 1),
    "head": ("head", 0),
    "ip": ("ip", 0),
    "step": ("step", "reserve"),
    "owner": ("owner", OWNER),
    "takeovers": ("takeovers", 0),
    "parent": ("parent", None),
    "parent_sequence": ("parent_sequence", None),
    "error": ("error", ""),
    "finished_at": ("finished_at", None),
}


@TOPIC.promise("The record of a new run says what it was opened with.", over=_CREATED)
async def a_new_run_is_recorded(subject: Subject, fact: tuple[str, Any]) -> None:
    await begin(subject.journal, "run")
    name, expected = fact
    same(getattr(await record_of(subject, "run"), name), expected, name)


@TOPIC.promise("The record carries the token of the claim.")
async def the_record_has_the_token(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    same((await record_of(subject, "run")).token, claim.token, "the token")


@TOPIC.promise("A run begins with the row it was opened with.")
async def a_new_run_has_its_start_row(subject: Subject) -> None:
    start = start_row("run", {"order": 8})
    await begin(subject.journal, "run", start=start)
    same(await subject.journal.rows("run"), [start], "the rows of a new run")


@TOPIC.promise("Times are in UTC, near now, and in order.")
async def times_make_sense(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(status=RunStatus.SUCCEEDED))
    record = await record_of(subject, "run")
    finished = record.finished_at
    if finished is None:
        raise AssertionError("A finished run must say when it finished.")
    moments = [record.created_at, record.updated_at, finished]
    same([it.utcoffset() for it in moments], [timedelta(0)] * 3, "the offsets of the times")
    true(record.created_at <= record.updated_at <= finished, "created <= updated <= finished")
    true(abs(datetime.now(UTC) - record.created_at) < timedelta(hours=1), "created about now")


@TOPIC.promise("A fork knows its source.")
async def a_fork_is_linked(subject: Subject) -> None:
    await begin(subject.journal, "run", parent="source", parent_sequence=0)
    record = await record_of(subject, "run")
    same((record.parent, record.parent_sequence), ("source", 0), "the link to the source")


@TOPIC.promise("A link to a source survives commits and another claim.")
async def a_link_survives(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", parent="source", parent_sequence=12)
    await subject.journal.commit(claim, commit(row(1), status=RunStatus.FAILED))
    await subject.journal.open(opening("run", OpenMode.TAKE))
    record = await record_of(subject, "run")
    same((record.parent, record.parent_sequence), ("source", 12), "the link to the source")


_NAMES = {
    "dots": "shop.orders.checkout",
    "colons": "shop:checkout:2",
    "100 letters": "p" * 100,
    "wildcards": "shop_%*",
    "no name": "",
}


@TOPIC.promise("Any pipeline name is kept.", over=_NAMES)
async def a_pipeline_name_is_kept(subject: Subject, name: str) -> None:
    await begin(subject.journal, "run", pipeline=name)
    same((await record_of(subject, "run")).pipeline, name, "the pipeline")
    same(await subject.journal.manifest(name, VERSION), MANIFEST, "its manifest")


@TOPIC.promise("Owners are kept whole.", over={"empty-looking": "-", "long": "h" * 64 + ":1" * 40})
async def an_owner_is_kept(subject: Subject, owner: str) -> None:
    claim = await begin(subject.journal, "run", owner=owner)
    same((await record_of(subject, "run")).owner, owner, "the owner in the record")
    same(claim.owner, owner, "the owner in the claim")


@TOPIC.promise("The manifest of a version is recorded with its first run.")
async def a_manifest_is_recorded(subject: Subject) -> None:
    await begin(subject.journal, "run")
    same(await subject.journal.manifest(PIPELINE, VERSION), MANIFEST, "the manifest")


@TOPIC.promise("Versions of a pipeline have manifests of their own.")
async def versions_have_their_own_manifests(subject: Subject) -> None:
    await begin(subject.journal, "one")
    await begin(subject.journal, "two", version=OTHER_VERSION, manifest=OTHER_MANIFEST)
    same(await subject.journal.manifest(PIPELINE, VERSION), MANIFEST, "the old manifest")
    found = await subject.journal.manifest(PIPELINE, OTHER_VERSION)
    same(found, OTHER_MANIFEST, "the new manifest")


@TOPIC.promise("Pipelines whose versions are the same have manifests of their own.")
async def pipelines_have_their_own_manifests(subject: Subject) -> None:
    await begin(subject.journal, "one", pipeline="first")
    await begin(subject.journal, "two", pipeline="Second", manifest=OTHER_MANIFEST)
    same(await subject.journal.manifest("first", VERSION), MANIFEST, "the first manifest")
    same(await subject.journal.manifest("Second", VERSION), OTHER_MANIFEST, "the second one")
    same(await subject.journal.manifest("second", VERSION), None, "a name in other letters")


@TOPIC.promise("A manifest of any size and text is kept.")
async def a_large_manifest_is_kept(subject: Subject) -> None:
    entries = tuple(
        ManifestEntry(key=f"pick/\u00e9\"'{number}", kind="async", digest=f"{number:032x}")
        for number in range(500)
    )
    await begin(subject.journal, "run", manifest=Manifest(entries))
    same(await subject.journal.manifest(PIPELINE, VERSION), Manifest(entries), "the manifest")


@TOPIC.promise("Every allowed run id works in the journal.", over=RUN_IDS)
async def an_id_works(subject: Subject, run_id: str) -> None:
    claim = await begin(subject.journal, run_id)
    await subject.journal.commit(claim, commit(row(1)))
    same(claim.run_id, run_id, "the id in the claim")
    same((await record_of(subject, run_id)).run_id, run_id, "the id in the record")
    same(len(await subject.journal.rows(run_id)), 2, "how many rows it has")


@TOPIC.promise("Ids that look alike are different runs in the journal.", over=LOOKALIKES)
async def lookalikes_are_different_runs(subject: Subject, pair: tuple[str, str]) -> None:
    allowed = [run_id for run_id in pair if run_id.isascii() and " " not in run_id]
    for number, run_id in enumerate(allowed):
        claim = await begin(subject.journal, run_id)
        await subject.journal.commit(claim, commit(*(row(at + 1) for at in range(number + 1))))
    heads = [(await record_of(subject, run_id)).head for run_id in allowed]
    same(heads, list(range(1, len(allowed) + 1)), "the heads of both runs")
    rows = [len(await subject.journal.rows(run_id)) for run_id in allowed]
    same(rows, [head + 1 for head in heads], "how many rows each has")


@TOPIC.promise("A run of the journal exists for the four methods.")
async def a_journal_run_exists(subject: Subject) -> None:
    await begin(subject.journal, "run")
    same(await subject.store.exists("run"), True, "exists of a run of the journal")


@TOPIC.promise("A run of the journal can be loaded as a snapshot.")
async def a_journal_run_can_be_loaded(subject: Subject) -> None:
    await begin(subject.journal, "run", start=start_row("run", {"total": 42, "items": (1, 2)}))
    found = await subject.store.load("run")
    if found is None:
        raise AssertionError("load must find a run of the journal.")
    same(found.ctx_snapshot, {"total": 42, "items": (1, 2)}, "its context")
    same((found.run_id, found.pipeline_version, found.ip), ("run", VERSION, 0), "its facts")


@TOPIC.promise("A snapshot shows what the steps wrote since the newest full row.")
async def a_snapshot_folds_the_steps(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", start=start_row("run", {"n": 0, "kept": True}))
    steps = [step_row("run", number, {"n": number, f"step-{number}": 1}) for number in (1, 2)]
    await subject.journal.commit(claim, commit(*steps))
    found = await subject.store.load("run")
    expected = {"n": 2, "kept": True, "step-1": 1, "step-2": 1}
    same(found and found.ctx_snapshot, expected, "its context")
    same(found and found.ip, 2, "its instruction pointer")


@TOPIC.promise("A snapshot shows the newest full row of the journal.")
async def a_snapshot_shows_the_newest_state(subject: Subject) -> None:
    claim = await begin(subject.journal, "run", start=start_row("run", {"n": 0}))
    newer = start_row("run", {"n": 1}, sequence=2)
    await subject.journal.commit(claim, commit(row(1), newer))
    found = await subject.store.load("run")
    same(found and found.ctx_snapshot, {"n": 1}, "its context")


@TOPIC.promise("Deleting a run removes its record and its rows from the journal.")
async def deleting_empties_the_journal(subject: Subject) -> None:
    await leave(subject.journal, "run", rows=3)
    await subject.store.delete("run")
    same(await subject.journal.run("run"), None, "the record of a deleted run")
    same(await subject.journal.rows("run"), [], "the rows of a deleted run")


@TOPIC.promise("A saved snapshot is a run of the journal that waits to be taken.")
async def a_snapshot_is_a_waiting_run(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", meta={"pipeline": PIPELINE}))
    record = await record_of(subject, "run")
    same(record.status, RunStatus.WAITING, "its status")
    same((record.pipeline, record.version), (PIPELINE, VERSION), "its pipeline and version")
    same((record.owner, record.ip), (None, 0), "its owner and instruction pointer")


@TOPIC.promise("A saved snapshot is one full row.")
async def a_snapshot_is_a_full_row(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", {"n": 1}, ip=3))
    rows = await subject.journal.rows("run")
    same([(it.sequence, it.full, it.ip) for it in rows], [(0, True, 3)], "its rows")


@TOPIC.promise("A saved snapshot of any pipeline can be taken and gone on with.")
async def a_snapshot_can_be_taken(subject: Subject) -> None:
    await subject.store.save(checkpoint("run", ip=2))
    claim = await subject.journal.open(opening("run", OpenMode.TAKE))
    same((claim.head, claim.previous), (0, RunStatus.WAITING), "head and former status")
    await subject.journal.commit(claim, commit(row(1), status=RunStatus.SUCCEEDED))
    record = await record_of(subject, "run")
    same((record.head, record.status), (1, RunStatus.SUCCEEDED), "where the run stands")


@TOPIC.promise("Saving a snapshot of a run of the journal appends a row and keeps the others.")
async def a_snapshot_appends(subject: Subject) -> None:
    await leave(subject.journal, "run", rows=2)
    before = await subject.journal.rows("run")
    await subject.store.save(checkpoint("run", {"patched": True}, ip=1))
    rows = await subject.journal.rows("run")
    same(rows[:-1], before, "the rows that were there")
    same((rows[-1].sequence, rows[-1].full), (3, True), "the row that was appended")
    same((await record_of(subject, "run")).head, 3, "the head")
    same(await subject.journal.last_full("run"), 3, "the newest full row")
