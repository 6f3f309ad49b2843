"""What a step costs, counted: calls of our own functions, statements and hops, never time.

Whatever is added to each step shows here on every machine alike. A limit is what was counted when
it was set, and a seventh more.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections

import fluxio
import fluxio_django
from fluxio import Context, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline

FEW, MANY = 5, 25
SYNC_CALLS, ASYNC_CALLS, BARE_CALLS = 125, 150, 7
STATEMENTS = {"default": 3, "postgres": 1, "mariadb": 1}
"""SQLite begins a transaction and sends two; each is a call, and no round trip."""

OURS = tuple(str(Path(package.__file__ or "").parent) for package in (fluxio, fluxio_django))


class Counted:
    """How often our functions were called, in all threads, and work was handed to a thread."""

    def __init__(self) -> None:
        self.calls = 0
        self.hops = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(OURS) or code.co_filename == "<string>":
            self.calls += 1
        elif code.co_name == "submit":
            self.hops += 1


@contextmanager
def counting() -> Iterator[Counted]:
    """Count as in production: under pytest every stage is watched for changes in place."""
    counted, test = Counted(), os.environ.pop("PYTEST_CURRENT_TEST")
    threading.setprofile(counted)
    sys.setprofile(counted)
    try:
        yield counted
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        os.environ["PYTEST_CURRENT_TEST"] = test


def body(asynchronous: bool) -> Any:
    async def in_loop(ctx: Context) -> Context:
        return ctx.set("number", len(ctx))

    def in_thread(ctx: Context) -> Context:
        return ctx.set("number", len(ctx))

    return in_loop if asynchronous else in_thread


def pipeline(database: str, steps: int, *, asynchronous: bool) -> DjangoPipeline:
    nodes = [stage(name=f"s{number}")(body(asynchronous)) for number in range(steps)]
    store = DjangoStore(using=database)
    made = Pipeline(nodes, durable=True, checkpoint_store=store)
    return made.bound_to(DjangoPipeline, name="costs", store=lambda: store)


def per_step(database: str, *, asynchronous: bool) -> tuple[float, float]:
    """Calls and hops that each step adds to a run."""
    found = []
    for steps in (FEW, MANY):
        made = pipeline(database, steps, asynchronous=asynchronous)
        run = async_to_sync(made.invoke) if asynchronous else made.invoke_sync
        run({"a": 1})
        with counting() as counted:
            run({"a": 1})
        found.append((counted.calls, counted.hops))
    (few, few_hops), (many, many_hops) = found
    return (many - few) / (MANY - FEW), (many_hops - few_hops) / (MANY - FEW)


def test_a_plain_step_from_sync_code_costs_few_calls_and_no_hop(database: str) -> None:
    calls, hops = per_step(database, asynchronous=False)
    assert hops == 0
    assert calls <= SYNC_CALLS, f"{calls} calls for each step"


def test_an_async_step_costs_few_calls_and_one_hop(database: str) -> None:
    calls, hops = per_step(database, asynchronous=True)
    assert hops == 1
    assert calls <= ASYNC_CALLS, f"{calls} calls for each step"


def test_a_checkpoint_is_one_statement_where_the_database_allows_it(database: str) -> None:
    sent: list[str] = []

    def listen(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        sent.append(sql)
        return execute(sql, *rest)

    counts = []
    for steps in (FEW, MANY):
        made = pipeline(database, steps, asynchronous=False)
        made.invoke_sync({"a": 1})
        sent.clear()
        with connections[database].execute_wrapper(listen):
            made.invoke_sync({"a": 1})
        counts.append(len(sent))
    assert (counts[1] - counts[0]) / (MANY - FEW) <= STATEMENTS[database]


def test_a_stage_that_is_not_kept_costs_next_to_no_calls() -> None:
    async def unchanged(ctx: Context) -> Context:
        return ctx

    found = []
    for steps in (FEW, MANY):
        made = Pipeline([stage(name=f"s{number}")(unchanged) for number in range(steps)])
        asyncio.run(made.invoke({"a": 1}))
        with counting() as counted:
            asyncio.run(made.invoke({"a": 1}))
        found.append(counted.calls)
    assert (found[1] - found[0]) / (MANY - FEW) <= BARE_CALLS
