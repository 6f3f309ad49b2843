"""What is written of a run: rows that are small, complete, in order, and bounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fluxio import Context, ForkMode, InMemoryStore, Parallel, Pipeline, RunStatus, stage
from fluxio.errors import CorruptCheckpointError, StoreError
from fluxio.runtime import machine
from fluxio.runtime.executor import Failed, Succeeded
from fluxio.runtime.history import Log
from fluxio.runtime.recorder import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    Ending,
    Entry,
    Recorder,
    error_body,
)
from fluxio.store.base import Commit, OpenMode, Row, RowKind
from fluxio.store.payload import Body, LaneBody, RowFacts, encode_body, seal_row
from fluxio.testing.clock import ManualClock
from fluxio.testing.conformance.samples import MOMENT, begin, opening
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation


def step(name: str, size: int = 0) -> Any:
    async def body(ctx: Context) -> Context:
        return ctx.set(name, "x" * size)

    return stage(name=name, version="1")(body)


# --- errors


class Mute(Exception):
    """Cannot say what it is about."""

    def __str__(self) -> str:
        raise RuntimeError("mute")


def test_an_error_that_cannot_speak_is_recorded_all_the_same() -> None:
    body = error_body(Mute())
    assert (body.type, body.message) == ("Mute", "(no message)")


def test_messages_and_tracebacks_are_capped() -> None:
    exact, long = "m" * MESSAGE_LIMIT, "m" * (MESSAGE_LIMIT + 1)
    assert error_body(ValueError(exact)).message == exact
    capped = error_body(ValueError(long)).message
    assert (len(capped), capped[-2:]) == (MESSAGE_LIMIT, "m…")
    huge = error_body(ValueError("e" * (2 * TRACEBACK_LIMIT) + "end"))
    assert len(huge.traceback) == TRACEBACK_LIMIT
    assert huge.traceback.endswith("end\n")


async def test_the_record_keeps_a_short_summary_of_the_error() -> None:
    @stage
    async def loud(ctx: Context) -> Context:
        raise ValueError("e" * 5000)

    store = InMemoryStore()
    pipeline = Pipeline([loud], durable=True, checkpoint_store=store)
    with pytest.raises(ValueError, match="e"):
        await pipeline.invoke({}, run_id="r")
    record = await store.journal().run("r")
    assert record is not None
    assert record.error == "ValueError: " + "e" * 500


# --- a recorder by itself


class Desk:
    """A recorder of a run that was just begun, over a store that can fail."""

    def __init__(self, recorder: Recorder, pipeline: Pipeline, store: FaultyStore) -> None:
        self.recorder = recorder
        self.program = pipeline.compiled
        self.store = store

    @classmethod
    async def begun(cls, *faults: Fault) -> Desk:
        pipeline = Pipeline([step("reserve"), Parallel([step("b"), step("c")])], name="p")
        store = FaultyStore(InMemoryStore(), *faults)
        journal = store.journal()
        assert journal is not None
        claim = await begin(journal, "r")
        return cls(Recorder(journal, claim, pipeline.compiled, ManualClock()), pipeline, store)

    async def inherit(self, commit: Commit) -> None:
        """Let somebody else take the run, and commit what our recorder is about to."""
        journal = self.store.journal()
        assert journal is not None
        journal.release(self.recorder.claim)
        heir = await journal.open(opening("r", OpenMode.TAKE))
        await journal.commit(heir, commit)

    def state(self, ip: int = 0) -> Any:
        return machine.begin(self.program, Context.create({"given": 1}), ip).state

    def entry(self, key: str = "reserve") -> Entry:
        done = Succeeded(
            ip=self.program.index[key], writes={"w": 1}, route=None, tries=2, duration=0.5
        )
        return Entry(done, self.recorder.step_text(done), self.state(1))


async def test_a_commit_that_was_done_although_the_store_failed_is_found_and_counts() -> None:
    unanswered = Fault(mode=FaultMode.UNANSWERED, operation=Operation.COMMIT)
    desk = await Desk.begun(unanswered)
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    assert (await desk.recorder.commit(commit)).result is None
    assert desk.recorder.head == 1


async def test_a_commit_that_was_not_done_is_an_error_and_moves_nothing() -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT))
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    with pytest.raises(StoreError):
        await desk.recorder.commit(commit)
    assert desk.recorder.head == 0
    await desk.recorder.commit(commit)
    assert desk.recorder.head == 1


async def test_a_commit_that_nobody_can_be_asked_about_is_an_error() -> None:
    desk = await Desk.begun(
        Fault(mode=FaultMode.UNANSWERED, operation=Operation.COMMIT),
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.ROWS),
    )
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    with pytest.raises(StoreError):
        await desk.recorder.commit(commit)
    assert desk.recorder.head == 0


async def test_a_row_of_somebody_else_in_its_place_is_not_taken_for_ours() -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, call=2))
    theirs = desk.recorder.prepare([desk.entry()], desk.state(1))
    journal = desk.store.journal()
    assert journal is not None
    await journal.commit(desk.recorder.claim, theirs)
    ours = desk.recorder.prepare([desk.entry("parallel/b")], desk.state(1))
    assert ours.rows[0].sequence == theirs.rows[0].sequence
    with pytest.raises(StoreError):
        await desk.recorder.commit(ours)


@pytest.mark.parametrize("heirs", [RunStatus.RUNNING, RunStatus.FAILED])
async def test_the_same_row_of_an_heir_is_not_taken_for_ours(heirs: RunStatus) -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, call=2))
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    await desk.inherit(replace(commit, status=heirs))
    with pytest.raises(StoreError):
        await desk.recorder.commit(commit)
    assert desk.recorder.head == 0


async def test_the_end_of_a_run_is_not_taken_for_recorded_while_an_heir_executes_it() -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, call=2))
    last = desk.recorder.prepare([desk.entry()], desk.state(1))
    await desk.inherit(last)
    with pytest.raises(StoreError):
        await desk.recorder.commit(replace(last, status=RunStatus.SUCCEEDED))


async def test_the_end_of_a_run_counts_whoever_recorded_the_same() -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, call=2))
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    last = replace(commit, status=RunStatus.SUCCEEDED)
    await desk.inherit(last)
    await desk.recorder.commit(last)
    assert desk.recorder.head == 1


async def test_a_row_whose_owner_nobody_can_be_asked_about_is_not_taken_for_ours() -> None:
    desk = await Desk.begun(
        Fault(mode=FaultMode.UNANSWERED, operation=Operation.COMMIT),
        Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.RUN),
    )
    with pytest.raises(StoreError):
        await desk.recorder.commit(desk.recorder.prepare([desk.entry()], desk.state(1)))


async def test_a_commit_without_rows_cannot_be_looked_for() -> None:
    desk = await Desk.begun(Fault(mode=FaultMode.UNANSWERED, operation=Operation.COMMIT))
    bare = Commit(rows=(), ip=0, step="a", attempt=1)
    with pytest.raises(StoreError):
        await desk.recorder.commit(bare)
    assert Operation.ROWS not in desk.store.calls
    await desk.recorder.commit(bare)
    assert desk.recorder.head == 0


async def test_rows_follow_each_other_and_say_what_happened_where() -> None:
    desk = await Desk.begun()
    failed = Failed(
        ip=desk.program.index["parallel/b"], error=ValueError("no"), tries=3, duration=1.5
    )
    text = desk.recorder.failure_text(failed, desk.state())
    entries = [desk.entry(), Entry(failed, text, desk.state(1))]
    ending = Ending(
        status=RunStatus.FAILED, step="parallel/c", error=KeyError("k"), tries=4, duration=2.5
    )
    commit = desk.recorder.prepare(entries, desk.state(1), ending)
    assert [row.sequence for row in commit.rows] == [1, 2, 3]
    assert [row.kind for row in commit.rows] == [RowKind.STEP, RowKind.ERROR, RowKind.ERROR]
    assert [row.step for row in commit.rows] == ["reserve", "parallel/b", "parallel/c"]
    assert [row.branch for row in commit.rows] == ["", "parallel/b", "parallel/c"]
    assert [(row.tries, row.duration) for row in commit.rows] == [(2, 0.5), (3, 1.5), (4, 2.5)]
    assert [row.full for row in commit.rows] == [False, False, False]
    assert {row.version for row in commit.rows} == {desk.program.version}
    assert (commit.ip, commit.step, commit.status) == (1, "parallel/c", RunStatus.FAILED)
    assert commit.error == "KeyError: 'k'"


@pytest.mark.parametrize("status", [RunStatus.SUCCEEDED, RunStatus.CANCELLED])
async def test_the_end_of_a_run_is_a_row_only_where_it_was_not_finished(status: RunStatus) -> None:
    desk = await Desk.begun()
    commit = desk.recorder.prepare([desk.entry()], desk.state(1), Ending(status=status))
    kinds = [row.kind for row in commit.rows]
    expected = [RowKind.STEP] if status is RunStatus.SUCCEEDED else [RowKind.STEP, RowKind.END]
    assert kinds == expected
    assert (commit.status, commit.step, commit.error) == (status, "", "")


async def test_a_commit_in_progress_names_the_step_that_is_due() -> None:
    desk = await Desk.begun()
    commit = desk.recorder.prepare([desk.entry()], desk.state(1))
    assert (commit.status, commit.step, commit.ip) == (RunStatus.RUNNING, "parallel", 1)


# --- full rows


async def rows_of(count: int, size: int, start: Any = None) -> list[Row]:
    store = InMemoryStore()
    nodes = [
        stage(name=f"s{number}", version="1")(_writing(f"k{number % 3}", size))
        for number in range(count)
    ]
    await Pipeline(nodes, durable=True, checkpoint_store=store).invoke(start or {}, run_id="r")
    return await store.journal().rows("r")


def _writing(key: str, size: int) -> Any:
    async def body(ctx: Context) -> Context:
        return ctx.set(key, "x" * size)

    return body


async def test_a_row_is_full_after_64_small_ones() -> None:
    rows = await rows_of(140, 10)
    assert [row.sequence for row in rows if row.full] == [0, 64, 128]


async def test_a_row_is_full_after_a_megabyte() -> None:
    rows = await rows_of(45, 50_000)
    assert [row.sequence for row in rows if row.full] == [0, 20, 40]


async def test_a_state_that_is_large_is_written_seldom() -> None:
    # 100 kB that never change, beside writes of some 40 bytes each: full rows would dwarf them.
    rows = await rows_of(300, 10, {"ballast": "b" * 100_000})
    assert [row.sequence for row in rows if row.full] == [0]


# --- reading it back


def row_of(sequence: int, kind: RowKind, body: Body, **facts: Any) -> Row:
    known: dict[str, Any] = {
        "run_id": "r",
        "sequence": sequence,
        "attempt": 1,
        "kind": kind,
        "ip": 0,
        "version": "v",
        "full": body.lanes is not None,
        "created_at": MOMENT,
    }
    return seal_row(RowFacts(**{**known, **facts}), encode_body(body))


async def recorded(*nodes: Any) -> tuple[Pipeline, list[Row]]:
    store = InMemoryStore()
    pipeline = Pipeline(list(nodes), durable=True, checkpoint_store=store, name="p")
    await pipeline.invoke({"given": 1, "a": 0}, run_id="r")
    return pipeline, await store.journal().rows("r")


@pytest.mark.parametrize("first", [None, 1])
async def test_a_log_starts_with_a_full_row(first: int | None) -> None:
    _, rows = await recorded(step("a"), step("b"))
    given = [] if first is None else rows[first:]
    with pytest.raises(CorruptCheckpointError, match="no full row to start from") as caught:
        Log.open("r", given)
    assert caught.value.sequence == (0 if first is None else 1)


async def test_each_value_knows_the_row_that_set_it_last() -> None:
    _, rows = await recorded(
        step("a"), Parallel([step("bg")], mode=ForkMode.FIRE_FORGET), step("b")
    )
    origin = Log.open("r", rows).provenance()
    by_step = {row.step: row.sequence for row in rows}
    assert origin == {"given": 0, "a": by_step["a"], "b": by_step["b"]}


async def test_after_a_replay_values_that_stayed_keep_their_row_and_dropped_ones_go() -> None:
    store = InMemoryStore()
    pipeline = Pipeline([step("a"), step("b")], durable=True, checkpoint_store=store, name="p")
    await pipeline.invoke({"given": 1}, run_id="r")
    await pipeline.replay("r", from_step="b")
    rows = await store.journal().rows("r")
    begun_again = next(row.sequence for row in rows if row.kind is RowKind.START and row.sequence)
    halfway = Log.open("r", rows[: begun_again + 1]).provenance()
    assert halfway == {"given": 0, "a": 1}
    assert Log.open("r", rows).provenance() == {"given": 0, "a": 1, "b": begun_again + 1}


async def test_rows_that_lead_nowhere_are_refused() -> None:
    pipeline, rows = await recorded(step("a"), step("b"))
    program = pipeline.compiled
    unknown = row_of(1, RowKind.STEP, Body(writes={}), step="nobody", ip=1)
    with pytest.raises(CorruptCheckpointError, match="points to nowhere"):
        Log.open("r", [rows[0], unknown]).final_state(program)
    elsewhere = row_of(1, RowKind.STEP, Body(writes={}), step="a", ip=2)
    with pytest.raises(CorruptCheckpointError, match="does not follow"):
        Log.open("r", [rows[0], elsewhere]).final_state(program)


async def test_a_full_row_with_a_branch_that_the_program_has_not_is_refused() -> None:
    pipeline, _ = await recorded(step("a"), step("b"))
    lanes = {
        "": LaneBody(at="a", values={}),
        "nobody": LaneBody(at="b", values=None),
    }
    start = row_of(0, RowKind.START, Body(lanes=lanes))
    with pytest.raises(CorruptCheckpointError, match="an unknown branch"):
        Log.open("r", [start]).final_state(pipeline.compiled)
