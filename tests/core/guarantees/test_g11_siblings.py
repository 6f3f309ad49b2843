"""G11: when a branch fails its siblings are gone before the error is heard; conflicts are found."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from fluxio import Context, MergeConflictError, Parallel, Pipeline, stage
from tests.proofs.tally import Tally

TIMES = 1000


class Refused(Exception):
    """What a branch raises."""


async def left_behind(seed: int) -> list[str]:
    """What is still going on after a branch failed beside others, some of them nested."""
    chance = random.Random(seed)
    alive: set[str] = set()

    def slow(name: str) -> Any:
        async def body(ctx: Context) -> Context:
            alive.add(name)
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                alive.discard(name)
            return ctx

        return stage(name=name, version="1")(body)

    def hasty(name: str) -> Any:
        async def body(ctx: Context) -> Context:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            raise Refused(name)

        return stage(name=name, version="1")(body)

    branches = [slow("one"), hasty("hasty"), [Parallel([slow("two"), slow("three")])]]
    chance.shuffle(branches)
    before = asyncio.all_tasks()
    with pytest.raises(Refused):
        await Pipeline([Parallel(branches)], durable=bool(seed % 2)).invoke({})
    return [*alive, *(str(task) for task in asyncio.all_tasks() - before)]


async def test_g11_no_sibling_is_alive_when_the_error_of_a_branch_is_raised(tally: Tally) -> None:
    left = [await left_behind(seed) for seed in range(TIMES)]
    wrong = [found for found in left if found]
    tally.add("G11", "failures", TIMES, len(wrong))
    assert wrong == []


async def test_g11_every_conflict_is_found_with_its_keys_and_branches(tally: Tally) -> None:
    missed: list[str] = []
    for seed in range(TIMES):
        chance = random.Random(seed)
        writes = {
            f"b{number}": set(chance.sample("abcdefgh", chance.randrange(1, 4)))
            for number in range(3)
        }

        def writer(name: str, keys: set[str]) -> Any:
            async def body(ctx: Context) -> Context:
                await asyncio.sleep(0)
                return ctx.update(dict.fromkeys(keys, 1))

            return stage(name=name, version="1")(body)

        pipeline = Pipeline([Parallel([writer(name, keys) for name, keys in writes.items()])])
        shared = {key for key in "abcdefgh" if sum(key in keys for keys in writes.values()) > 1}
        involved = {name for name, keys in writes.items() if keys & shared}
        try:
            final = await pipeline.invoke({})
        except MergeConflictError as error:
            found = (set(error.conflicting_keys), set(error.branch_names))
            right = found == (shared, involved)
        else:
            right = not shared and set(final) == set.union(*writes.values())
        missed += [] if right else [f"{seed}: {writes}"]
    tally.add("G11", "conflicts", TIMES, len(missed))
    assert missed == []
