"""DBOS Transact: workflows whose steps are recorded in PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from dbos import DBOS
from protocol import (
    AT_ONCE,
    DATABASE_URL,
    MANY,
    RUNS,
    SIZE,
    STAGES,
    STEPS,
    serve,
)

DBOS(config={"name": "bench", "system_database_url": DATABASE_URL, "log_level": "ERROR"})


@DBOS.step()
async def step(number: int) -> Any:
    return {f"k{number % 3}": number}


@DBOS.step()
def plain_step(number: int) -> Any:
    return {f"k{number % 3}": number}


@DBOS.step()
def adding_step(number: int) -> Any:
    return {f"k{number}": "x" * SIZE}


@DBOS.workflow()
async def steps() -> None:
    for number in range(STEPS):
        await step(number)


@DBOS.workflow()
def plain_steps() -> None:
    for number in range(STEPS):
        plain_step(number)


@DBOS.workflow()
def growing() -> None:
    for number in range(STAGES):
        adding_step(number)


DBOS.launch()
loop = asyncio.new_event_loop()


async def one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        await steps()
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


async def many() -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await steps()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(MANY)))
    return MANY * STEPS / (time.perf_counter() - began)


def plain_one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        plain_steps()
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


def grow() -> float:
    began = time.perf_counter()
    growing()
    return (time.perf_counter() - began) * 1e3


serve(
    {
        "W1": lambda: loop.run_until_complete(one_at_a_time()),
        "W2": lambda: loop.run_until_complete(many()),
        "W3": grow,
        "W6": plain_one_at_a_time,
    }
)
DBOS.destroy()
