"""W5: one Parallel of a hundred branches that do nothing."""

from __future__ import annotations

import time

from asgiref.sync import async_to_sync

from benchmarks import floors
from benchmarks.pipelines import durable, fan
from benchmarks.workload import Workload
from fluxio_django.pipeline import DjangoPipeline

BRANCHES = 100


def workloads() -> list[Workload]:
    """W5."""
    pipeline = durable(fan(BRANCHES))
    return [
        Workload(
            name="W5",
            title=f"one Parallel of {BRANCHES} async no-op branches, in all",
            unit="ms",
            ours=lambda: async_to_sync(_milliseconds)(pipeline),
            floor=lambda: floors.raw_inserts(BRANCHES) * 1e3,
            floor_title="one raw INSERT per branch",
            goal="<= 1",
        )
    ]


async def _milliseconds(pipeline: DjangoPipeline) -> float:
    began = time.perf_counter()
    await pipeline.invoke({"a": 1})
    return (time.perf_counter() - began) * 1e3
