"""W2: many runs side by side in one process; steps per second."""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import async_to_sync

from benchmarks import floors
from benchmarks.pipelines import durable, noops
from benchmarks.workload import Workload
from fluxio_django.pipeline import DjangoPipeline

RUNS, STEPS, AT_ONCE = 500, 10, 50


def workloads() -> list[Workload]:
    """W2."""
    pipeline = durable(noops(STEPS, asynchronous=True))
    return [
        Workload(
            name="W2",
            title=f"{RUNS} runs of {STEPS} async no-op stages, {AT_ONCE} at once in one process",
            unit="steps/s",
            ours=lambda: async_to_sync(_steps_per_second)(pipeline),
            floor=lambda: RUNS * STEPS / floors.raw_inserts_at_once(RUNS, STEPS, AT_ONCE),
            floor_title=f"raw INSERTs row by row on {AT_ONCE} async connections",
            goal=">= 1.2",
        )
    ]


async def _steps_per_second(pipeline: DjangoPipeline) -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await pipeline.invoke({"a": 1})

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(RUNS)))
    return RUNS * STEPS / (time.perf_counter() - began)
