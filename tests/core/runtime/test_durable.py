"""Resume, replay, fork, versions and locks, on the store that needs no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import (
    Checkpoint,
    CheckpointStore,
    CheckpointVersionError,
    Context,
    EncodingError,
    ForeignRunError,
    ForkMode,
    InMemoryStore,
    NoCheckpointError,
    Parallel,
    Pipeline,
    RunIDInUseError,
    Send,
    StoreError,
    Watchers,
    current_step,
    stage,
)


class FourMethods(CheckpointStore):
    """The smallest store there can be."""

    def __init__(self) -> None:
        self.kept: dict[str, Checkpoint] = {}

    async def save(self, checkpoint: Checkpoint) -> None:
        self.kept[checkpoint.run_id] = checkpoint

    async def load(self, run_id: str) -> Checkpoint | None:
        return self.kept.get(run_id)

    async def delete(self, run_id: str) -> None:
        self.kept.pop(run_id, None)

    async def exists(self, run_id: str) -> bool:
        return run_id in self.kept


@pytest.fixture(params=[InMemoryStore, FourMethods])
def store(request: pytest.FixtureRequest) -> CheckpointStore:
    made: CheckpointStore = request.param()
    return made


class Workshop:
    """Makes stages that count their executions and fail while they are told to."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.failing: set[str] = set()

    def make(self, name: str, answer: Any = None, **options: Any) -> Any:
        async def body(ctx: Context) -> Any:
            self.executed.append(name)
            await asyncio.sleep(0)
            if name in self.failing:
                raise ValueError(name)
            return ctx.set(name, self.executed.count(name)) if answer is None else answer

        return stage(name=name, version="1", **options)(body)


@pytest.fixture
def shop() -> Workshop:
    return Workshop()


def everything(shop: Workshop, store: CheckpointStore) -> Pipeline:
    """Linear, branches, nested branches, routes, background."""
    return Pipeline(
        [
            shop.make("a"),
            Parallel(
                [shop.make("b"), [shop.make("c"), Parallel([shop.make("d"), shop.make("e")])]]
            ),
            Parallel([shop.make("bg")], mode=ForkMode.FIRE_FORGET),
            shop.make("pick", Send("left", {"picked": True})),
            {"left": [shop.make("f"), shop.make("g")], "right": shop.make("never")},
            shop.make("h"),
        ],
        name="everything",
        durable=True,
        checkpoint_store=store,
    )


STEPS = ["a", "b", "c", "d", "e", "bg", "pick", "f", "g", "h"]


@pytest.mark.parametrize("failing", [step for step in STEPS if step != "bg"])
async def test_resume_runs_only_what_was_not_recorded(
    store: CheckpointStore, shop: Workshop, failing: str
) -> None:
    pipeline = everything(shop, store)
    shop.failing = {failing}
    with pytest.raises(ValueError, match=failing):
        await pipeline.invoke({"start": 1}, run_id="r")
    shop.failing = set()
    final = await pipeline.invoke({"ignored": 1}, run_id="r", resume=True)
    assert set(final) == {"start", "picked", *STEPS} - {"bg", "pick"}
    again = {step for step in STEPS if shop.executed.count(step) > 1}
    # Branches that were in flight beside the failing one may repeat; recorded steps may not.
    assert failing in again
    assert again <= {failing, "b", "c", "d", "e"} if failing in "bcde" else again == {failing}
    assert "never" not in shop.executed


async def test_a_store_that_fails_under_a_background_stage_leaves_the_stage_to_be_resumed(
    store: CheckpointStore, shop: Workshop
) -> None:
    failures = [StoreError("the database went away")]

    @stage(version="1")
    async def background(ctx: Context) -> Context:
        shop.executed.append("background")
        if failures:
            raise failures.pop()
        return ctx

    pipeline = Pipeline(
        [Parallel([background], mode=ForkMode.FIRE_FORGET), shop.make("after")],
        name="store-fails-in-background",
        durable=True,
        checkpoint_store=store,
    )
    with pytest.raises(StoreError, match="went away"):
        await pipeline.invoke({}, run_id="r")
    await pipeline.invoke({}, run_id="r", resume=True)
    assert shop.executed.count("background") == 2


async def test_a_finished_run_gives_its_result_and_runs_nothing(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = everything(shop, store)
    first = await pipeline.invoke({"start": 1}, run_id="r")
    count = len(shop.executed)
    assert await pipeline.invoke({}, run_id="r", resume=True) == first
    assert len(shop.executed) == count


async def test_resuming_an_unknown_run_is_a_key_error(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = everything(shop, store)
    with pytest.raises(KeyError) as caught:
        await pipeline.invoke({}, run_id="nobody", resume=True)
    assert isinstance(caught.value, NoCheckpointError)
    assert "nobody" in str(caught.value)


async def test_runs_are_fresh_by_default(store: CheckpointStore, shop: Workshop) -> None:
    pipeline = Pipeline(
        [shop.make("a"), shop.make("b")], durable=True, checkpoint_store=store, name="p"
    )
    await pipeline.invoke({"x": 1}, run_id="r")
    final = await pipeline.invoke({"y": 2}, run_id="r")
    assert shop.executed == ["a", "b", "a", "b"]
    assert set(final) == {"y", "a", "b"}


async def test_policies_for_a_finished_run(store: CheckpointStore, shop: Workshop) -> None:
    pipeline = Pipeline([shop.make("a")], durable=True, checkpoint_store=store, name="p")
    await pipeline.invoke({}, run_id="r")
    for policy in ("resume", "return"):
        assert (await pipeline.invoke({}, run_id="r", on_conflict=policy))["a"] == 1
    with pytest.raises(RunIDInUseError, match="exists already"):
        await pipeline.invoke({}, run_id="r", on_conflict="reject")
    assert shop.executed == ["a"]


async def test_policies_for_an_unfinished_run(store: CheckpointStore, shop: Workshop) -> None:
    pipeline = Pipeline([shop.make("a"), shop.make("b")], durable=True, checkpoint_store=store)
    shop.failing = {"b"}
    with pytest.raises(ValueError, match="b"):
        await pipeline.invoke({}, run_id="r")
    shop.failing = set()
    for policy in ("return", "reject"):
        with pytest.raises(RunIDInUseError, match="Resume it"):
            await pipeline.invoke({}, run_id="r", on_conflict=policy)
    await pipeline.invoke({}, run_id="r", on_conflict="resume")
    assert shop.executed == ["a", "b", "b"]


@pytest.mark.parametrize("policy", ["resume", "return", "reject"])
async def test_every_policy_starts_a_run_that_is_not_there(
    store: CheckpointStore, shop: Workshop, policy: str
) -> None:
    pipeline = Pipeline([shop.make("a")], durable=True, checkpoint_store=store)
    assert (await pipeline.invoke({}, run_id="new", on_conflict=policy))["a"] == 1


async def test_a_run_id_is_executed_once_at_a_time(store: CheckpointStore) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    @stage
    async def hold(ctx: Context) -> Context:
        started.set()
        await release.wait()
        return ctx

    pipeline = Pipeline([hold], durable=True, checkpoint_store=store, name="p")
    first = asyncio.create_task(pipeline.invoke({}, run_id="r"))
    await started.wait()
    for call in (
        pipeline.invoke({}, run_id="r"),
        pipeline.invoke({}, run_id="r", resume=True),
        pipeline.invoke({}, run_id="r", on_conflict="resume"),
        pipeline.replay("r"),
    ):
        with pytest.raises(RunIDInUseError) as caught:
            await call
        assert caught.value.owner
    other = asyncio.create_task(pipeline.invoke({}, run_id="other"))
    release.set()
    await asyncio.gather(first, other)
    await pipeline.invoke({}, run_id="r")


async def test_an_id_of_another_pipeline_is_refused_and_nothing_is_deleted(
    store: CheckpointStore, shop: Workshop
) -> None:
    ours = Pipeline([shop.make("a")], durable=True, checkpoint_store=store, name="ours")
    theirs = Pipeline([shop.make("b")], durable=True, checkpoint_store=store, name="theirs")
    await ours.invoke({"keep": 1}, run_id="r")
    for call in (
        theirs.invoke({}, run_id="r"),
        theirs.invoke({}, run_id="r", resume=True),
        theirs.invoke({}, run_id="r", on_conflict="return"),
    ):
        with pytest.raises(ForeignRunError, match="'ours'"):
            await call
    assert (await ours.state("r"))["keep"] == 1
    assert shop.executed == ["a"]


async def test_other_code_is_refused_before_anything_runs(
    store: CheckpointStore, shop: Workshop
) -> None:
    old = Pipeline(
        [shop.make("a"), shop.make("b"), shop.make("c")], durable=True, checkpoint_store=store
    )
    shop.failing = {"b"}
    with pytest.raises(ValueError, match="b"):
        await old.invoke({}, run_id="r")
    shop.executed.clear()
    new = Pipeline(
        [shop.make("a"), shop.make("b", timeout=9), shop.make("d")],
        durable=True,
        checkpoint_store=store,
    )
    for call in (new.invoke({}, run_id="r", resume=True), new.replay("r"), new.fork("r")):
        with pytest.raises(CheckpointVersionError) as caught:
            await call
    assert (caught.value.stored, caught.value.current) == (old.version, new.version)
    assert [line.split(" (")[0] for line in caught.value.changes] == [
        "removed: c",
        "added: d",
        "changed: b",
    ]
    assert "changed: b" in str(caught.value)
    assert shop.executed == []
    with pytest.raises(ValueError, match="b"):
        await old.invoke({}, run_id="r", resume=True)


async def test_a_value_that_cannot_be_stored_fails_the_stage_with_its_path(
    store: CheckpointStore, shop: Workshop
) -> None:
    class Odd:
        pass

    broken = True

    @stage(version="1")
    async def careless(ctx: Context) -> Context:
        return ctx.set("order", {"lines": [1, {"price": Odd() if broken else 3}]})

    pipeline = Pipeline(
        [shop.make("a"), careless, shop.make("b")], durable=True, checkpoint_store=store
    )
    with pytest.raises(EncodingError) as caught:
        await pipeline.invoke({}, run_id="r")
    assert caught.value.path == 'ctx["order"]["lines"][1]["price"]'
    broken = False
    await pipeline.invoke({}, run_id="r", resume=True)
    assert shop.executed == ["a", "b"]


async def test_an_initial_value_that_cannot_be_stored_starts_nothing(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = Pipeline([shop.make("a")], durable=True, checkpoint_store=store)
    with pytest.raises(EncodingError, match="x"):
        await pipeline.invoke({"x": object()}, run_id="r")
    assert shop.executed == []
    with pytest.raises(NoCheckpointError):
        await pipeline.state("r")


async def test_replay_of_a_finished_run_starts_from_its_beginning(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = Pipeline([shop.make("a"), shop.make("b")], durable=True, checkpoint_store=store)
    await pipeline.invoke({"x": 1}, run_id="r")
    final = await pipeline.replay("r")
    assert shop.executed == ["a", "b", "a", "b"]
    assert dict(final) == {"x": 1, "a": 2, "b": 2}


async def test_replay_of_an_unfinished_run_goes_on_from_its_last_checkpoint(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = Pipeline([shop.make("a"), shop.make("b")], durable=True, checkpoint_store=store)
    shop.failing = {"b"}
    with pytest.raises(ValueError, match="b"):
        await pipeline.invoke({}, run_id="r")
    shop.failing = set()
    await pipeline.replay("r")
    assert shop.executed == ["a", "b", "b"]


async def test_a_handwritten_start_is_a_valid_checkpoint(
    store: CheckpointStore, shop: Workshop
) -> None:
    pipeline = Pipeline(
        [Parallel([shop.make("a"), shop.make("b")]), shop.make("c")],
        durable=True,
        checkpoint_store=store,
    )
    from datetime import UTC, datetime

    await store.save(
        Checkpoint(
            run_id="by-hand",
            pipeline_version=pipeline.version,
            ip=0,
            ctx_snapshot={"x": 1},
            created_at=datetime.now(UTC),
        )
    )
    final = await pipeline.invoke({}, run_id="by-hand", resume=True)
    assert dict(final) == {"x": 1, "a": 1, "b": 1, "c": 1}


async def test_what_a_store_sees_is_the_snapshot_and_the_pointer_before_each_call(
    shop: Workshop,
) -> None:
    seen: list[tuple[int, dict[str, Any], bool]] = []

    class Recording(FourMethods):
        async def save(self, checkpoint: Checkpoint) -> None:
            seen.append((checkpoint.ip, dict(checkpoint.ctx_snapshot), checkpoint.error))
            await super().save(checkpoint)

    store = Recording()
    pipeline = Pipeline([shop.make("a"), shop.make("b")], durable=True, checkpoint_store=store)
    shop.failing = {"b"}
    with pytest.raises(ValueError, match="b"):
        await pipeline.invoke({"x": 1}, run_id="r")
    assert seen == [
        (0, {"x": 1}, False),
        (1, {"x": 1, "a": 1}, False),
        (1, {"x": 1, "a": 1}, True),
    ]
    kept = store.kept["r"]
    assert kept.pipeline_version == pipeline.version
    assert kept.meta["error"]["type"] == "ValueError"
    assert "raise ValueError" in kept.meta["error"]["traceback"]
    shop.failing = set()
    await pipeline.invoke({}, run_id="r", resume=True)
    assert seen[-1] == (2, {"x": 1, "a": 1, "b": 2}, False)


async def test_a_stored_snapshot_is_independent_of_the_running_context(shop: Workshop) -> None:
    store = FourMethods()
    items = [1]

    @stage
    async def put(ctx: Context) -> Context:
        return ctx.set("items", items)

    await Pipeline([put], durable=True, checkpoint_store=store).invoke({}, run_id="r")
    items.append(2)
    assert store.kept["r"].ctx_snapshot["items"] == [1]


# --- what needs history, and so more than four methods


@pytest.fixture
def memory() -> InMemoryStore:
    return InMemoryStore()


async def test_history_tells_what_each_step_wrote(memory: InMemoryStore, shop: Workshop) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({"start": 1}, run_id="r")
    history = await pipeline.history("r")
    assert [entry.sequence for entry in history] == list(range(len(history)))
    by_step = {entry.step: entry for entry in history}
    assert dict(by_step["a"].writes) == {"a": 1}
    assert by_step["pick"].route == "left"
    assert by_step["parallel#2/bg"].background
    assert by_step["parallel/parallel/d"].branch == "parallel/parallel/d"
    assert all(entry.tries == 1 for entry in history[1:])


async def test_replay_from_a_step_appends_an_attempt_and_alters_no_row(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({"start": 1}, run_id="r")
    before = await pipeline.history("r")
    shop.executed.clear()
    final = await pipeline.replay("r", from_step="g")
    after = await pipeline.history("r")
    assert after[: len(before)] == before
    assert {entry.attempt for entry in after[len(before) :]} == {2}
    assert shop.executed == ["g", "h"]
    assert set(final) == {"start", "picked", *STEPS} - {"bg", "pick"}


async def test_replay_from_a_branch_keeps_its_recorded_siblings(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({}, run_id="r")
    shop.executed.clear()
    await pipeline.replay("r", from_step="e")
    assert "a" not in shop.executed
    assert "c" not in shop.executed
    assert shop.executed[-1] == "h"


async def test_fork_links_a_new_run_and_leaves_its_source_alone(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({"start": 1}, run_id="source")
    before = await pipeline.history("source")
    forked = await pipeline.fork("source", from_step="f", as_run_id="copy", patch={"start": 2})
    assert forked["start"] == 2
    assert forked.run_id == "copy"
    assert await pipeline.history("source") == before
    journal = memory.journal()
    assert journal is not None
    record = await journal.run("copy")
    assert record is not None
    assert record.parent == "source"
    delta = await pipeline.diff("source", "copy")
    assert delta["start"] == {"a": 1, "b": 2}
    with pytest.raises(RunIDInUseError, match="exists already"):
        await pipeline.fork("source", as_run_id="copy")


async def test_a_patch_reaches_a_stage_inside_a_branch(memory: InMemoryStore) -> None:
    @stage
    async def look(ctx: Context) -> Context:
        return ctx.set("seen", ctx["x"])

    @stage
    async def other(ctx: Context) -> Context:
        return ctx.set("y", 1)

    pipeline = Pipeline([Parallel([look, other])], durable=True, checkpoint_store=memory)
    await pipeline.invoke({"x": 1}, run_id="r")
    forked = await pipeline.fork("r", from_step="look", patch={"x": 5})
    assert dict(forked) == {"x": 5, "seen": 5, "y": 1}


async def test_a_patch_replaces_what_an_open_branch_has_written(memory: InMemoryStore) -> None:
    failures = ["the first time"]

    @stage(version="1")
    async def write(ctx: Context) -> Context:
        return ctx.set("x", 1)

    @stage(version="1")
    async def look(ctx: Context) -> Context:
        if ctx["x"] == 5 and failures:
            raise OSError(failures.pop())
        return ctx.set("seen", ctx["x"])

    @stage(version="1")
    async def beside(ctx: Context) -> Context:
        return ctx.set("beside", True)

    pipeline = Pipeline(
        [Parallel([[write, look], [beside]])], durable=True, checkpoint_store=memory
    )
    await pipeline.invoke({}, run_id="r")
    with pytest.raises(OSError, match="the first time"):
        await pipeline.fork("r", from_step="look", as_run_id="copy", patch={"x": 5, "new": 6})
    resumed = await pipeline.invoke({}, run_id="copy", resume=True)
    assert dict(resumed) == {"x": 5, "seen": 5, "beside": True, "new": 6}


async def test_states_are_read_at_any_recorded_moment(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    final = await pipeline.invoke({"start": 1}, run_id="r")
    assert dict(await pipeline.state("r", 0)) == {"start": 1}
    assert dict(await pipeline.state("r", 1)) == {"start": 1, "a": 1}
    assert dict(await pipeline.state("r", "parallel/b")) == {"start": 1, "a": 1}
    assert await pipeline.state("r") == final
    delta = await pipeline.diff("r", "r", at_a=0, at_b="parallel/b")
    assert dict(delta) == {"a": {"b": 1}}
    with pytest.raises(NoCheckpointError, match="no row 99"):
        await pipeline.state("r", 99)


@pytest.mark.parametrize("at", [1.5, True, b"a", [1]])
async def test_what_is_no_moment_is_refused_with_what_would_be_one(
    memory: InMemoryStore, shop: Workshop, at: Any
) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({}, run_id="r")
    with pytest.raises(TypeError, match=r"is no moment of a run\. Give the number of"):
        await pipeline.state("r", at)
    with pytest.raises(TypeError, match="is no moment of a run"):
        await pipeline.diff("r", "r", at_b=at)


async def test_writes_of_an_open_branch_are_not_in_the_runs_context(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    shop.failing = {"e"}
    with pytest.raises(ValueError, match="e"):
        await pipeline.invoke({}, run_id="r")
    assert dict(await pipeline.state("r")) == {"a": 1}


async def test_steps_that_are_unknown_or_were_never_reached_are_told_apart(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    await pipeline.invoke({}, run_id="r")
    with pytest.raises(KeyError, match="is no step"):
        await pipeline.replay("r", from_step="missing")
    with pytest.raises(NoCheckpointError, match="never came to step"):
        await pipeline.fork("r", from_step="never")


async def test_a_failed_background_branch_is_recorded_and_not_run_again(
    memory: InMemoryStore, shop: Workshop
) -> None:
    pipeline = everything(shop, memory)
    shop.failing = {"bg", "h"}
    with pytest.raises(ValueError, match="h"):
        await pipeline.invoke({}, run_id="r")
    shop.failing = set()
    await pipeline.invoke({}, run_id="r", resume=True)
    assert shop.executed.count("bg") == 1
    errors = [entry for entry in await pipeline.history("r") if entry.error]
    assert [entry.step for entry in errors] == ["parallel#2/bg", "h"]


async def test_a_full_row_now_and_then_bounds_what_a_resume_reads(memory: InMemoryStore) -> None:
    count = 200

    def step(number: int) -> Any:
        async def body(ctx: Context) -> Context:
            if number == count - 1 and fail:
                raise ValueError("last")
            return ctx.set(f"k{number % 3}", number)

        return stage(name=f"s{number}", version="1")(body)

    fail = True
    pipeline = Pipeline([step(n) for n in range(count)], durable=True, checkpoint_store=memory)
    with pytest.raises(ValueError, match="last"):
        await pipeline.invoke({}, run_id="r")
    journal = memory.journal()
    assert journal is not None
    full = [row.sequence for row in await journal.rows("r") if row.full]
    assert full[0] == 0
    assert len(full) > 2
    fail = False
    assert dict(await pipeline.invoke({}, run_id="r", resume=True)) == {
        "k0": 198,
        "k1": 199,
        "k2": 197,
    }


async def test_a_checkpoint_costs_what_the_stage_wrote(memory: InMemoryStore) -> None:
    def step(number: int) -> Any:
        async def body(ctx: Context) -> Context:
            return ctx.set(f"k{number}", "x" * 10_000)

        return stage(name=f"s{number}", version="1")(body)

    pipeline = Pipeline([step(n) for n in range(100)], durable=True, checkpoint_store=memory)
    await pipeline.invoke({}, run_id="r")
    written = sum(entry.size for entry in await pipeline.history("r"))
    assert 1_000_000 < written < 1_100_000


async def test_a_resumed_stream_runs_its_stage_again_and_keeps_what_was_recorded(
    store: CheckpointStore, shop: Workshop
) -> None:
    @stage(version="1")
    async def tokens(ctx: Context) -> AsyncIterator[int]:
        yield 1
        if "tokens" in shop.failing:
            raise ValueError("cut")
        yield 2

    pipeline = Pipeline([shop.make("a"), tokens], durable=True, checkpoint_store=store)
    shop.failing = {"tokens"}
    got: list[int] = []
    with pytest.raises(ValueError, match="cut"):
        async for chunk in pipeline.stream({}, run_id="r"):
            got.append(chunk)
    assert got == [1]
    shop.failing = set()
    assert [chunk async for chunk in pipeline.stream({}, run_id="r", resume=True)] == [1, 2]
    assert shop.executed == ["a"]
    assert [chunk async for chunk in pipeline.stream({}, run_id="r", resume=True)] == []


async def test_a_stored_traceback_begins_in_the_users_code(
    memory: InMemoryStore, shop: Workshop
) -> None:
    shop.failing = {"a"}
    pipeline = Pipeline([shop.make("a")], durable=True, checkpoint_store=memory)
    with pytest.raises(ValueError, match="a"):
        await pipeline.invoke({}, run_id="r")
    error = (await pipeline.history("r"))[-1].error
    assert error is not None
    assert "raise ValueError(name)" in error.traceback
    assert "executor.py" not in error.traceback


async def test_long_errors_are_capped(memory: InMemoryStore) -> None:
    @stage
    async def wordy(ctx: Context) -> Context:
        raise ValueError("x" * 100_000)

    pipeline = Pipeline([wordy], durable=True, checkpoint_store=memory)
    with pytest.raises(ValueError, match="xxx"):
        await pipeline.invoke({}, run_id="r")
    entry = (await pipeline.history("r"))[-1]
    assert entry.error is not None
    assert len(entry.error.message) == 2000
    assert entry.size < 20_000


async def test_whoever_listens_to_progress_cannot_fail_a_stage() -> None:
    heard: list[tuple[str, int, int | None, str]] = []

    def listen(step: Any, done: int, total: int | None, note: str) -> None:
        heard.append((step.key, done, total, note))
        raise OSError("the terminal is gone")

    @stage
    async def work(ctx: Context) -> Context:
        current_step().progress(1, 2, "half")
        return ctx.set("done", True)

    final = await Pipeline([work]).invoke({}, watch=Watchers(report=listen))
    assert final["done"]
    assert heard == [("work", 1, 2, "half")]
