"""LangGraph with its PostgreSQL saver, where a step is stored before the next one begins."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from protocol import (
    AT_ONCE,
    BRANCHES,
    DATABASE_URL,
    MANY,
    RUNS,
    SIZE,
    STAGES,
    STEPS,
    serve,
)
from typing_extensions import TypedDict


def state_of(keys: list[str]) -> Any:
    return TypedDict("State", dict.fromkeys(keys, Any), total=False)  # type: ignore[operator]


def chain(functions: list[Any], keys: list[str]) -> Any:
    graph = StateGraph(state_of(keys))
    names = [f"s{number}" for number in range(len(functions))]
    for name, function in zip(names, functions, strict=True):
        graph.add_node(name, function)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def writing(number: int, *, asynchronous: bool) -> Any:
    def plain(state: Any) -> Any:
        return {f"k{number % 3}": number}

    async def in_loop(state: Any) -> Any:
        return {f"k{number % 3}": number}

    return in_loop if asynchronous else plain


def adding(number: int) -> Any:
    return lambda state: {f"k{number}": "x" * SIZE}


def fan() -> Any:
    graph = StateGraph(state_of([f"b{number}" for number in range(BRANCHES)]))
    for number in range(BRANCHES):
        graph.add_node(f"n{number}", lambda state, number=number: {f"b{number}": number})
        graph.add_edge(START, f"n{number}")
        graph.add_edge(f"n{number}", END)
    return graph


def config(steps: int = STEPS) -> dict[str, Any]:
    return {"configurable": {"thread_id": uuid4().hex}, "recursion_limit": steps + 10}


loop = asyncio.new_event_loop()
SMALL = ["a", "k0", "k1", "k2"]
opened, async_opened = (
    PostgresSaver.from_conn_string(DATABASE_URL),
    AsyncPostgresSaver.from_conn_string(DATABASE_URL),
)
saver = opened.__enter__()
saver.setup()
async_saver = loop.run_until_complete(async_opened.__aenter__())
steps = chain([writing(it, asynchronous=True) for it in range(STEPS)], SMALL).compile(async_saver)
plain = chain([writing(it, asynchronous=False) for it in range(STEPS)], SMALL).compile(saver)
growing = chain(
    [adding(it) for it in range(STAGES)], ["a", *(f"k{it}" for it in range(STAGES))]
).compile(saver)
wide = fan().compile(saver)


async def one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        await steps.ainvoke({"a": 1}, config(), durability="sync")
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


async def many() -> float:
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            await steps.ainvoke({"a": 1}, config(), durability="sync")

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(MANY)))
    return MANY * STEPS / (time.perf_counter() - began)


def plain_one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        plain.invoke({"a": 1}, config(), durability="sync")
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


def whole(graph: Any) -> float:
    began = time.perf_counter()
    graph.invoke({"a": 1} if graph is growing else {}, config(STAGES), durability="sync")
    return (time.perf_counter() - began) * 1e3


serve(
    {
        "W1": lambda: loop.run_until_complete(one_at_a_time()),
        "W2": lambda: loop.run_until_complete(many()),
        "W3": lambda: whole(growing),
        "W6": plain_one_at_a_time,
    }
)
