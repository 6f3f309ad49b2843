"""The pipelines that the workloads run: stages that do next to nothing."""

from __future__ import annotations

from typing import Any

from fluxio import Context, Parallel, Pipeline, stage
from fluxio.store.base import CheckpointStore
from fluxio_django import DjangoStore, register
from fluxio_django.pipeline import DjangoPipeline

KEYS = 3
"""How many keys of state the small workloads go round."""


def durable(nodes: list[Any], store: CheckpointStore | None = None) -> DjangoPipeline:
    """A pipeline as the registry would hand it out."""
    kept = store or DjangoStore()
    made = Pipeline(nodes, durable=True, checkpoint_store=kept)
    return made.bound_to(DjangoPipeline, name="bench", store=lambda: kept)


def noop(number: int, *, asynchronous: bool) -> Any:
    """A stage that sets one small key."""

    async def in_loop(ctx: Context) -> Context:
        return ctx.set(f"k{number % KEYS}", number)

    def in_thread(ctx: Context) -> Context:
        return ctx.set(f"k{number % KEYS}", number)

    return stage(name=f"s{number}")(in_loop if asynchronous else in_thread)


def noops(steps: int, *, asynchronous: bool) -> list[Any]:
    """So many of them."""
    return [noop(number, asynchronous=asynchronous) for number in range(steps)]


def adding(number: int, size: int) -> Any:
    """A stage that adds a key with a string of so many characters."""

    def body(ctx: Context) -> Context:
        return ctx.set(f"k{number}", "x" * size)

    return stage(name=f"s{number}")(body)


def unchanged(number: int) -> Any:
    """An async stage that returns what it was given."""

    async def body(ctx: Context) -> Context:
        return ctx

    return stage(name=f"s{number}")(body)


def fan(branches: int) -> list[Any]:
    """One Parallel of async stages that set a key each."""

    def branch(number: int) -> Any:
        async def body(ctx: Context) -> Context:
            return ctx.set(f"b{number}", number)

        return stage(name=f"b{number}")(body)

    return [Parallel([branch(number) for number in range(branches)])]


ENQUEUED = "bench.enqueued"
"""The pipeline that workers execute; see `benchmarks.workloads.w9`."""

register(ENQUEUED, Pipeline(noops(10, asynchronous=False), durable=True))
