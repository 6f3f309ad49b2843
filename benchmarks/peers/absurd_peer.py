"""Absurd: durable tasks in PostgreSQL, one stored function per step."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from absurd_sdk import Absurd, AsyncAbsurd
from protocol import AT_ONCE, DATABASE_URL, MANY, RUNS, SIZE, STAGES, STEPS, serve

QUEUE = "bench"

subprocess.run(
    [str(Path(sys.executable).parent / "absurdctl"), "init", "-d", DATABASE_URL],
    check=True,
    stdout=sys.stderr,
)
plain = Absurd(DATABASE_URL, queue_name=QUEUE)
plain.create_queue(QUEUE)
loop = asyncio.new_event_loop()
asynchronous = AsyncAbsurd(DATABASE_URL, queue_name=QUEUE)


@asynchronous.register_task("steps")
async def steps(params: Any, ctx: Any) -> Any:
    async def step(number: int) -> Any:
        return {f"k{number % 3}": number}

    for number in range(STEPS):
        await ctx.step(f"s{number}", lambda number=number: step(number))
    return None


@plain.register_task("plain_steps")
def plain_steps(params: Any, ctx: Any) -> Any:
    for number in range(STEPS):
        ctx.step(f"s{number}", lambda number=number: {f"k{number % 3}": number})
    return None


@plain.register_task("growing")
def growing(params: Any, ctx: Any) -> Any:
    for number in range(STAGES):
        ctx.step(f"s{number}", lambda number=number: {f"k{number}": "x" * SIZE})
    return None


async def one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        await asynchronous.spawn("steps", {"a": 1})
        await asynchronous.work_batch(batch_size=1)
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


async def many() -> float:
    began = time.perf_counter()
    for _ in range(MANY):
        await asynchronous.spawn("steps", {"a": 1})
    for _ in range(MANY // AT_ONCE):
        await asynchronous.work_batch(batch_size=AT_ONCE)
    return MANY * STEPS / (time.perf_counter() - began)


def plain_one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        plain.spawn("plain_steps", {"a": 1})
        plain.work_batch(batch_size=1)
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


def grow() -> float:
    began = time.perf_counter()
    plain.spawn("growing", {})
    plain.work_batch(batch_size=1)
    return (time.perf_counter() - began) * 1e3


serve(
    {
        "W1": lambda: loop.run_until_complete(one_at_a_time()),
        "W2": lambda: loop.run_until_complete(many()),
        "W3": grow,
        "W6": plain_one_at_a_time,
    }
)
