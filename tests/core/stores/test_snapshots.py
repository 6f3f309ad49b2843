"""Rows and snapshots say the same, and what says nothing sensible is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fluxio.errors import CorruptCheckpointError, DecodingError, NoCheckpointError
from fluxio.store.admission import check_admission
from fluxio.store.base import OpenMode, Row, RowKind, RunRecord
from fluxio.store.memory import InMemoryStore
from fluxio.store.payload import (
    Body,
    CarriedBody,
    ErrorBody,
    ForgottenBody,
    LaneBody,
    RowFacts,
    decode_body,
    encode_body,
    open_row,
    open_rows,
    reseal_row,
    seal_row,
    unsealed_text,
)
from fluxio.store.snapshot import (
    checkpoint_from_rows,
    fold_values,
    record_of,
    row_from_checkpoint,
)
from fluxio.testing.conformance.samples import (
    MOMENT,
    begin,
    checkpoint,
    commit,
    opening,
    step_row,
)
from fluxio.types import RunStatus


def sealed(text: str, **facts: Any) -> Row:
    known: dict[str, Any] = {
        "run_id": "r",
        "sequence": 0,
        "attempt": 1,
        "kind": RowKind.STEP,
        "ip": 0,
        "version": "v",
        "full": False,
        "created_at": MOMENT,
    }
    return seal_row(RowFacts(**{**known, **facts}), text)


def test_every_part_of_a_body_comes_back() -> None:
    body = Body(
        writes={"a": (1, 2)},
        route="left",
        error=ErrorBody(type="ValueError", message="m", traceback="t"),
        lanes={
            "": LaneBody(at="pick", values={"x": 1}, writes={}),
            "fork/b": LaneBody(at=7, values=None, writes={"y": {1}}),
        },
        saved={"meta": {"k": 1}, "error": True},
        carried=CarriedBody(version="v0", kind="forced", by="ada", reason="a typing error"),
        forgotten=ForgottenBody(at="2026-02-28T23:59:59+00:00", by="ada", reason="asked to"),
    )
    assert decode_body(encode_body(body)) == body
    assert decode_body(encode_body(Body())) == Body()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "1",
        '{"writes":{}}',
        '{"route":null}',
        '{"writes":{},"route":null,"error":["only one"]}',
        '{"writes":{},"route":null,"error":7}',
        '{"writes":{},"route":null,"lanes":{"":{"nothing":1}}}',
        '{"writes":{},"route":null,"lanes":[]}',
    ],
)
def test_a_text_that_is_no_body_is_refused(text: str) -> None:
    with pytest.raises(DecodingError):
        decode_body(text)
    with pytest.raises(CorruptCheckpointError, match="Row 0 of run 'r'") as caught:
        open_row("r", sealed(text))
    assert (caught.value.run_id, caught.value.sequence) == ("r", 0)


def test_a_full_row_without_a_state_is_refused() -> None:
    row = sealed(encode_body(Body(writes={"a": 1})), full=True, sequence=4)
    with pytest.raises(CorruptCheckpointError, match="a full row holds no state") as caught:
        open_row("r", row)
    assert caught.value.sequence == 4


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 1},
        {"attempt": 2},
        {"kind": RowKind.END},
        {"step": "other"},
        {"ip": 1},
        {"branch": "x"},
        {"background": True},
        {"version": "w"},
        {"tries": 1},
    ],
    ids=str,
)
def test_a_fact_of_a_row_cannot_be_changed_unseen(change: dict[str, Any]) -> None:
    row = sealed(encode_body(Body(writes={"a": 1})))
    assert open_row("r", row) == Body(writes={"a": 1})
    with pytest.raises(CorruptCheckpointError):
        open_row("r", replace(row, **change))
    with pytest.raises(CorruptCheckpointError):
        open_row("another run", row)
    assert open_row("r", replace(row, duration=9.0, created_at=MOMENT.replace(year=2000)))


def test_a_row_with_another_text_is_the_same_row_in_its_place() -> None:
    facts: dict[str, Any] = {
        "sequence": 4,
        "attempt": 2,
        "kind": RowKind.ERROR,
        "step": "fork/b/s",
        "ip": 3,
        "branch": "fork/b",
        "background": True,
        "full": True,
        "duration": 1.5,
        "tries": 6,
    }
    lanes = {"": LaneBody(at="s", values={})}
    before = sealed(encode_body(Body(writes={"name": "Ada"}, lanes=lanes)), **facts)
    other = encode_body(Body(writes={"name": None}, lanes=lanes))
    after = reseal_row("r", before, other)
    assert unsealed_text("r", after) == other
    assert open_row("r", after).writes == {"name": None}
    assert after == replace(before, payload=after.payload, digest=after.digest)
    assert after.digest != before.digest
    with pytest.raises(CorruptCheckpointError) as refused:
        unsealed_text("another", after)
    assert (refused.value.run_id, refused.value.sequence) == ("another", 4)


def test_a_missing_row_is_named() -> None:
    rows = [step_row("r", 1, {}), step_row("r", 3, {})]
    with pytest.raises(CorruptCheckpointError, match="row 2 is missing before it") as caught:
        open_rows("r", rows)
    assert caught.value.sequence == 3
    assert open_rows("r", []) == []


# --- from snapshots to rows and back


def test_a_snapshot_comes_back_as_it_was_saved() -> None:
    saved = checkpoint("r", {"a": [1]}, ip=3, meta={"mine": 1}, error=True)
    row = row_from_checkpoint(saved, sequence=5, attempt=2)
    assert (row.sequence, row.attempt, row.ip, row.full) == (5, 2, 3, True)
    assert (row.kind, row.version, row.created_at) == (
        RowKind.START,
        saved.pipeline_version,
        saved.created_at,
    )
    assert checkpoint_from_rows(record_of(saved), [row]) == saved


def test_a_snapshot_of_open_branches_keeps_them() -> None:
    lanes = {
        "": LaneBody(at="fork", values={"a": 1}),
        "fork/x": LaneBody(at="fork/x", values=None, writes={"x": 2}),
        "bg/y": LaneBody(at="bg/y", values={"a": 1, "y": 3}, writes={"y": 3}),
    }
    row = sealed(encode_body(Body(lanes=lanes)), full=True, ip=2, step="f/w", branch="f/w")
    snapshot = checkpoint_from_rows(replace(record_of(checkpoint("r")), step="due"), [row])
    assert snapshot.ctx_snapshot == {"a": 1}
    assert (snapshot.meta["at"], snapshot.meta["kind"]) == ("fork", "step")
    assert (snapshot.meta["step"], snapshot.meta["head"]) == ("due", 0)
    again = open_row("r", row_from_checkpoint(snapshot, sequence=1, attempt=1))
    assert again.lanes == lanes


def test_a_snapshot_of_an_error_says_which() -> None:
    error = ErrorBody(type="ValueError", message="m", traceback="t")
    lanes = {"": LaneBody(at="a", values={})}
    row = sealed(encode_body(Body(error=error, lanes=lanes)), full=True, kind=RowKind.ERROR)
    snapshot = checkpoint_from_rows(record_of(checkpoint("r")), [row])
    assert snapshot.error
    assert snapshot.meta["error"] == {"type": "ValueError", "message": "m", "traceback": "t"}


def test_a_snapshot_tells_what_it_knows_of_its_run() -> None:
    meta = {
        "pipeline": "p",
        "status": "failed",
        "attempt": 3,
        "head": 7,
        "step": "s",
        "token": 9,
        "parent": "source",
        "parent_sequence": 2,
        "summary": "ValueError: x",
    }
    record = record_of(checkpoint("r", ip=4, meta=meta))
    assert record == RunRecord(
        run_id="r",
        pipeline="p",
        version=checkpoint("r").pipeline_version,
        status=RunStatus.FAILED,
        attempt=3,
        head=7,
        ip=4,
        step="s",
        token=9,
        owner=None,
        lease_expires_at=None,
        takeovers=0,
        parent="source",
        parent_sequence=2,
        error="ValueError: x",
        created_at=MOMENT,
        updated_at=MOMENT,
        finished_at=None,
    )
    plain = record_of(checkpoint("r"))
    assert (plain.pipeline, plain.status, plain.attempt, plain.head, plain.token) == (
        "",
        RunStatus.WAITING,
        1,
        0,
        0,
    )


# --- folding


def folded(*steps: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """The values after a full row {"a": 1} at ip 0 and these rows, given as facts and writes."""
    start = sealed(encode_body(Body(lanes={"": LaneBody(at="a", values={"a": 1})})), full=True)
    rows, bodies = [start], [open_row("r", start)]
    for number, (facts, writes) in enumerate(steps, start=1):
        body = Body(writes=writes)
        rows.append(sealed(encode_body(body), sequence=number, step="s", **facts))
        bodies.append(body)
    return fold_values(rows, bodies)


def test_steps_of_the_run_itself_are_folded_one_by_one() -> None:
    assert folded(({"ip": 1}, {"b": 2}), ({"ip": 2}, {"a": 3})) == {"a": 3, "b": 2}


def test_writes_of_branches_wait_for_their_merge() -> None:
    left = ({"ip": 1, "branch": "f/x"}, {"x": 1})
    first = ({"ip": 1}, {})
    merged = ({"ip": 2, "branch": "f/y"}, {"y": 2})
    assert folded(first, left) == {"a": 1}
    assert folded(first, left, merged) == {"a": 1, "x": 1, "y": 2}


def test_what_is_written_in_the_background_is_never_folded() -> None:
    background = ({"ip": 1, "branch": "b/x", "background": True}, {"x": 1})
    assert folded(({"ip": 1}, {}), background, ({"ip": 2}, {"b": 2})) == {"a": 1, "b": 2}


def test_errors_change_no_value() -> None:
    assert folded(({"ip": 0, "kind": RowKind.ERROR}, {})) == {"a": 1}


def test_folding_starts_at_the_newest_full_row_with_its_open_branches() -> None:
    old = sealed(encode_body(Body(lanes={"": LaneBody(at="a", values={"old": 1})})), full=True)
    lanes = {
        "": LaneBody(at="f", values={"new": 1}),
        "f/x": LaneBody(at="f/#join", values=None, writes={"x": 1}),
        "b/z": LaneBody(at="z", values={"z": 1}, writes={"z": 1}),
    }
    full = sealed(encode_body(Body(lanes=lanes)), full=True, sequence=1, ip=1, branch="f/x")
    merge = sealed(encode_body(Body(writes={"y": 2})), sequence=2, ip=2, branch="f/y", step="f/y")
    rows = [old, full]
    assert fold_values(rows, open_rows("r", rows)) == {"new": 1}
    rows = [old, full, merge]
    assert fold_values(rows, open_rows("r", rows)) == {"new": 1, "x": 1, "y": 2}


# --- who may take a run


def test_a_run_without_a_pipelines_name_belongs_to_whoever_asks() -> None:
    record = record_of(checkpoint("r"))
    check_admission(replace(opening("r"), mode="take"), record, busy=False)  # type: ignore[arg-type]


# --- memory


async def test_a_run_in_memory_without_its_newest_row_is_damaged() -> None:
    store = InMemoryStore()
    await store.save(checkpoint("r"))
    await store.save(checkpoint("r", {"order": 8}))
    del store._journal._logs["r"].rows[-1]
    with pytest.raises(CorruptCheckpointError, match="is missing"):
        await store.load("r")


async def test_a_run_in_memory_that_is_unknown_or_has_no_full_row_yet_has_no_checkpoint() -> None:
    store = InMemoryStore()
    with pytest.raises(NoCheckpointError):
        await store.journal().last_full("nobody")
    await begin(store.journal(), "r")
    with pytest.raises(NoCheckpointError):
        await store.journal().last_full("r", upto=-1)


async def test_a_released_claim_in_memory_frees_the_run_once() -> None:
    store = InMemoryStore()
    journal = store.journal()
    claim = await begin(journal, "r")
    journal.release(replace(claim, token=claim.token + 1))
    record = await journal.run("r")
    assert record is not None
    assert record.owner == claim.owner
    journal.release(claim)
    record = await journal.run("r")
    assert record is not None
    assert (record.owner, record.status) == (None, RunStatus.RUNNING)


async def test_taking_over_a_run_that_was_running_is_counted_and_any_other_is_not() -> None:
    journal = InMemoryStore().journal()
    claim = await begin(journal, "r")
    for expected in (1, 2):
        journal.release(claim)
        claim = await journal.open(replace(opening("r", OpenMode.TAKE), start=None))
        record = await journal.run("r")
        assert record is not None
        assert record.takeovers == expected
    await journal.commit(claim, commit(status=RunStatus.FAILED))
    await journal.open(opening("r", OpenMode.TAKE))
    record = await journal.run("r")
    assert record is not None
    assert record.takeovers == 2
