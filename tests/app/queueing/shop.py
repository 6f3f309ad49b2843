"""A pipeline of a few plain stages for the tests of queueing, and where its runs are kept."""

from collections.abc import Iterator
from contextlib import contextmanager

from fluxio import Context, Pipeline, stage
from fluxio_django import Limits
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines

PIPELINE = "queueing.checkout"

executed: list[tuple[str, str]] = []
"""Which stage ran, with the number of the order."""


@stage(version="1")
def reserve(ctx: Context) -> Context:
    executed.append(("reserve", str(ctx["order"])))
    return ctx.set("reserved", True)


@stage(version="1")
def charge(ctx: Context) -> Context:
    executed.append(("charge", str(ctx["order"])))
    if ctx.get("card") == "refused":
        raise ValueError("the card was refused")
    return ctx.set("charged", ctx["order"])


def checkout() -> Pipeline:
    return Pipeline([reserve, charge], durable=True)


@contextmanager
def registered(name: str = PIPELINE, limits: Limits | None = None) -> Iterator[DjangoPipeline]:
    """The pipeline in the registry for the time of the block; its runs are where FLUXIO says."""
    pipelines.add(name, checkout, limits or Limits())
    executed.clear()
    try:
        yield pipelines[name]
    finally:
        pipelines.remove(name)
