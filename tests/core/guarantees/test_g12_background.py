"""G12: FIRE_FORGET branches hold nobody up, and none is lost wherever the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, ForkMode, InMemoryStore, Parallel, Pipeline, stage
from fluxio.store.base import RowKind
from fluxio.store.lone import open_journal
from fluxio.testing.crashes import crash_at
from fluxio.types import RunStatus
from tests.core.stores.toy import ToyStore
from tests.proofs.tally import Tally

STORES: dict[str, Callable[[], CheckpointStore]] = {"memory": InMemoryStore, "toy": ToyStore}


class House:
    """A run with two branches in the background, one of which fails; and what happened when."""

    def __init__(self, store: CheckpointStore, ticks: int) -> None:
        self.store, self.ticks = store, ticks
        self.events: list[str] = []
        aside = Parallel(
            [[self.step("mail", ticks), self.step("audit", ticks)], self.failing("ping")],
            mode=ForkMode.FIRE_FORGET,
            name="aside",
        )
        nodes = [self.step("a"), aside, self.step("b"), self.step("c")]
        self.pipeline = Pipeline(nodes, durable=True, checkpoint_store=store, name="p")

    def step(self, name: str, ticks: int = 0) -> Any:
        async def body(ctx: Context) -> Context:
            for _ in range(ticks):
                await asyncio.sleep(0)
            self.events.append(name)
            return ctx.set(name, True)

        return stage(name=name, version="1")(body)

    def failing(self, name: str) -> Any:
        async def body(ctx: Context) -> Context:
            for _ in range(self.ticks):
                await asyncio.sleep(0)
            self.events.append(name)
            raise ValueError(name)

        return stage(name=name, version="1")(body)

    async def lost(self) -> list[str]:
        """What did not come to an end although the run did, or hurt it."""
        record = await open_journal(self.store).run("r")
        wrong = [] if record and record.status is RunStatus.SUCCEEDED else [f"status {record}"]
        wrong += [name for name in ("mail", "audit", "ping") if name not in self.events]
        if not open_journal(self.store).snapshots_only:
            history = await self.pipeline.history("r")
            ends = {(entry.step.rpartition("/")[2], entry.kind) for entry in history}
            wanted = {
                ("mail", RowKind.STEP),
                ("audit", RowKind.STEP),
                ("ping", RowKind.ERROR),
            }
            wrong += [f"no row of {name}" for name, _ in wanted - ends]
        return wrong


@pytest.mark.parametrize("ticks", [0, 1, 3, 12])
@pytest.mark.parametrize("stored", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("place", STORES)
async def test_g12_no_background_branch_is_lost_wherever_the_process_dies(
    place: str, stored: bool, ticks: int, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    deaths, lost = 0, []
    for number in range(20):
        house = House(STORES[place](), ticks)
        with crash_at(house.pipeline, number, stored=stored) as crash:
            await house.pipeline.invoke({}, run_id="r")
        if not crash.happened:
            break
        deaths += 1
        final = await house.pipeline.invoke({}, run_id="r", on_conflict="resume")
        assert dict(final) == {"a": True, "b": True, "c": True}
        if found := await house.lost():
            lost.append(f"checkpoint {number}: {found}")
    tally.add("G12", place, deaths, len(lost))
    assert deaths >= 4
    assert lost == []


async def test_g12_nothing_waits_for_a_background_branch_but_the_end_of_the_run(
    tally: Tally,
) -> None:
    house = House(InMemoryStore(), ticks=50)
    await house.pipeline.invoke({}, run_id="r")
    blocked = house.events[:3] != ["a", "b", "c"]
    tally.add("G12", "memory", 1, blocked)
    assert not blocked
    assert set(house.events[3:]) == {"mail", "audit", "ping"}
