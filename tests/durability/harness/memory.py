"""How much memory a large context takes while it is stored and loaded, in a process of its own."""

import tracemalloc
from functools import partial

from fluxio import Context, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline


def memory_trial(house: str, run_id: str, size: int) -> list[float]:
    """The peaks while a text of so many bytes is stored, and loaded, as multiples of its size."""
    text = "x" * size

    @stage(version="1")
    def grow(ctx: Context) -> Context:
        return ctx.set("large", text)

    made = Pipeline([grow], durable=True, checkpoint_store=DjangoStore(using=house))
    pipeline = made.bound_to(DjangoPipeline, name="memory", store=lambda: DjangoStore(house))
    peaks = []
    tracemalloc.start()
    for execute in (partial(pipeline.invoke_sync, {}), pipeline.resume_sync):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        assert execute(run_id=run_id)["large"] == text
        _, peak = tracemalloc.get_traced_memory()
        peaks.append((peak - before) / size)
    tracemalloc.stop()
    return peaks
