"""What must not grow with the history of a run: `python -m benchmarks.flat [--steps 100000]`."""

from __future__ import annotations

import argparse
import random
import string
import time
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.project import about, set_up

_AROUND = 100
_RESUMES = 5
_SHORT, _LONG = 100, 10_000
_STAGES, _KILOBYTES = 100, 10


def main() -> None:
    """Measure in each database, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=_LONG, help="Steps of the longest run.")
    parser.add_argument("--database", help="The only one to measure in: default or sqlite.")
    asked = parser.parse_args()
    set_up()
    from django.conf import settings

    print(", ".join(f"{name} {value}" for name, value in about().items()))
    for alias in [asked.database] if asked.database else settings.DATABASES:
        _checkpoints(alias, asked.steps)
        _resumes(alias)
        _bytes(alias)


def _checkpoints(alias: str, steps: int) -> None:
    moments: list[float] = []

    def write(ctx: Any) -> Any:
        moments.append(time.perf_counter())
        return ctx.set(f"k{len(moments) % 3}", len(moments))

    begun = time.perf_counter()
    pipeline = _pipeline(alias, [write] * steps)
    built = time.perf_counter()
    pipeline.invoke_sync({}, run_id=f"steps-{steps}")
    ended = time.perf_counter()
    _say(alias, f"{steps:,} steps: built in {built - begun:.1f} s, run in {ended - built:.1f} s")
    took = [later - earlier for earlier, later in pairwise(moments)]
    for place in (1, 1_000, 10_000, 100_000):
        if place <= steps:
            near = took[max(0, min(place, len(took)) - _AROUND) :][: 2 * _AROUND]
            _say(alias, f"a step with its checkpoint, around step {place:,}: {_us(near)}")


def _resumes(alias: str) -> None:
    took = {steps: _resume(alias, steps) for steps in (_SHORT, _LONG)}
    ratio = took[_LONG] / took[_SHORT]
    _say(
        alias,
        f"resume of {_SHORT:,} and of {_LONG:,} rows: {took[_SHORT] * 1000:.1f} and "
        f"{took[_LONG] * 1000:.1f} ms, {ratio:.2f} times",
    )


def _resume(alias: str, steps: int) -> float:
    calls = 0

    def write(ctx: Any) -> Any:
        nonlocal calls
        calls += 1
        return ctx.set(f"k{calls % 3}", calls)

    def fail(ctx: Any) -> Any:
        raise ConnectionError("not yet")

    pipeline = _pipeline(alias, [*[write] * steps, fail])
    _until_it_fails(pipeline.invoke_sync, {}, run_id=f"long-{steps}")
    return median(_until_it_fails(pipeline.resume_sync, f"long-{steps}") for _ in range(_RESUMES))


def _until_it_fails(execute: Any, *args: Any, **kwargs: Any) -> float:
    begun = time.perf_counter()
    try:
        execute(*args, **kwargs)
    except ConnectionError:
        return time.perf_counter() - begun
    raise AssertionError("the last stage fails")


def _bytes(alias: str) -> None:
    from django.db.models import Sum

    from fluxio_django.models import Checkpoint

    signs = string.ascii_letters + string.digits + "+/"
    added = 0

    def write(ctx: Any) -> Any:
        nonlocal added
        added += 1
        text = "".join(random.choices(signs, k=_KILOBYTES * 1024))
        return ctx.set(f"k{added}", text)

    _pipeline(alias, [write] * _STAGES).invoke_sync({}, run_id="growing")
    rows = Checkpoint.objects.using(alias).filter(run__run_id="growing")
    written = rows.aggregate(total=Sum("size"))["total"]
    _say(alias, f"{_STAGES} stages that add {_KILOBYTES} KB each: {written / 1e6:.3f} MB of rows")


def _pipeline(alias: str, stages: list[Any]) -> Any:
    from fluxio import Pipeline, stage
    from fluxio_django import DjangoStore
    from fluxio_django.pipeline import DjangoPipeline

    named = [stage(name=f"s{at}", version="1")(each) for at, each in enumerate(stages)]
    made = Pipeline(named, durable=True, checkpoint_store=DjangoStore(using=alias))
    return made.bound_to(DjangoPipeline, name="flat", store=lambda: DjangoStore(using=alias))


def _us(took: list[float]) -> str:
    return f"{median(took) * 1e6:,.0f} us (median of {len(took)})"


def _say(alias: str, text: str) -> None:
    from django.db import connections

    print(f"{connections[alias].display_name}: {text}", flush=True)


if __name__ == "__main__":
    main()
