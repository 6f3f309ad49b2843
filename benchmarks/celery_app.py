"""A Celery application whose workers execute our runs, and a chain of tasks that does as much.

`celery -A benchmarks.celery_app worker` works on the queue FLUXIO_BENCH_QUEUE; the database is the
one that FLUXIO_BENCH_DATABASE names.
"""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery, chain

from benchmarks.project import DEFAULT_REDIS_URL

BROKER = os.environ.get("FLUXIO_BENCH_REDIS_URL", DEFAULT_REDIS_URL)
STEPS = 10

app = Celery("fluxio-bench", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=os.environ.get("FLUXIO_BENCH_QUEUE", "fluxio-bench"),
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    CELERY_DB_REUSE_MAX=1000,
)
app.autodiscover_tasks(["fluxio_django"])

_counter: Any = redis.Redis.from_url(BROKER)


@app.task
def step(state: dict[str, Any], number: int) -> dict[str, Any]:
    """As much as a stage of ours does."""
    return {**state, f"k{number % 3}": number}


@app.task
def last_step(state: dict[str, Any], number: int) -> None:
    """The last one; no result is kept, only counted that there is one."""
    step(state, number)
    _counter.incr(counter_name())


def counter_name() -> str:
    """The key under which chains that have ended are counted."""
    return f"{app.conf.task_default_queue}:ended"


def send_chain() -> None:
    """Have workers do, task by task, what the stages of one run do."""
    steps = [step.s({"a": 1}, 0), *(step.s(number) for number in range(1, STEPS - 1))]
    chain(*steps, last_step.s(STEPS - 1)).apply_async()


def chains_ended() -> int:
    """How many chains have come to their end."""
    return int(_counter.get(counter_name()) or 0)


def forget_queue() -> None:
    """Remove what the queue has left in the broker."""
    queue = app.conf.task_default_queue
    _counter.delete(queue, counter_name(), f"_kombu.binding.{queue}")
