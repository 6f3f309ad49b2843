"""Callbacks hear everything in order and can change nothing (G24)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxio import BaseCallback, Context, ForkMode, Parallel, Pipeline, RunStatus, Send, stage
from tests.proofs.tally import Tally

HOOKS = (
    "on_pipeline_start",
    "on_pipeline_end",
    "on_step_start",
    "on_step_end",
    "on_step_stream",
    "on_branch",
    "on_route",
    "on_error",
    "on_checkpoint",
)


class Recorder(BaseCallback):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []


def _listener(hook: str) -> Any:
    async def listen(self: Recorder, event: Any) -> None:
        self.heard.append((hook, event))

    return listen


for _hook in HOOKS:
    setattr(Recorder, _hook, _listener(_hook))


@stage
async def a(ctx: Context) -> Context:
    return ctx.set("a", 1)


@stage
async def b(ctx: Context) -> Context:
    return ctx.set("b", 1)


@stage
async def pick(ctx: Context) -> Send:
    return Send("x")


@stage
async def tokens(ctx: Context) -> AsyncIterator[int]:
    yield 7


@stage
async def failing(ctx: Context) -> Context:
    raise ValueError("no")


def nodes() -> list[Any]:
    background = Parallel([failing], mode=ForkMode.FIRE_FORGET, name="bg")
    return [a, Parallel([b, tokens], name="fan"), background, pick, {"x": stage(name="c")(a)}]


def names(recorder: Recorder) -> list[str]:
    return [hook.removeprefix("on_") for hook, _ in recorder.heard]


async def test_events_come_in_order_and_after_their_checkpoint() -> None:
    recorder = Recorder()
    pipeline = Pipeline([a, pick, {"x": b}], callbacks=[recorder], durable=True, name="p")
    await pipeline.invoke({"s": 1}, run_id="r")
    assert names(recorder) == [
        "pipeline_start",
        "step_start",
        "checkpoint",
        "step_end",
        "step_start",
        "checkpoint",
        "step_end",
        "route",
        "step_start",
        "checkpoint",
        "step_end",
        "pipeline_end",
    ]
    assert {event.run_id for _, event in recorder.heard} == {"r"}
    assert {event.pipeline for _, event in recorder.heard} == {"p"}
    start, end = recorder.heard[0][1], recorder.heard[-1][1]
    assert (dict(start.context), start.resumed, start.version) == (
        {"s": 1},
        False,
        pipeline.version,
    )
    assert (end.status, end.error, dict(end.context)) == (
        RunStatus.SUCCEEDED,
        None,
        {"s": 1, "a": 1, "b": 1},
    )
    ended = [event for hook, event in recorder.heard if hook == "on_step_end"]
    assert dict(ended[0].context) == {"s": 1, "a": 1}


async def test_branches_streams_and_errors_are_heard() -> None:
    recorder = Recorder()
    await Pipeline(nodes(), callbacks=[recorder], durable=True).invoke({})
    by_hook: dict[str, list[Any]] = {}
    for hook, event in recorder.heard:
        by_hook.setdefault(hook, []).append(event)
    assert {(e.fork, e.branch, e.background) for e in by_hook["on_branch"]} == {
        ("fan", "b", False),
        ("fan", "tokens", False),
        ("bg", "failing", True),
    }
    assert [(e.step, e.chunk, e.index) for e in by_hook["on_step_stream"]] == [("fan/tokens", 7, 0)]
    assert [(e.step, e.fatal, str(e.error)) for e in by_hook["on_error"]] == [
        ("bg/failing", False, "no")
    ]
    assert len(by_hook["on_pipeline_end"]) == 1


async def test_a_failing_run_tells_its_error_and_ends_once() -> None:
    recorder = Recorder()
    pipeline = Pipeline([a, failing], callbacks=[recorder], durable=True)
    with pytest.raises(ValueError, match="no"):
        await pipeline.invoke({}, run_id="r")
    assert names(recorder)[-3:] == ["checkpoint", "error", "pipeline_end"]
    assert recorder.heard[-1][1].status is RunStatus.FAILED
    recorder.heard.clear()
    with pytest.raises(ValueError, match="no"):
        await pipeline.invoke({}, run_id="r", resume=True)
    assert names(recorder) == [
        "pipeline_start",
        "step_start",
        "checkpoint",
        "error",
        "pipeline_end",
    ]
    assert recorder.heard[0][1].resumed


def misbehaving(kind: str, hook: str) -> BaseCallback:
    """A callback that does the worst at one hook."""
    forever = threading.Event()

    async def raises(self: Any, event: Any) -> None:
        raise RuntimeError("callback")

    async def cancels(self: Any, event: Any) -> None:
        raise asyncio.CancelledError

    async def hangs(self: Any, event: Any) -> None:
        await asyncio.Event().wait()

    async def dawdles(self: Any, event: Any) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    def raises_plainly(self: Any, event: Any) -> None:
        raise RuntimeError("callback")

    def blocks(self: Any, event: Any) -> None:
        forever.wait(1)

    body = {
        "raises": raises,
        "cancels": cancels,
        "hangs": hangs,
        "slow": dawdles,
        "raises plainly": raises_plainly,
        "blocks": blocks,
    }[kind]
    made: BaseCallback = type("Misbehaving", (BaseCallback,), {hook: body, "timeout": 0.02})()
    return made


@pytest.mark.parametrize("kind", ["raises", "cancels", "hangs", "slow", "raises plainly", "blocks"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_g24_no_callback_can_change_a_run(kind: str, hook: str, tally: Tally) -> None:
    expected = await Pipeline(nodes()).invoke({})
    recorder = Recorder()
    pipeline = Pipeline(nodes(), callbacks=[misbehaving(kind, hook), recorder], durable=True)
    async with asyncio.timeout(5):
        final = await pipeline.invoke({}, run_id="r")
    heard = set(names(recorder)) == {name.removeprefix("on_") for name in HOOKS}
    sound = final == expected and heard and recorder.heard[-1][1].status is RunStatus.SUCCEEDED
    tally.add("G24", "memory", 1, not sound)
    assert sound


async def test_the_failure_of_a_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    for kind, words in (("raises", "failed"), ("hangs", "given up"), ("cancels", "cancelled")):
        caplog.clear()
        await Pipeline([a], callbacks=[misbehaving(kind, "on_step_end")]).invoke({})
        assert words in caplog.text


async def test_a_callback_that_hung_hears_nothing_more_of_that_run() -> None:
    heard: list[str] = []

    class Hanging(BaseCallback):
        timeout = 0.01

        async def on_step_start(self, event: Any) -> None:
            heard.append(event.step)
            await asyncio.Event().wait()

    pipeline = Pipeline([a, b], callbacks=[Hanging()])
    await pipeline.invoke({})
    assert heard == ["a"]
    await pipeline.invoke({})
    assert heard == ["a", "a"]


async def test_plain_hooks_keep_the_callers_contextvars_and_order() -> None:
    heard: list[str] = []

    class Plain(BaseCallback):
        def on_step_end(self, event: Any) -> None:  # type: ignore[override]
            heard.append(event.step)

    await Pipeline([a, b, stage(name="c")(a)], callbacks=[Plain()]).invoke({})
    assert heard == ["a", "b", "c"]
