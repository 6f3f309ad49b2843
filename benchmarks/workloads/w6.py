"""W6: as W1, with plain stages that are started from sync code."""

from __future__ import annotations

import time

from benchmarks import floors
from benchmarks.pipelines import durable, noops
from benchmarks.workload import Workload
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline

RUNS, STEPS = 50, 10


def workloads() -> list[Workload]:
    """W6 on PostgreSQL and on SQLite."""
    return [_on("W6", "default", "<= 1.3"), _on("W6-sqlite", "sqlite", "<= 1.5")]


def _on(name: str, alias: str, goal: str) -> Workload:
    pipeline = durable(noops(STEPS, asynchronous=False), DjangoStore(using=alias))
    return Workload(
        name=name,
        title=f"one run at a time, {STEPS} plain stages from sync code ({alias}), time per step",
        unit="us",
        ours=lambda: _per_step(pipeline),
        floor=lambda: floors.raw_inserts(RUNS * STEPS, alias=alias) / RUNS / STEPS * 1e6,
        floor_title="one raw INSERT per step",
        goal=goal,
    )


def _per_step(pipeline: DjangoPipeline) -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        pipeline.invoke_sync({"a": 1})
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6
