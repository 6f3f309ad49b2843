"""W3: a state that grows by 10 KB with every stage; a checkpoint costs what the stage wrote."""

from __future__ import annotations

import time
from collections.abc import Mapping

from benchmarks import floors
from benchmarks.pipelines import adding, durable, noops
from benchmarks.workload import Workload
from fluxio_django.models import Checkpoint
from fluxio_django.pipeline import DjangoPipeline

STAGES, SIZE, LONG = 100, 10 * 1024, 10_000


def workloads() -> list[Workload]:
    """W3, and how flat the time per step stays over 10,000 steps."""
    growing = durable([adding(number, SIZE) for number in range(STAGES)])
    return [
        Workload(
            name="W3",
            title=f"{STAGES} stages that add 10 KB each, in all",
            unit="ms",
            ours=lambda: _milliseconds(growing),
            floor=lambda: floors.raw_inserts(STAGES, "x" * SIZE) * 1e3,
            floor_title="as many raw INSERTs of 10 KB",
            goal="<= 2",
            facts=lambda: _bytes_written(growing),
        ),
        _flat(),
    ]


def _flat() -> Workload:
    """The last tenth of a long run beside its first tenth, which stands for the floor here."""
    seen: list[float] = []
    long = durable(noops(LONG, asynchronous=False))

    def ours() -> float:
        run_id = long.invoke_sync({"a": 1}).run_id
        rows = Checkpoint.objects.filter(run__run_id=run_id).order_by("sequence")
        moments = list(rows.values_list("created_at", flat=True))
        tenth = LONG // 10
        seen.append((moments[tenth + 1] - moments[1]).total_seconds() / tenth * 1e6)
        return (moments[-1] - moments[-1 - tenth]).total_seconds() / tenth * 1e6

    def floor() -> float:
        if not seen:
            ours()
        return seen[-1]

    return Workload(
        name="W3-flat",
        title=f"the last tenth of a run of {LONG:,} small steps, time per step",
        unit="us",
        ours=ours,
        floor=floor,
        floor_title="the first tenth of the run before it",
        goal="<= 1.2",
    )


def _milliseconds(pipeline: DjangoPipeline) -> float:
    began = time.perf_counter()
    pipeline.invoke_sync({})
    return (time.perf_counter() - began) * 1e3


def _bytes_written(pipeline: DjangoPipeline) -> Mapping[str, str]:
    run_id = pipeline.invoke_sync({}).run_id
    sizes = Checkpoint.objects.filter(run__run_id=run_id).values_list("size", flat=True)
    return {"payloads written": f"{sum(sizes) / 1e6:.2f} MB (goal <= 1.3)"}
