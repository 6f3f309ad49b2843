"""G10: a route is stored with its router's success, and nobody asks the router again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fluxio import CheckpointStore, Context, InMemoryStore, Parallel, Pipeline, Send, stage
from fluxio.store.base import RowKind
from fluxio.store.lone import open_journal
from fluxio.testing.crashes import crash_at
from tests.core.stores.toy import ToyStore
from tests.proofs.tally import Tally

STORES: dict[str, Callable[[], CheckpointStore]] = {"memory": InMemoryStore, "toy": ToyStore}
SEEDS = 20


class House:
    """Routers that choose by chance, and what was chosen and run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ran: list[str] = []

    def step(self, name: str) -> Any:
        async def body(ctx: Context) -> Context:
            self.ran.append(name)
            return ctx.set(name, True)

        return stage(name=name, version="1")(body)

    def router(self, name: str) -> Any:
        async def body(ctx: Context) -> Send:
            route = self.chance.choice(["x", "y"])
            return Send(route, {name: route})

        return stage(name=name, version="1")(body)

    def fork(self, name: str) -> list[Any]:
        routes = {route: [self.step(f"{name}-{route}")] for route in ("x", "y")}
        return [self.router(name), routes]

    def pipeline(self, store: CheckpointStore) -> Pipeline:
        inner = {
            "x": [self.step("outer-x"), *self.fork("inner")],
            "y": [Parallel([self.fork("left"), self.fork("right")]), self.step("outer-y")],
        }
        nodes = [self.router("outer"), inner, *self.fork("last")]
        return Pipeline(nodes, durable=True, checkpoint_store=store, name="p")


async def recorded(store: CheckpointStore, pipeline: Pipeline) -> dict[str, str]:
    """The routes that are recorded, by router."""
    journal = open_journal(store)
    if await journal.run("r") is None:
        return {}
    if journal.snapshots_only:
        state = await pipeline.state("r")
        return {key: state[key] for key in state if key in ("outer", "inner", "last")}
    history = await pipeline.history("r")
    return {
        entry.step.rpartition("/")[2]: entry.route
        for entry in history
        if entry.kind is RowKind.STEP and entry.route is not None
    }


@pytest.mark.parametrize("stored", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("place", STORES)
async def test_g10_a_recorded_route_is_taken_wherever_the_process_dies(
    place: str, stored: bool, tally: Tally
) -> None:
    flips: list[str] = []
    deaths = 0
    for seed in range(SEEDS):
        for number in range(20):
            house, store = House(seed), STORES[place]()
            pipeline = house.pipeline(store)
            with crash_at(pipeline, number, stored=stored) as crash:
                await pipeline.invoke({}, run_id="r")
            if not crash.happened:
                break
            deaths += 1
            before = await recorded(store, pipeline)
            house.chance.seed(seed + 1000)  # it would choose otherwise now
            final = await pipeline.invoke({}, run_id="r", on_conflict="resume")
            after = {key: final[key] for key in before}
            wrong = [
                f"{router}-{'y' if route == 'x' else 'x'}"
                for router, route in before.items()
                if router != "outer"
            ]
            if after != before or set(wrong) & set(house.ran):
                flips.append(f"seed {seed}, checkpoint {number}: {before} became {after}")
    tally.add("G10", place, deaths, len(flips))
    assert deaths > SEEDS * 4
    assert flips == []
