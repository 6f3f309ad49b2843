"""W1: one run at a time, ten async stages that do nothing; what a step costs."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from asgiref.sync import async_to_sync

from benchmarks import floors
from benchmarks.pipelines import durable, noops
from benchmarks.project import redis_url
from benchmarks.workload import Workload
from fluxio_django.pipeline import DjangoPipeline

RUNS, STEPS = 50, 10


def workloads() -> list[Workload]:
    """W1 on PostgreSQL, and on Redis where it answers."""
    pipeline = durable(noops(STEPS, asynchronous=True))
    made = [
        Workload(
            name="W1",
            title=f"one run at a time, {STEPS} async no-op stages, time per step",
            unit="us",
            ours=lambda: async_to_sync(per_step)(pipeline),
            floor=lambda: floors.raw_inserts(RUNS * STEPS) / RUNS / STEPS * 1e6,
            floor_title="one raw INSERT per step",
            goal="<= 1.6",
        )
    ]
    return made if redis_url() is None else [*made, _on_redis()]


async def per_step(pipeline: DjangoPipeline) -> float:
    """Microseconds per step of runs that are awaited one after another."""
    began = time.perf_counter()
    for _ in range(RUNS):
        await pipeline.invoke({"a": 1})
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


def _on_redis() -> Workload:
    from fluxio.store.redis import RedisStore

    store = RedisStore(url=redis_url(), ttl=60, key_prefix="fluxio-bench")
    pipeline = durable(noops(STEPS, asynchronous=True), store)
    loop = asyncio.new_event_loop()
    return Workload(
        name="W1-redis",
        title=f"one run at a time, {STEPS} async no-op stages, kept in Redis, time per step",
        unit="us",
        ours=lambda: loop.run_until_complete(per_step(pipeline)),
        floor=lambda: loop.run_until_complete(_sets()),
        floor_title="one SET per step by the async client",
        goal="<= 1.4",
        close=loop.close,
    )


_client: list[Any] = []
_numbers = itertools.count()


async def _sets() -> float:
    import redis.asyncio

    if not _client:
        _client.append(redis.asyncio.Redis.from_url(str(redis_url())))
    began = time.perf_counter()
    for _ in range(RUNS * STEPS):
        await _client[0].set(f"fluxio-bench:floor:{next(_numbers)}", floors.SMALL, ex=60)
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6
