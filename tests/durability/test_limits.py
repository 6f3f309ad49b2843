"""What is too large is refused with a clear error before it is stored, and loses nothing."""

from collections.abc import Callable
from typing import Any

import pytest

from fluxio import Context, Pipeline, stage
from fluxio.errors import EncodingError
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.houses import House
from tests.durability.harness.memory import memory_trial
from tests.durability.harness.nursery import Nursery
from tests.proofs.tally import Tally

pytestmark = pytest.mark.durability

MEGABYTES = 1024 * 1024
TOO_LARGE = 10 * MEGABYTES
LARGE = TOO_LARGE - 1024
MOST_MEMORY = 2.5
"""Times the size of the context: its row, and beside it the text it is made of or the context."""
DEEP = 10_000


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def growing(house: House, made: Callable[[], Any]) -> DjangoPipeline:
    """A small stage, and one that sets what `made` gives."""

    @stage(version="1")
    def small(ctx: Context) -> Context:
        return ctx.set("small", 1)

    @stage(version="1")
    def grow(ctx: Context) -> Context:
        return ctx.set("large", made())

    nodes = [small, grow]
    pipeline = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(using=house.name))
    return pipeline.bound_to(DjangoPipeline, name="limits", store=lambda: DjangoStore(house.name))


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: "x" * TOO_LARGE, "10485760"),
        (lambda: nested(DEEP), "100"),
    ],
    ids=["ten megabytes", "ten thousand levels"],
)
def test_a_value_that_is_too_large_is_refused_and_the_run_goes_on_when_it_is_smaller(
    relational: House,
    tally: Tally,
    made: Callable[[], Any],
    named: str,
) -> None:
    """G18: the error names the key and the limit; what was recorded before stays."""
    values = [made()]
    pipeline = growing(relational, lambda: values[-1])
    with pytest.raises(EncodingError) as refused:
        pipeline.invoke_sync({}, run_id="large")
    history = [entry.step for entry in pipeline.history_sync("large") if entry.kind.value == "step"]
    told = all(word in str(refused.value) for word in ('ctx["large"]', named))
    values.append("small enough")
    result = pipeline.resume_sync("large")
    kept = history == ["small"] and result["large"] == "small enough"
    tally.add("G18", relational.title, 1, not (told and kept))
    assert told, str(refused.value)
    assert kept


def test_a_context_of_ten_megabytes_takes_a_bounded_amount_of_memory(
    nursery: Nursery, relational: House, tally: Tally
) -> None:
    """G18: hardly more than twice its size, to be stored and to be loaded, on every database."""
    peaks = nursery.call(memory_trial, relational.name, "large", LARGE)
    tally.add("G18", relational.title, 1, max(peaks) > MOST_MEMORY)
    assert max(peaks) <= MOST_MEMORY, peaks
