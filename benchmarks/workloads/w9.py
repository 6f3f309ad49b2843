"""W9: enqueued runs through Celery workers; FLUXIO_BENCH_ENQUEUED says how many."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex

from django.db import connections

from benchmarks.pipelines import ENQUEUED
from benchmarks.project import redis_url
from benchmarks.workload import Workload
from fluxio.types import RunStatus
from fluxio_django import pipelines
from fluxio_django.models import Run

RUNS = int(os.environ.get("FLUXIO_BENCH_ENQUEUED", "1000"))
PROCESSES = 2
_LONGEST_SECONDS = 1800
_OPEN = [status.value for status in RunStatus if status.is_open]


def workloads() -> list[Workload]:
    """W9; on PostgreSQL and Redis."""
    if connections["default"].vendor != "postgresql" or redis_url() is None:
        return []
    contest = Contest()
    return [
        Workload(
            name="W9",
            title=f"{RUNS:,} enqueued runs of 10 plain no-op stages through a Celery worker of "
            f"{PROCESSES} processes, from the first call to the last end",
            unit="runs/s",
            ours=contest.ours,
            floor=contest.chains,
            floor_title="as many Celery chains of 10 tasks, late acknowledgement, no results kept",
            goal=">= 2",
            facts=contest.facts,
            close=contest.close,
        )
    ]


class Contest:
    """A worker that does both kinds of work, started when the first is to be done."""

    def __init__(self) -> None:
        self._queue = f"fluxio-bench-{token_hex(4)}"
        self._worker: subprocess.Popen[bytes] | None = None
        self._log = Path(tempfile.mkdtemp(prefix="fluxio-bench-"), "worker.log")
        self._enqueued: list[float] = []
        self._drained: list[float] = []

    def ours(self) -> float:
        """Enqueue runs and wait until all have ended; gives runs per second."""
        self._start()
        pipeline = pipelines[ENQUEUED]
        runs = Run.objects.filter(pipeline=ENQUEUED)
        began = time.perf_counter()
        for _ in range(RUNS):
            pipeline.enqueue_sync({"a": 1})
        enqueued = time.perf_counter()
        self._until(lambda: not runs.filter(status__in=_OPEN).exists())
        ended = time.perf_counter()
        assert not runs.exclude(status=RunStatus.SUCCEEDED).exists()
        self._enqueued.append(RUNS / (enqueued - began))
        self._drained.append(ended - enqueued)
        return RUNS / (ended - began)

    def chains(self) -> float:
        """The same with chains."""
        self._start()
        from benchmarks import celery_app

        due = celery_app.chains_ended() + RUNS
        began = time.perf_counter()
        for _ in range(RUNS):
            celery_app.send_chain()
        self._until(lambda: celery_app.chains_ended() >= due)
        return RUNS / (time.perf_counter() - began)

    def facts(self) -> Mapping[str, str]:
        """How fast ours are taken in, and how long the rest takes from then on."""
        return {
            "enqueued per second": f"{max(self._enqueued):,.0f}",
            "seconds from the last call to the last end": f"{min(self._drained):.1f}",
        }

    def close(self) -> None:
        """End the worker, and leave nothing in the broker."""
        shutil.rmtree(self._log.parent, ignore_errors=True)
        if self._worker is None:
            return
        self._worker.terminate()
        try:
            self._worker.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        from benchmarks.celery_app import forget_queue

        forget_queue()

    def _start(self) -> None:
        if self._worker is not None:
            return
        os.environ |= {
            "FLUXIO_BENCH_QUEUE": self._queue,
            "FLUXIO_BENCH_DATABASE": str(connections["default"].settings_dict["NAME"]),
        }
        import benchmarks.celery_app  # noqa: F401 - from now on this process sends to its queue

        words = ["-m", "celery", "-A", "benchmarks.celery_app", "worker", "-n", self._queue]
        words += ["-c", str(PROCESSES), "-l", "WARNING"]
        words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with self._log.open("wb") as log:
            self._worker = subprocess.Popen(
                [sys.executable, *words],
                cwd=Path(__file__).parents[2],
                env={**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.celery_settings"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _LONGEST_SECONDS
        while not true():
            assert self._worker is not None
            if self._worker.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The worker did not finish: {self._log.read_text()[-2000:]}")
            time.sleep(0.05)
