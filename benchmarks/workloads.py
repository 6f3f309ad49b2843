"""The workloads, each with its floor: what the same work costs with nothing of ours around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connection

from fluxio import Context, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.models import Checkpoint
from fluxio_django.pipeline import DjangoPipeline

STEPS = 10
KILOBYTES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Something to measure: `ours` and `floor` each give one figure in `unit`."""

    name: str
    title: str
    unit: str
    ours: Callable[[], float]
    floor: Callable[[], float]


def all_workloads() -> list[Workload]:
    """W1, W3, W6 and W7."""
    asynchronous, plain = _steps(asynchronous=True), _steps(asynchronous=False)
    return [
        Workload(
            name="W1",
            title="one run at a time, 10 async no-op stages, per step",
            unit="us",
            ours=lambda: _per_step(asynchronous),
            floor=_insert,
        ),
        Workload(
            name="W3",
            title="100 stages that add 10 KB each, in all",
            unit="ms",
            ours=_growing,
            floor=_large_inserts,
        ),
        Workload(
            name="W6",
            title="one run at a time, 10 plain stages from sync code, per step",
            unit="us",
            ours=lambda: _per_step(plain),
            floor=_insert,
        ),
        Workload(
            name="W7",
            title="1,000 async no-op stages, not durable, per stage",
            unit="us",
            ours=_not_durable,
            floor=_bare_awaits,
        ),
    ]


def _noop(number: int, *, asynchronous: bool) -> Any:
    async def in_loop(ctx: Context) -> Context:
        return ctx.set(f"k{number % 3}", number)

    def in_thread(ctx: Context) -> Context:
        return ctx.set(f"k{number % 3}", number)

    return stage(name=f"s{number}")(in_loop if asynchronous else in_thread)


def _durable(nodes: list[Any]) -> DjangoPipeline:
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore())
    return made.bound_to(DjangoPipeline, name="bench", store=DjangoStore)


def _steps(*, asynchronous: bool) -> DjangoPipeline:
    return _durable([_noop(number, asynchronous=asynchronous) for number in range(STEPS)])


def _per_step(pipeline: DjangoPipeline, runs: int = 50) -> float:
    began = time.perf_counter()
    for _ in range(runs):
        pipeline.invoke_sync({"a": 1})
    return (time.perf_counter() - began) / runs / STEPS * 1e6


def _insert(rows: int = 500) -> float:
    """One raw INSERT of a small row, each its own commit."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS floor_row (number INTEGER, payload TEXT)")
        began = time.perf_counter()
        for number in range(rows):
            cursor.execute("INSERT INTO floor_row VALUES (%s, %s)", [number, "x" * 60])
        return (time.perf_counter() - began) / rows * 1e6


def _adding(number: int) -> Any:
    def body(ctx: Context) -> Context:
        return ctx.set(f"k{number}", "x" * KILOBYTES * 1024)

    return stage(name=f"s{number}")(body)


_growing_pipeline: list[DjangoPipeline] = []


def _growing() -> float:
    if not _growing_pipeline:
        _growing_pipeline.append(_durable([_adding(number) for number in range(100)]))
    began = time.perf_counter()
    _growing_pipeline[0].invoke_sync({})
    return (time.perf_counter() - began) * 1e3


def growing_bytes() -> int:
    """Bytes that the payloads of one run of W3 take."""
    run_id = _growing_pipeline[0].invoke_sync({}).run_id
    sizes = Checkpoint.objects.filter(run__run_id=run_id).values_list("size", flat=True)
    return sum(sizes)


def _large_inserts() -> float:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS floor_row (number INTEGER, payload TEXT)")
        began = time.perf_counter()
        for number in range(100):
            cursor.execute(
                "INSERT INTO floor_row VALUES (%s, %s)", [number, "x" * KILOBYTES * 1024]
            )
        return (time.perf_counter() - began) * 1e3


def _unchanged(number: int) -> Any:
    async def body(ctx: Context) -> Context:
        return ctx

    return stage(name=f"s{number}")(body)


_PLAIN = Pipeline([_unchanged(number) for number in range(1000)])


def _not_durable() -> float:
    async def run() -> float:
        began = time.perf_counter()
        await _PLAIN.invoke({"a": 1})
        return (time.perf_counter() - began) * 1e3

    return asyncio.run(run())


def _bare_awaits() -> float:
    functions = [node.function for node in _PLAIN.nodes]

    async def run() -> float:
        began = time.perf_counter()
        context = Context.create({"a": 1})
        for function in functions:
            context = await function(context)
        return (time.perf_counter() - began) * 1e3

    return asyncio.run(run())
