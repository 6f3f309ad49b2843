"""Running a pipeline that is not durable: order, branches, routes, streams, errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import (
    ConfigurationError,
    Context,
    ForkMode,
    InvalidRunIDError,
    MergeConflictError,
    MutationError,
    Parallel,
    Pipeline,
    RetryPolicy,
    RoutingError,
    Send,
    StageResultError,
    StageTimeoutError,
    current_step,
    stage,
)
from fluxio.runtime.environment import Environment
from fluxio.store.base import RowKind
from tests.core.stores.toy import TransactionalStore

pytestmark = pytest.mark.parametrize(
    "core_environment",
    [
        pytest.param(Environment(debugging=lambda: True), id="debugging"),
        pytest.param(Environment(debugging=lambda: False), id="hurrying"),
    ],
    indirect=True,
)


def setting(key: str, value: Any = True) -> Any:
    """A stage that sets one key."""

    async def body(ctx: Context) -> Context:
        return ctx.set(key, value)

    return stage(name=f"set_{key}")(body)


def router(answer: Any, name: str = "pick") -> Any:
    async def body(ctx: Context) -> Any:
        return answer(ctx) if callable(answer) else answer

    return stage(name=name)(body)


async def test_stages_run_in_order_and_hand_on_their_values() -> None:
    @stage
    def double(ctx: Context) -> Context:
        return ctx.set("n", ctx["n"] * 2)

    @stage
    async def add(ctx: Context) -> Context:
        return ctx.set("n", ctx["n"] + 1)

    final = await Pipeline([double, add, double]).invoke({"n": 1})
    assert final["n"] == 6


async def test_the_final_context_names_its_run() -> None:
    one = await Pipeline([setting("x")]).invoke({})
    two = await Pipeline([setting("x")]).invoke({}, run_id="mine")
    assert len(one.run_id) == 32
    assert two.run_id == "mine"


async def test_the_next_stage_sees_an_empty_write_set() -> None:
    seen: list[frozenset[str]] = []

    @stage
    async def look(ctx: Context) -> Context:
        seen.append(ctx.written)
        return ctx

    branch = [setting("b"), look]
    await Pipeline([setting("a"), look, Parallel([branch]), look]).invoke({})
    assert seen == [frozenset()] * 3


async def test_branches_are_merged_and_nested_ones_too() -> None:
    inner = Parallel([setting("c"), [setting("d"), setting("e")]], name="inner")
    pipeline = Pipeline([Parallel([setting("a"), [setting("b"), inner]]), setting("z")])
    final = await pipeline.invoke({"start": 1})
    assert set(final) == {"start", "a", "b", "c", "d", "e", "z"}


async def test_a_branch_does_not_see_its_siblings() -> None:
    seen: dict[str, Any] = {}

    @stage
    async def late(ctx: Context) -> Context:
        seen["a"] = ctx.get("a")
        return ctx.set("late", True)

    await Pipeline([Parallel([setting("a"), [setting("b"), late]])]).invoke({})
    assert seen == {"a": None}


async def test_a_conflict_names_keys_and_branches() -> None:
    pipeline = Pipeline([Parallel([setting("k", 1), [setting("a"), setting("k", 2)]])])
    with pytest.raises(MergeConflictError) as caught:
        await pipeline.invoke({})
    assert caught.value.conflicting_keys == ("k",)
    assert caught.value.branch_names == ("set_k", "set_a")


async def test_branches_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    @stage
    async def meet(ctx: Context) -> Context:
        await both.wait()
        return ctx

    async with asyncio.timeout(5):
        await Pipeline([Parallel([meet, stage(name="other")(meet)])]).invoke({})


async def test_when_a_branch_fails_its_siblings_are_cancelled_and_awaited() -> None:
    events: list[str] = []
    started = asyncio.Event()

    @stage
    async def slow(ctx: Context) -> Context:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cleaned up")
        return ctx

    @stage
    async def failing(ctx: Context) -> Context:
        await started.wait()
        raise ValueError("no")

    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="no"):
        await Pipeline([Parallel([slow, failing])]).invoke({})
    assert events == ["cleaned up"]
    assert asyncio.all_tasks() == before


async def test_no_task_is_left_after_a_thousand_failing_forks() -> None:
    @stage
    async def slow(ctx: Context) -> Context:
        await asyncio.Event().wait()
        return ctx

    @stage
    async def failing(ctx: Context) -> Context:
        raise ValueError

    pipeline = Pipeline([Parallel([slow, failing, [slow]])])
    before = asyncio.all_tasks()
    for _ in range(1000):
        with pytest.raises(ValueError):  # noqa: PT011 - the error has no words
            await pipeline.invoke({})
    assert asyncio.all_tasks() == before


async def test_fire_and_forget_neither_blocks_nor_is_lost_nor_is_merged() -> None:
    order: list[str] = []
    release = asyncio.Event()

    @stage
    async def background(ctx: Context) -> Context:
        await release.wait()
        order.append("background")
        return ctx.set("secret", 1)

    @stage
    async def after(ctx: Context) -> Context:
        order.append("after")
        release.set()
        return ctx

    final = await Pipeline([Parallel([background], mode=ForkMode.FIRE_FORGET), after]).invoke({})
    assert order == ["after", "background"]
    assert "secret" not in final


async def test_a_failing_background_branch_never_fails_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @stage
    async def failing(ctx: Context) -> Context:
        raise ValueError("only logged")

    fork = Parallel([[failing, setting("never")], setting("other")], mode=ForkMode.FIRE_FORGET)
    final = await Pipeline([fork, setting("x")]).invoke({})
    assert dict(final) == {"x": True}
    assert "only logged" in caplog.text


async def test_background_branches_finish_before_a_failing_run_ends() -> None:
    done: list[str] = []
    failed = asyncio.Event()

    @stage
    async def background(ctx: Context) -> Context:
        await failed.wait()
        done.append("background")
        return ctx

    @stage
    async def failing(ctx: Context) -> Context:
        failed.set()
        raise ValueError("main")

    pipeline = Pipeline([Parallel([background], mode=ForkMode.FIRE_FORGET), failing])
    with pytest.raises(ValueError, match="main"):
        await pipeline.invoke({})
    assert done == ["background"]


async def test_a_router_chooses_a_body_and_sets_its_patch() -> None:
    routes = {"big": [setting("big"), setting("more")], "small": setting("small")}
    pick = router(lambda ctx: Send("big" if ctx["n"] > 9 else "small", {"routed": ctx["n"]}))
    pipeline = Pipeline([pick, routes, setting("after")])
    assert set(await pipeline.invoke({"n": 10})) == {"n", "routed", "big", "more", "after"}
    assert set(await pipeline.invoke({"n": 1})) == {"n", "routed", "small", "after"}


async def test_routes_nest_and_hold_parallels_and_pipelines() -> None:
    inner = [router(Send("y"), "inner"), {"y": Parallel([setting("p"), setting("q")])}]
    pipeline = Pipeline([router(Send("x")), {"x": Pipeline(inner)}, setting("z")])
    assert set(await pipeline.invoke({})) == {"p", "q", "z"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [(Send("missing"), "chose 'missing'"), (lambda ctx: ctx, "returned a context")],
)
async def test_a_router_that_chooses_nothing_known_is_named(answer: Any, words: str) -> None:
    with pytest.raises(RoutingError, match=words) as caught:
        await Pipeline([router(answer), {"x": setting("a")}]).invoke({})
    assert caught.value.router == "pick"
    assert tuple(caught.value.known) == ("x",)


async def test_a_send_that_nobody_consumes_is_an_error() -> None:
    with pytest.raises(RoutingError, match="no dict of routes"):
        await Pipeline([router(Send("x"))]).invoke({})
    with pytest.raises(RoutingError, match="no dict of routes"):
        await Pipeline([Parallel([router(Send("x"))])]).invoke({})


async def test_a_send_inside_a_branch_is_consumed_inside_that_branch() -> None:
    branch = [router(Send("x")), {"x": setting("a")}]
    assert dict(await Pipeline([Parallel([branch])]).invoke({})) == {"a": True}


@pytest.mark.parametrize("result", [None, {"a": 1}, 5])
async def test_a_stage_that_returns_no_context_is_named(result: Any) -> None:
    with pytest.raises(StageResultError, match="'pick' returned") as caught:
        await Pipeline([router(result)]).invoke({})
    assert caught.value.stage == "pick"


async def test_a_context_built_from_scratch_adds_its_keys() -> None:
    @stage
    async def scratch(ctx: Context) -> Context:
        return Context.create({"fresh": 1})

    assert dict(await Pipeline([scratch]).invoke({"old": 1})) == {"old": 1, "fresh": 1}


async def test_a_stage_may_leave_its_name_to_a_later_one() -> None:
    with pytest.raises(KeyError, match="is no step"):
        await Pipeline([setting("a")]).run_step("missing", Context.create({}))
    after = await Pipeline([setting("a")]).run_step("set_a", Context.create({"x": 1}))
    assert after.written == {"a"}
    assert dict(after) == {"x": 1, "a": True}


async def test_a_timeout_is_per_attempt_and_names_the_stage() -> None:
    @stage(timeout=0.01)
    async def slow(ctx: Context) -> Context:
        await asyncio.Event().wait()
        return ctx

    with pytest.raises(StageTimeoutError, match="'slow' took longer") as caught:
        await Pipeline([slow]).invoke({})
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.timeout == 0.01


async def test_an_attempt_does_not_pay_for_the_one_before_that_keeps_its_thread() -> None:
    called: list[int] = []
    go_on = threading.Event()

    @stage(timeout=0.01, retry=RetryPolicy(max_attempts=2, base_delay=0))
    def slow_once(ctx: Context) -> Context:
        called.append(current_step().attempt)
        if len(called) == 1:
            go_on.wait(5)
        return ctx.set("called", called)

    asyncio.get_running_loop().call_later(0.1, go_on.set)
    final = await Pipeline([slow_once], max_workers=1).invoke({})
    assert final["called"] == [1, 2]


async def test_a_stages_own_timeout_error_is_left_alone() -> None:
    @stage(timeout=60)
    async def raising(ctx: Context) -> Context:
        raise TimeoutError("of my own")

    with pytest.raises(TimeoutError, match="of my own") as caught:
        await Pipeline([raising]).invoke({})
    assert not isinstance(caught.value, StageTimeoutError)


@pytest.mark.parametrize("where", ["alone", "hurried", "timed", "plain", "in a branch", "around"])
async def test_a_stage_that_is_cancelled_from_within_fails(where: str) -> None:
    async def gives_up(ctx: Context) -> Context:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner
        return ctx

    def gives_up_plainly(ctx: Context) -> Context:
        raise asyncio.CancelledError

    async def cancelling(stage: Any, ctx: Context, call_next: Any) -> Context:
        raise asyncio.CancelledError

    @stage
    async def fine(ctx: Context) -> Context:
        return ctx

    broken = stage(name="broken", timeout=5 if where == "timed" else None)(
        gives_up_plainly if where == "plain" else gives_up
    )
    nodes: dict[str, list[Any]] = {
        "hurried": [fine, broken],
        "in a branch": [Parallel([broken, fine])],
    }
    middleware = [cancelling] if where == "around" else []
    pipeline = Pipeline(nodes.get(where, [broken]), middleware=middleware)
    with pytest.raises(RuntimeError, match="'broken' raised CancelledError, but nobody") as caught:
        await pipeline.invoke({})
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_a_stage_that_is_cancelled_from_within_is_tried_again() -> None:
    tries: list[int] = []

    @stage(retry=2)
    async def unsteady(ctx: Context) -> Context:
        tries.append(len(tries))
        if len(tries) == 1:
            raise asyncio.CancelledError
        return ctx.set("tries", len(tries))

    assert dict(await Pipeline([unsteady]).invoke({})) == {"tries": 2}


async def test_a_background_branch_that_is_cancelled_from_within_never_fails_the_run() -> None:
    @stage
    async def broken(ctx: Context) -> Context:
        raise asyncio.CancelledError

    @stage
    async def fine(ctx: Context) -> Context:
        return ctx.set("fine", True)

    nodes = [Parallel([broken], mode=ForkMode.FIRE_FORGET), fine]
    assert dict(await Pipeline(nodes).invoke({})) == {"fine": True}


async def test_a_value_changed_in_place_is_found_while_debugging(
    core_environment: Environment,
) -> None:
    @stage
    async def careless(ctx: Context) -> Context:
        ctx["items"].append(1)
        return ctx

    if not core_environment.debugging():
        assert (await Pipeline([careless]).invoke({"items": []}))["items"] == [1]
        return
    with pytest.raises(
        MutationError, match=r"'careless' changed ctx\['items'\] in place"
    ) as caught:
        await Pipeline([careless]).invoke({"items": []})
    assert (caught.value.stage, caught.value.key) == ("careless", "items")


async def test_objects_that_cannot_be_compared_are_never_called_changed() -> None:
    class Opaque:
        pass

    final = await Pipeline([setting("x")]).invoke({"thing": Opaque(), "sock": object()})
    assert final["x"] is True


async def test_stages_learn_which_step_they_are() -> None:
    seen: list[tuple[str, str, int, str]] = []

    def note(ctx: Context) -> Context:
        step = current_step()
        seen.append((step.run_id, step.key, step.attempt, step.idempotency_key))
        return ctx

    await Pipeline([stage(note), Parallel([stage(note)])]).invoke({}, run_id="r1")
    await Pipeline([stage(note)]).invoke({}, run_id="r1")
    assert [entry[:3] for entry in seen] == [
        ("r1", "note", 1),
        ("r1", "parallel/note", 1),
        ("r1", "note", 1),
    ]
    assert seen[0][3] == seen[2][3] != seen[1][3]
    with pytest.raises(LookupError, match="inside a stage"):
        current_step()


@pytest.mark.parametrize("run_id", ["", "with space", "a" * 129, "ü", "tab\t", "new\nline", 5])
async def test_run_ids_are_printable_ascii_without_spaces(run_id: Any) -> None:
    with pytest.raises(InvalidRunIDError, match="1 to 128"):
        await Pipeline([setting("a")]).invoke({}, run_id=run_id)


async def test_generated_run_ids_are_random_and_valid() -> None:
    pipeline = Pipeline([setting("a")])
    ids = {(await pipeline.invoke({})).run_id for _ in range(200)}
    assert len(ids) == 200
    # 32 hexadecimal digits carry 128 random bits.
    assert all(len(run_id) == 32 and int(run_id, 16) >= 0 for run_id in ids)


async def test_asking_a_pipeline_without_checkpoints_for_runs_is_refused() -> None:
    pipeline = Pipeline([setting("a")], name="plain")
    for call in (
        pipeline.invoke({}, run_id="x", resume=True),
        pipeline.replay("x"),
        pipeline.fork("x"),
        pipeline.history("x"),
        pipeline.state("x"),
        pipeline.diff("x", "y"),
    ):
        with pytest.raises(ConfigurationError, match="durable=True"):
            await call


async def test_options_of_invoke_are_checked() -> None:
    pipeline = Pipeline([setting("a")], durable=True)
    with pytest.raises(ConfigurationError, match="restart, resume, return, reject"):
        await pipeline.invoke({}, on_conflict="maybe")
    with pytest.raises(ConfigurationError, match="needs the run_id"):
        await pipeline.invoke({}, resume=True)


async def test_a_pipeline_is_a_context_manager_and_works_again_after_shutdown() -> None:
    async with Pipeline([stage(lambda ctx: ctx.set("n", 1))], max_workers=1) as pipeline:
        assert (await pipeline.invoke({}))["n"] == 1
    assert (await pipeline.invoke({}))["n"] == 1
    pipeline.shutdown()
    pipeline.shutdown()


async def test_chunks_of_a_stream_stage_are_in_the_context_after_invoke() -> None:
    @stage
    async def tokens(ctx: Context) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert (await Pipeline([tokens]).invoke({}))["tokens_stream_result"] == ["a", "b"]


@pytest.mark.parametrize("wrong", [Context.create({}), Send("x")])
async def test_a_stream_stage_yields_chunks_only(wrong: Any) -> None:
    @stage
    async def tokens(ctx: Context) -> AsyncIterator[Any]:
        yield wrong

    with pytest.raises(StageResultError, match="Yield chunks"):
        await Pipeline([tokens]).invoke({})


@pytest.mark.timeout(30)
@pytest.mark.parametrize("options", [{}, {"timeout": 20}, {"transactional": True}])
@pytest.mark.parametrize("branched", [False, True])
async def test_a_plain_stage_that_runs_out_of_an_iterator_fails_and_hangs_nobody(
    options: dict[str, Any], branched: bool
) -> None:
    @stage(version="1", **options)
    def first(ctx: Context) -> Context:
        return ctx.set("first", next(iter(ctx["found"])))

    nodes = [Parallel([first])] if branched else [first]
    async with Pipeline(nodes, durable=True, checkpoint_store=TransactionalStore()) as pipeline:
        with pytest.raises(RuntimeError, match="'first' raised StopIteration"):
            await pipeline.invoke({"found": []}, run_id="r")
        assert (await pipeline.history("r"))[-1].kind is RowKind.ERROR
