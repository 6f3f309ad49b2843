"""W11: what a run in flight costs in memory, with two thousand of them asleep at once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync

from benchmarks.pipelines import durable, noop
from benchmarks.workload import Workload
from fluxio import Context, stage

RUNS = 2_000

_alarm: list[asyncio.Event] = []
_asleep = [0]


@stage
async def sleeping(ctx: Context) -> Context:
    """Sleep until all runs do."""
    _asleep[0] += 1
    await _alarm[0].wait()
    return ctx


def workloads() -> list[Workload]:
    """W11. Ten thousand runs of 20 KB fit in 300 MB."""
    pipeline = durable([noop(0, asynchronous=True), sleeping])
    return [
        Workload(
            name="W11",
            title=f"memory of a durable run in flight, {RUNS:,} of them asleep at once",
            unit="KB",
            ours=lambda: async_to_sync(_kilobytes)(lambda: pipeline.invoke({"a": 1})),
            floor=lambda: async_to_sync(_kilobytes)(_task_alone),
            floor_title="a task that sleeps with a context",
            goal="<= 20 KB",
        )
    ]


async def _task_alone() -> Any:
    return await sleeping.function(Context.create({"a": 1}))


async def _kilobytes(start: Callable[[], Awaitable[Any]]) -> float:
    _alarm[:], _asleep[0] = [asyncio.Event()], 0
    await _awake([start()])
    _alarm[:], _asleep[0] = [asyncio.Event()], 0
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tasks = [asyncio.ensure_future(start()) for _ in range(RUNS)]
    while _asleep[0] < RUNS:  # noqa: ASYNC110 - they go to sleep inside of stages
        await asyncio.sleep(0.01)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await _awake(tasks)
    return (after - before) / RUNS / 1024


async def _awake(tasks: list[Awaitable[Any]]) -> None:
    _alarm[0].set()
    await asyncio.gather(*tasks)
