"""Plain pipelines from sync code: stepped through on the caller's thread, with all promises."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fluxio import BaseCallback, Context, ForkMode, Parallel, Send, Watchers, stage
from fluxio.pipeline import Pipeline
from fluxio.runtime.loopless import in_loop, run_without_loop
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline


class Workshop:
    """Plain stages that count where they ran, and fail while they are told to."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.places: set[tuple[int, bool]] = set()
        self.failing: set[str] = set()

    def make(self, name: str, answer: Send | None = None) -> Any:
        def body(ctx: Context) -> Any:
            self.executed.append(name)
            self.places.add((threading.get_ident(), in_loop()))
            if name in self.failing:
                raise ValueError(name)
            return answer or ctx.set(name, self.executed.count(name))

        return stage(name=name, version="1")(body)


def build(database: str, shop: Workshop, extra: Any = None) -> DjangoPipeline:
    nodes = [
        Parallel([shop.make("bg1"), shop.make("bg2")], mode=ForkMode.FIRE_FORGET),
        Parallel([shop.make("b"), [shop.make("c"), Parallel([shop.make("d"), shop.make("e")])]]),
        shop.make("pick", Send("left")),
        {"left": [shop.make("f"), shop.make("g")], "right": shop.make("never")},
        *([extra] if extra else []),
    ]
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=database))
    return made.bound_to(DjangoPipeline, name="tests", store=DjangoStore)


def test_a_plain_pipeline_runs_on_the_callers_thread_without_a_loop(database: str) -> None:
    shop = Workshop()
    final = build(database, shop).invoke_sync({"x": 1}, run_id="r")
    assert set(final) == {"x", "b", "c", "d", "e", "f", "g"}
    assert shop.places == {(threading.get_ident(), False)}
    assert set(shop.executed[-2:]) == {"bg1", "bg2"}


@pytest.mark.parametrize("failing", ["b", "c", "d", "e", "pick", "f", "g"])
def test_it_resumes_where_it_failed_and_repeats_nothing_recorded(
    database: str, failing: str
) -> None:
    shop = Workshop()
    pipeline = build(database, shop)
    shop.failing = {failing}
    with pytest.raises(ValueError, match=failing):
        pipeline.invoke_sync({}, run_id="r")
    assert {"bg1", "bg2"} <= set(shop.executed)
    shop.failing = set()
    final = pipeline.resume_sync("r")
    assert set(final) == {"b", "c", "d", "e", "f", "g"}
    repeated = {name for name in shop.executed if shop.executed.count(name) > 1}
    assert repeated == {failing}


def test_a_failing_background_branch_neither_fails_nor_repeats(database: str) -> None:
    shop = Workshop()
    shop.failing = {"bg1", "g"}
    pipeline = build(database, shop)
    with pytest.raises(ValueError, match="g"):
        pipeline.invoke_sync({}, run_id="r")
    shop.failing = set()
    pipeline.resume_sync("r")
    assert shop.executed.count("bg1") == 1


def test_an_interrupted_run_is_recorded_as_cancelled_and_goes_on(database: str) -> None:
    shop = Workshop()
    stops = [True]

    @stage(version="1")
    def interrupted(ctx: Context) -> Context:
        if stops:
            raise KeyboardInterrupt
        return ctx.set("last", 1)

    pipeline = build(database, shop, interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.invoke_sync({}, run_id="r")
    assert pipeline.history_sync("r")[-1].kind.value == "end"
    stops.clear()
    assert pipeline.resume_sync("r")["last"] == 1


def test_whatever_has_to_wait_gets_an_event_loop(database: str) -> None:
    shop, heard = Workshop(), []

    class Hearing(BaseCallback):
        async def on_step_end(self, event: Any) -> None:
            heard.append(event.step)

    pipeline = build(database, shop)
    pipeline.invoke_sync({}, run_id="r", watch=Watchers(callbacks=[Hearing()]))
    assert "pick" in heard

    @stage(version="1")
    async def waiting(ctx: Context) -> Context:
        return ctx.set("loop", in_loop())

    assert build(database, Workshop(), waiting).invoke_sync({}, run_id="s")["loop"] is True


def test_waiting_without_a_loop_is_an_error_and_no_hang() -> None:
    import asyncio

    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="needs an event loop"):
        run_without_loop(waits())
