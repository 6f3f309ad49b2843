"""What the compiler makes of nodes, and what it refuses, with the place and the remedy."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import (
    CompilationError,
    Context,
    ForkMode,
    InMemoryStore,
    LoggingCallback,
    MergeConflictError,
    Parallel,
    Pipeline,
    RetryMiddleware,
    stage,
)
from fluxio.program import Call


@stage
async def a(ctx: Context) -> Context:
    return ctx


@stage
async def b(ctx: Context) -> Context:
    return ctx


@stage
async def pick(ctx: Context) -> Context:
    return ctx


@stage
async def chunks(ctx: Context) -> AsyncIterator[int]:
    yield 1


def keys(*nodes: Any, **options: Any) -> list[str]:
    return [call.key for call in Pipeline(list(nodes), **options).compiled.calls]


def test_step_keys_are_paths_in_the_tree() -> None:
    nodes = [
        a,
        Parallel([b, [a, b]], name="fan_out"),
        pick,
        {"premium": [a], "basic": Pipeline([b], name="sub")},
    ]
    assert keys(*nodes) == [
        "a",
        "fan_out/b",
        "fan_out/a",
        "fan_out/b#2",
        "pick",
        "pick/premium/a",
        "pick/basic/sub/b",
    ]


def test_repeated_names_are_numbered() -> None:
    assert keys(a, a, Parallel([a]), Parallel([a])) == ["a", "a#2", "parallel/a", "parallel#2/a"]


def test_a_bare_function_is_a_stage() -> None:
    async def bare(ctx: Context) -> Context:
        return ctx

    assert keys(bare) == ["bare"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], "is empty"),
        ([Parallel([])], "Add at least one branch"),
        ([Parallel([[]])], "Branch 0"),
        ([{"x": a}], "no router before it"),
        ([a, {"x": a}, {"y": b}], "no router before it"),
        ([Parallel([a]), {"x": a}], "no router before it"),
        ([Pipeline([a]), {"x": a}], "no router before it"),
        ([Parallel([{"x": a}])], "no router before it"),
        ([pick, {}], "has no routes"),
        ([pick, {"x": []}], "Route 'x' of 'pick'"),
        ([pick, {"x/y": a}], "without / and #"),
        ([pick, {1: a}], "Route 1"),
        ([chunks, {"x": a}], "STREAM"),
        ([5], "int"),
        (["text"], "str"),
        ([Context], "type"),
    ],
)
def test_nodes_that_form_no_program_are_refused_with_the_place(
    nodes: list[Any], words: str
) -> None:
    with pytest.raises(CompilationError, match=words):
        Pipeline(nodes)


@pytest.mark.parametrize("nodes", [a, "abc", {"x": a}])
def test_nodes_come_as_a_list(nodes: Any) -> None:
    with pytest.raises(CompilationError, match="list of nodes"):
        Pipeline(nodes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"middleware": [1]}, "middleware has 1;"),
        ({"middleware": [RetryMiddleware]}, "middleware has <class"),
        ({"callbacks": [LoggingCallback]}, "instances of BaseCallback"),
        ({"callbacks": [print]}, "instances of BaseCallback"),
        ({"checkpoint_store": InMemoryStore, "durable": True}, "instance of CheckpointStore"),
        ({"max_workers": "2"}, "'2' is none"),
        ({"max_workers": True}, "True is none"),
    ],
)
def test_what_cannot_stand_around_a_pipeline_is_refused(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        Pipeline([a], **options)
    for count in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            Pipeline([a], max_workers=count)


def test_a_pipeline_that_contains_itself_is_refused() -> None:
    nodes: list[Any] = [a]
    outer = Pipeline(nodes, name="loop")
    nodes.append(outer)
    with pytest.raises(CompilationError, match="contain itself"):
        Pipeline([outer])


def test_declared_writes_that_meet_are_refused_before_anything_runs() -> None:
    left = stage(writes=["total"], name="left")(a)
    right = stage(writes=["total", "other"], name="right")(b)
    with pytest.raises(MergeConflictError) as caught:
        Pipeline([Parallel([[a, left], right], name="sums")])
    assert isinstance(caught.value, CompilationError)
    assert caught.value.conflicting_keys == ("total",)
    assert caught.value.branch_names == ("a", "right")


def test_declared_writes_in_the_background_never_meet() -> None:
    left = stage(writes=["total"], name="left")(a)
    right = stage(writes=["total"], name="right")(b)
    assert Pipeline([Parallel([left, right], mode=ForkMode.FIRE_FORGET)]).compiled.calls


def test_declared_writes_behind_routes_are_left_to_the_run() -> None:
    left = stage(writes=["total"], name="left")(a)
    right = stage(writes=["total"], name="right")(b)
    fan = Parallel([[pick, {"x": left, "y": a}], right])
    assert Pipeline([fan]).compiled.calls


def declared(name: str, reads: list[str] | None, writes: list[str] | None) -> Any:
    return stage(name=name, reads=reads, writes=writes)(a)


def folded(pipeline: Pipeline) -> list[str]:
    return [call.key for call in pipeline.compiled.calls]


def test_auto_parallel_is_off_unless_asked_for() -> None:
    nodes = [declared("x", ["i"], ["o"]), declared("y", ["j"], ["p"])]
    assert folded(Pipeline(nodes)) == ["x", "y"]


def test_auto_parallel_folds_independent_neighbours_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nodes = [
        declared("x", ["i"], ["o"]),
        declared("y", ["j"], ["p"]),
        declared("z", ["o"], ["q"]),
        a,
        declared("v", ["i"], ["r"]),
    ]
    with caplog.at_level(logging.WARNING, "fluxio.compiler"):
        pipeline = Pipeline(nodes, auto_parallel=True)
    assert folded(pipeline) == ["parallel/x", "parallel/y", "z", "a", "v"]
    assert len(caplog.records) == 1
    assert "x, y" in caplog.text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((["i"], ["o"]), (["o"], ["p"])),
        ((["p"], ["o"]), (["j"], ["p"])),
        ((["i"], ["o"]), (["j"], ["o"])),
        ((None, ["o"]), (["j"], ["p"])),
        ((["i"], None), (["j"], ["p"])),
        (([], ["o"]), (["j"], ["p"])),
        ((["i"], []), (["j"], ["p"])),
    ],
)
def test_auto_parallel_keeps_the_order_of_whatever_may_depend(
    first: tuple[Any, Any], second: tuple[Any, Any]
) -> None:
    pipeline = Pipeline([declared("x", *first), declared("y", *second)], auto_parallel=True)
    assert folded(pipeline) == ["x", "y"]


def test_auto_parallel_never_folds_a_router() -> None:
    nodes = [declared("x", ["i"], ["o"]), declared("y", ["j"], ["p"]), {"r": a}]
    assert folded(Pipeline(nodes, auto_parallel=True))[:2] == ["x", "y"]


def test_a_nested_pipeline_follows_its_own_auto_parallel() -> None:
    inner = Pipeline([declared("x", ["i"], ["o"]), declared("y", ["j"], ["p"])], name="inner")
    assert folded(Pipeline([inner], auto_parallel=True)) == ["inner/x", "inner/y"]


def test_a_sub_pipelines_middleware_stands_inside_the_outer_one() -> None:
    async def outer(stage: Any, ctx: Context, next: Any) -> Any:
        return await next(ctx)

    async def inner(stage: Any, ctx: Context, next: Any) -> Any:
        return await next(ctx)

    pipeline = Pipeline([a, Pipeline([b], middleware=[inner])], middleware=[outer])
    chains = [item.middleware for item in pipeline.compiled.instructions if isinstance(item, Call)]
    assert chains == [(outer,), (outer, inner)]


def test_the_version_follows_structure_and_options_but_not_the_name() -> None:
    base = Pipeline([a, b]).version
    assert Pipeline([a, b], name="other").version == base
    assert Pipeline([b, a]).version != base
    assert Pipeline([a, Parallel([b])]).version != base
    assert Pipeline([stage(timeout=3)(a), b]).version != base
    assert Pipeline([stage(version="2")(a), b]).version != base
    assert len(base) == 16


def test_a_named_version_replaces_the_code() -> None:
    async def a(ctx: Context) -> Context:
        return ctx.set("different", True)

    one = Pipeline([stage(version="2")(globals()["a"])])
    two = Pipeline([stage(version="2")(a)])
    assert one.version == two.version


def test_the_manifest_explains_what_changed() -> None:
    old = Pipeline([a, b, pick]).compiled.manifest
    new = Pipeline([stage(timeout=1)(a), pick, b, Parallel([a])]).compiled.manifest
    changes = old.changes_to(new)
    assert [line.split(" (")[0] for line in changes] == [
        "added: parallel",
        "added: parallel/a",
        "changed: a",
        "moved: b",
    ] or [line.split(" (")[0] for line in changes] == [
        "added: parallel",
        "added: parallel/a",
        "changed: a",
        "moved: pick",
    ]
    assert new.changes_to(Pipeline([pick]).compiled.manifest)[0] == "removed: a"
    assert old.changes_to(old) == ()
    assert type(old).from_rows(old.to_rows()) == old


def test_call_finds_steps_by_key_and_by_unique_name() -> None:
    compiled = Pipeline([a, Parallel([b]), a]).compiled
    assert compiled.call("a#2").key == "a#2"
    assert compiled.call("b").key == "parallel/b"
    with pytest.raises(KeyError, match="is no step"):
        compiled.call("missing")
    with pytest.raises(KeyError, match="several steps"):
        Pipeline([Parallel([a]), Parallel([a])]).compiled.call("a")


def test_explain_shows_every_step_and_what_is_special_about_it() -> None:
    nodes = [
        stage(timeout=5, retry=3, reads=["x"], writes=["y"])(a),
        Parallel([b, [pick, {"left": a}]], name="fan", mode=ForkMode.FIRE_FORGET),
        stage(transactional=True)(lambda ctx: ctx),
    ]
    text = Pipeline(nodes, name="p").explain()
    assert "timeout 5 s; up to 3 attempts; reads x; writes y" in text
    assert "FORK  fan  (fire and forget)" in text
    assert "route 'left'" in text
    assert "CALL  fan/pick/left/a" in text
    assert "(sync; transactional)" in text


def test_the_flowchart_escapes_names() -> None:
    chart = Pipeline([pick, {'say "hi" <b>': a}, Parallel([b])]).to_mermaid()
    assert chart.startswith("flowchart TD")
    assert '"say &quot;hi&quot; &lt;b>"' in chart
    assert "n0[" in chart
