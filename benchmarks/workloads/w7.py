"""W7: a thousand async stages that do nothing, with nothing kept; what the runtime itself costs."""

from __future__ import annotations

import asyncio
import time

from benchmarks.pipelines import unchanged
from benchmarks.workload import Workload
from fluxio import Context, Pipeline

STAGES = 1_000


def workloads() -> list[Workload]:
    """W7."""
    pipeline = Pipeline([unchanged(number) for number in range(STAGES)])
    return [
        Workload(
            name="W7",
            title=f"{STAGES:,} async no-op stages, not durable, time per stage",
            unit="us",
            ours=lambda: asyncio.run(_ours(pipeline)),
            floor=lambda: asyncio.run(_bare(pipeline)),
            floor_title="awaiting the functions in a loop",
            goal="<= 2 us",
        )
    ]


async def _ours(pipeline: Pipeline) -> float:
    began = time.perf_counter()
    await pipeline.invoke({"a": 1})
    return (time.perf_counter() - began) / STAGES * 1e6


async def _bare(pipeline: Pipeline) -> float:
    functions = [node.function for node in pipeline.nodes]
    context = Context.create({"a": 1})
    began = time.perf_counter()
    for function in functions:
        context = await function(context)
    return (time.perf_counter() - began) / STAGES * 1e6
