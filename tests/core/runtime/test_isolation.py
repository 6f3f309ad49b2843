"""One pipeline from many threads and event loops at once; contextvars are kept (G25)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from fluxio import Context, InMemoryStore, Parallel, Pipeline, current_step, stage
from tests.proofs.tally import Tally

request: ContextVar[str] = ContextVar("request")


@stage
def in_thread(ctx: Context) -> Context:
    return ctx.set("seen", request.get()).set("thread", threading.get_ident())


@stage
async def in_loop(ctx: Context) -> Context:
    await asyncio.sleep(0)
    return ctx.set("loop", id(asyncio.get_running_loop())).set("run", current_step().run_id)


@stage
async def other(ctx: Context) -> Context:
    return ctx.set("other", request.get())


def test_g25_sixteen_threads_with_loops_of_their_own_share_one_pipeline(tally: Tally) -> None:
    pipeline = Pipeline(
        [in_thread, Parallel([in_loop, other])], durable=True, checkpoint_store=InMemoryStore()
    )

    async def many(worker: int) -> list[dict[str, Any]]:
        results = []
        for number in range(200):
            name = f"{worker}-{number}"
            request.set(name)
            results.append({"name": name, **await pipeline.invoke({}, run_id=name)})
        return results

    with ThreadPoolExecutor(16) as pool:
        batches = list(pool.map(lambda worker: asyncio.run(many(worker)), range(16)))
    results = [result for batch in batches for result in batch]
    wrong = [r for r in results if not r["seen"] == r["run"] == r["other"] == r["name"]]
    tally.add("G25", "memory", len(results), len(wrong))
    assert len(results) == 16 * 200
    assert wrong == []
    pipeline.shutdown()


async def test_a_plain_stage_runs_in_another_thread_with_the_callers_contextvars() -> None:
    request.set("from the caller")
    final = await Pipeline([in_thread]).invoke({})
    assert final["seen"] == "from the caller"
    assert final["thread"] != threading.get_ident()
