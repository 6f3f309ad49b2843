"""A run that other code recorded goes on only where somebody says how, and the log says so too."""

from __future__ import annotations

from typing import Any

import pytest

from fluxio import Context, InMemoryStore, Parallel, Pipeline, Send, stage
from fluxio.errors import CheckpointVersionError, ConfigurationError, RunIDInUseError
from fluxio.passages import Force, PassageKind, Where
from fluxio.runtime import machine
from fluxio.runtime.claims import Claims
from fluxio.runtime.environment import Environment
from fluxio.runtime.outcomes import Succeeded
from fluxio.runtime.recorder import Entry
from fluxio.store.base import CheckpointStore, RowKind
from fluxio.store.lone import open_journal
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from fluxio.verification import verify_log

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def step(name: str, *, version: str = "1", fails: bool = False) -> Any:
    @stage(name=name, version=version)
    async def work(ctx: Context) -> Context:
        ran.append(name)
        if fails:
            raise RuntimeError(name)
        return ctx.set(name, version)

    return work


def pipeline(store: CheckpointStore, *nodes: Any, **options: Any) -> Pipeline:
    return Pipeline(nodes, name="p", durable=True, checkpoint_store=store, **options)


async def crashed(*nodes: Any, run_id: str = "r") -> tuple[InMemoryStore, str]:
    """A run of these stages that failed, and the version that recorded it."""
    store = InMemoryStore()
    old = pipeline(store, *nodes)
    with pytest.raises(RuntimeError):
        await old.invoke({"given": 1}, run_id=run_id)
    ran.clear()
    return store, old.version


async def sound(store: InMemoryStore, code: Pipeline, run_id: str = "r") -> bool:
    journal = store.journal()
    record = await journal.run(run_id)
    rows = await journal.rows(run_id)
    assert record is not None
    assert record.version == code.version
    return verify_log(record, rows, code.compiled) == []


async def test_a_compatible_version_goes_on_behind_the_last_recorded_step() -> None:
    store, old = await crashed(step("a"), step("b"), step("c", fails=True))
    new = pipeline(store, step("a"), step("b"), step("x"), step("c"), compatible_with=[old])
    final = await new.invoke({}, run_id="r", resume=True)
    assert ran == ["x", "c"]
    assert dict(final) == {"given": 1, "a": "1", "b": "1", "x": "1", "c": "1"}
    assert await sound(store, new)


async def test_what_is_compatible_is_no_part_of_the_version() -> None:
    one = Pipeline([step("a")])
    two = Pipeline([step("a")], compatible_with=["0123456789abcdef"])
    two.migrate("fedcba9876543210")(lambda context, where: context)
    assert one.version == two.version


async def test_other_versions_stay_refused_and_nothing_changes() -> None:
    store, _ = await crashed(step("a"), step("b", fails=True))
    before = await store.journal().rows("r")
    new = pipeline(store, step("a"), step("b"), step("c"), compatible_with=["0123456789abcdef"])
    for attempt in (new.invoke({}, run_id="r", resume=True), new.replay("r"), new.fork("r")):
        with pytest.raises(CheckpointVersionError) as caught:
            await attempt
        assert "added: c" in caught.value.changes
    assert ran == []
    assert await store.journal().rows("r") == before


async def test_the_log_says_how_a_run_came_to_another_version() -> None:
    store, old = await crashed(step("a"), step("b", fails=True))
    new = pipeline(store, step("a"), step("b"), step("c"))
    await new.replay("r", force=Force(by="ada", reason="the change is harmless"))
    begun = (await new.history("r"))[3]
    assert (begun.kind, begun.attempt, begun.version) == (RowKind.START, 2, new.version)
    assert begun.carried is not None
    told = begun.carried
    assert (told.version, told.kind, told.by, told.reason) == (
        old,
        PassageKind.FORCED,
        "ada",
        "the change is harmless",
    )
    history = await new.history("r")
    assert [row.sequence for row in history if row.carried is not None] == [3]
    assert ran == ["b", "c"]
    assert await sound(store, new)


async def test_open_branches_go_on_where_they_stand() -> None:
    fork = [step("l"), step("m")], [step("r", fails=True)]
    store, old = await crashed(step("a"), Parallel([*map(list, fork)], name="f"), step("z"))
    mended = Parallel([[step("l"), step("m")], [step("r")]], name="f")
    new = pipeline(store, step("new"), step("a"), mended, step("z"), compatible_with=[old])
    final = await new.invoke({}, run_id="r", resume=True)
    assert set(ran) <= {"l", "m", "r", "z"}
    assert {"r", "z"} <= set(ran)
    assert dict(final)["z"] == "1"
    assert await sound(store, new)


async def test_a_recorded_step_that_is_gone_cannot_be_passed_over() -> None:
    store, old = await crashed(step("a"), step("b"), step("c", fails=True))
    new = pipeline(store, step("a"), step("renamed"), step("c"), compatible_with=[old])
    with pytest.raises(CheckpointVersionError, match="row 2 has no place in it"):
        await new.invoke({}, run_id="r", resume=True)
    record = await store.journal().run("r")
    assert record is not None
    assert (record.status, record.version, ran) == ("failed", old, [])


async def test_a_migration_carries_a_run_over_and_is_asked_once() -> None:
    store, old = await crashed(step("a"), step("b"), step("c", fails=True))
    new = pipeline(store, step("a"), step("bb"), step("c", fails=True), step("d"))
    asked: list[Where] = []

    @new.migrate(old)
    def rename(context: Context, where: Where) -> Context:
        asked.append(where)
        return Context.create({"given": context["given"], "bb": context["b"]})

    with pytest.raises(RuntimeError):
        await new.invoke({}, run_id="r", resume=True)
    assert asked == [Where(version=old, due="c", done=("a", "b"))]
    with pytest.raises(RuntimeError):
        await new.invoke({}, run_id="r", resume=True)
    assert len(asked) == 1
    assert dict(await new.state("r")) == {"given": 1, "bb": "1"}
    assert ran == ["c", "c"]
    assert await sound(store, new)


async def test_a_migration_may_name_the_step_to_go_on_at() -> None:
    store, old = await crashed(step("a"), step("b"), step("c", fails=True))
    new = pipeline(store, step("start"), step("second"), step("third"))
    new.migrate(old)(lambda context, where: (context, "second"))
    await new.invoke({}, run_id="r", resume=True)
    assert ran == ["second", "third"]


async def test_a_run_that_was_begun_anew_meanwhile_is_not_taken_for_the_old_one() -> None:
    inner, version = await crashed(step("a"), step("c", fails=True))
    old = pipeline(inner, step("a"), step("c", fails=True))
    store = FaultyStore(inner)
    new = pipeline(store, step("a"), step("x"), step("c"), compatible_with=[version])

    async def begin_anew() -> None:
        with pytest.raises(RuntimeError):
            await old.invoke({"given": 2}, run_id="r")

    store._ledger.faults = (Fault(mode=FaultMode.SLOW, operation=Operation.OPEN, hook=begin_anew),)
    with pytest.raises(RunIDInUseError, match="Try again"):
        await new.invoke({}, run_id="r", resume=True)
    final = await new.invoke({}, run_id="r", resume=True)
    assert final["given"] == 2


async def test_a_run_is_carried_over_with_what_a_lost_worker_recorded_at_the_last_moment() -> None:
    store = FaultyStore(InMemoryStore())
    old = pipeline(store, step("a"), step("c"))
    new = pipeline(store, step("a"), step("x"), step("c"), compatible_with=[old.version])
    program, journal = old.compiled, open_journal(store)
    claims = Claims(program=program, journal=journal, environment=Environment())
    state = machine.begin(program, Context.create({"given": 1})).state
    lost = await claims.create("r", state)

    async def record_a_and_die() -> None:
        outcome = Succeeded(ip=0, writes={"a": "lost"}, route=None, tries=1, duration=0.0)
        after = machine.succeed(program, state, 0, outcome.writes, None).state
        recorder = claims.recorder(lost)
        entry = Entry(outcome, recorder.step_text(outcome), after)
        await recorder.commit(recorder.prepare([entry], after))
        journal.release(lost)

    store._ledger.faults = (
        Fault(mode=FaultMode.SLOW, operation=Operation.OPEN, call=2, hook=record_a_and_die),
    )
    final = await new.invoke({}, run_id="r", resume=True)
    assert dict(final) == {"given": 1, "a": "lost", "x": "1", "c": "1"}
    assert ran == ["x", "c"]


async def test_a_position_that_is_not_safe_is_refused_before_anything_runs() -> None:
    store, old = await crashed(step("a"), step("b", fails=True))
    inside = Parallel([[step("b")], [step("c")]], name="f")
    for answer, reason in {
        "gone": "the program has no step 'gone'",
        "f/b": "inside of branches",
        "f": "inside of branches",
    }.items():
        new = pipeline(store, step("a"), inside, step("z"))
        key = next((k for k in new.compiled.index if k.endswith("/b")), "")
        given = key if answer == "f/b" else answer
        new.migrate(old)(lambda context, where, given=given: (context, given))
        with pytest.raises(CheckpointVersionError, match=reason):
            await new.invoke({}, run_id="r", resume=True)
    assert ran == []


@pytest.mark.parametrize(
    ("migration", "reason"),
    [
        (lambda context, where: {"a": 1}, "gave dict, not a context"),
        (lambda context, where: context["no such key"], "raised KeyError"),
        (lambda context, where: (context, 3), "gave tuple, not a context"),
    ],
)
async def test_a_migration_that_fails_leaves_the_run_as_it_is(migration: Any, reason: str) -> None:
    store, old = await crashed(step("a"), step("b", fails=True))
    before = await store.journal().run("r")
    new = pipeline(store, step("a"), step("b"), step("c"))
    new.migrate(old)(migration)
    with pytest.raises(CheckpointVersionError, match=reason):
        await new.invoke({}, run_id="r", resume=True)
    assert await store.journal().run("r") == before


async def test_a_fork_and_a_replay_from_a_step_pass_over_too() -> None:
    store, old = await crashed(step("a"), step("b"), step("c", fails=True))
    new = pipeline(store, step("a"), step("b", version="2"), step("c"), compatible_with=[old])
    source = await store.journal().rows("r")
    fork = await new.fork("r", from_step="b", as_run_id="fork")
    assert (fork["b"], ran) == ("2", ["b", "c"])
    assert await store.journal().rows("r") == source
    first = (await new.history("fork"))[0]
    assert first.carried is not None
    assert first.carried.version == old
    final = await new.replay("r", from_step="b")
    assert final["b"] == "2"
    assert await sound(store, new)


async def test_a_route_that_is_gone_is_told() -> None:
    @stage(version="1")
    async def pick(ctx: Context) -> Send:
        return Send("left", {})

    store, old = await crashed(pick, {"left": [step("l", fails=True)]})
    new = pipeline(store, pick, {"right": [step("l")]}, compatible_with=[old])
    with pytest.raises(CheckpointVersionError, match="has no place"):
        await new.invoke({}, run_id="r", resume=True)


async def test_a_finished_run_of_a_compatible_version_gives_its_result() -> None:
    store = InMemoryStore()
    old = pipeline(store, step("a"))
    await old.invoke({"given": 1}, run_id="r")
    new = pipeline(store, step("a"), step("b"), compatible_with=[old.version])
    assert dict(await new.invoke({}, run_id="r", resume=True)) == {"given": 1, "a": "1"}
    assert dict(await new.invoke({}, run_id="r", on_conflict="return"))["a"] == "1"
    with pytest.raises(RunIDInUseError):
        await new.invoke({}, run_id="r", on_conflict="reject")


@pytest.mark.parametrize("wrong", [["1.0"], ["0123456789ABCDEF"], "0123456789abcdef", [7]])
def test_what_is_no_version_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Pipeline([step("a")], compatible_with=wrong)


def test_a_version_has_one_way_only() -> None:
    old = "0123456789abcdef"
    made = Pipeline([step("a")], compatible_with=[old])
    with pytest.raises(ConfigurationError, match="have a way"):
        made.migrate(old)(lambda context, where: context)
    made.migrate("a" * 16)(lambda context, where: context)
    with pytest.raises(ConfigurationError, match="have a way"):
        made.migrate("a" * 16)(lambda context, where: context)
