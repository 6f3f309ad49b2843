"""A crash at every write is tried, survived, and held against what is promised."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, InMemoryStore, Parallel, Pipeline, Send, stage
from fluxio.errors import ConfigurationError
from fluxio.runtime.step import current_step
from fluxio.store.base import Row
from fluxio.testing.survivals import Moment, every_crash
from tests.core.stores.toy import ToyStore

executed: Counter[tuple[str, str]] = Counter()


def made(name: str) -> object:
    async def body(ctx: Context) -> Context:
        executed[current_step().run_id, name] += 1
        return ctx.set(name, True)

    return stage(name=name, version="1")(body)


@stage
async def choose(ctx: Context) -> Send:
    return Send("left", {"chosen": True})


def pipeline_over(store: CheckpointStore) -> Pipeline:
    nodes = [made("a"), Parallel([made("b"), made("c")]), choose, {"left": [made("d")]}]
    return Pipeline(nodes, durable=True, checkpoint_store=store, name="p")


@pytest.mark.parametrize("store", [InMemoryStore, ToyStore])
async def test_a_run_that_died_anywhere_comes_to_the_same_end(store: type[CheckpointStore]) -> None:
    pipeline = pipeline_over(store())
    expected = await pipeline.invoke({"z": 1})
    survivals = [survival async for survival in every_crash(pipeline, {"z": 1})]
    assert len(survivals) >= 10
    for survival in survivals:
        assert dict(survival.final) == dict(expected), survival
        repeated = {
            step
            for (run_id, step), times in executed.items()
            if run_id == survival.run_id and times > 1
        }
        if survival.place.moment is Moment.RECORDED:
            assert survival.step.rpartition("/")[2] not in repeated, survival


async def test_each_run_died_once_and_says_where() -> None:
    survivals = [survival async for survival in every_crash(pipeline_over(InMemoryStore()))]
    assert len({survival.run_id for survival in survivals}) == len(survivals)
    assert str(survivals[0]) == "crash before the beginning was recorded (checkpoint 0)"
    assert str(survivals[3]) == "crash after step 'a' was recorded (checkpoint 1)"
    assert {survival.step for survival in survivals} >= {"", "a", "choose", "choose/left/d"}


class TwiceStore(InMemoryStore):
    """Gives the newest step of every run a second time, as a store would that appends twice."""

    def journal(self) -> Any:
        journal = super().journal()
        return journal if journal is None else _Twice(journal)


class _Twice:
    snapshots_only = False
    transactions = leasing = None

    def __init__(self, journal: Any) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def rows(self, run_id: str, *, first: int = 0, last: int | None = None) -> list[Row]:
        found: list[Row] = await self._journal.rows(run_id, first=first, last=last)
        finished = len(found) > 2 and last is None
        return [*found, found[-1]] if finished else found


async def test_a_record_that_breaks_a_promise_is_told() -> None:
    with pytest.raises(AssertionError, match=r"left run 'crash-0-unrecorded-.*' broken"):
        async for _ in every_crash(pipeline_over(TwiceStore()), {}):
            pass


async def test_what_a_stage_raises_by_itself_is_raised() -> None:
    @stage
    async def refuse(ctx: Context) -> Context:
        raise PermissionError("not yours")

    with pytest.raises(PermissionError, match="not yours"):
        async for _ in every_crash(Pipeline([refuse], durable=True, name="p"), {}):
            pass


async def test_a_pipeline_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="keeps no checkpoints"):
        await anext(every_crash(Pipeline([choose, {"left": made("d")}]), {}))
