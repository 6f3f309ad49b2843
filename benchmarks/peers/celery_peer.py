"""Celery: a chain of ten tasks on Redis, each handing its result on; one worker of one process."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, chain
from celery.contrib.testing.worker import start_worker
from protocol import MANY, REDIS_URL, RUNS, SIZE, STAGES, STEPS, serve

QUEUE = f"fluxio-bench-{os.getpid()}"
app = Celery("bench", broker=REDIS_URL, backend=REDIS_URL)
app.conf.update(task_default_queue=QUEUE, task_acks_late=True, result_expires=60)


@app.task
def step(state: Any, number: int) -> Any:
    return {**state, f"k{number % 3}": number}


@app.task
def adding(state: Any, number: int) -> Any:
    return {**state, f"k{number}": "x" * SIZE}


def small() -> Any:
    return chain(step.s({"a": 1}, 0), *(step.s(number) for number in range(1, STEPS)))


def one_at_a_time() -> float:
    began = time.perf_counter()
    for _ in range(RUNS):
        small().apply_async().get()
    return (time.perf_counter() - began) / RUNS / STEPS * 1e6


def many() -> float:
    began = time.perf_counter()
    for result in [small().apply_async() for _ in range(MANY)]:
        result.get()
    return MANY * STEPS / (time.perf_counter() - began)


def grow() -> float:
    began = time.perf_counter()
    chain(adding.s({}, 0), *(adding.s(number) for number in range(1, STAGES))).apply_async().get()
    return (time.perf_counter() - began) * 1e3


with start_worker(app, pool="solo", perform_ping_check=False):
    serve({"W2": many, "W3": grow, "W6": one_at_a_time})
