"""Two runs are the same run only if their ids are the same, byte for byte."""

import random
import string
from collections.abc import Iterator

import pytest

from fluxio import Context, NoCheckpointError, Pipeline, stage
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.houses import House
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = pytest.mark.durability

PRINTABLE = string.ascii_letters + string.digits + string.punctuation
LONGEST = 128
STORED_ONLY = [("x", "x "), ("e", "é"), ("ss", "ß"), ("a", "a\u0301"), ("i", "İ"), ("x", "x\t")]
"""Ids that nobody can give to a run; a database that equates them equates others, too."""


@stage(version="1")
def keep(ctx: Context) -> Context:
    return ctx.set("kept", ctx["given"])


def pipeline_in(house: House) -> DjangoPipeline:
    made = Pipeline([keep], durable=True, checkpoint_store=DjangoStore(using=house.name))
    return made.bound_to(DjangoPipeline, name="ids", store=lambda: DjangoStore(house.name))


def twins(total: int) -> Iterator[tuple[str, str]]:
    """Ids that collations equate: in case, in punctuation, in a sign at the end; up to 128 long."""
    chance = random.Random(total)
    for number in range(total):
        length = chance.choice([1, 2, 8, 36, LONGEST - 8])
        one = f"{number}-" + "".join(chance.choices(PRINTABLE, k=length))
        at = chance.randrange(len(one))
        other = chance.choice(
            [one.swapcase(), one + chance.choice(string.punctuation), one[:at] + "-" + one[at:]]
        )
        if other != one:
            yield one, other


def test_ids_that_look_alike_are_different_runs(
    relational: House, tally: Tally, size: Size
) -> None:
    """G17: whichever of the two exists, the other one is unknown, and each keeps its own values."""
    pipeline = pipeline_in(relational)
    collided = []
    for one, other in twins(size.trials(pull_request=100, soak=10_000)):
        pipeline.invoke_sync({"given": one}, run_id=one)
        try:
            pipeline.resume_sync(other)
        except NoCheckpointError:
            unknown = True
        else:
            unknown = False
        pipeline.invoke_sync({"given": other}, run_id=other)
        kept = [pipeline.resume_sync(run_id)["kept"] for run_id in (one, other)]
        apart = unknown and kept == [one, other]
        tally.add("G17", relational.title, 1, not apart)
        if not apart:
            collided.append((one, other))
    assert collided == []


@pytest.mark.parametrize(("one", "other"), STORED_ONLY)
def test_the_tables_tell_ids_apart_that_collations_equate(
    relational: House, tally: Tally, one: str, other: str
) -> None:
    """G17: in the unique index, and in a query."""
    runs = Run.objects.using(relational.name)
    for run_id in (one, other):
        runs.create(run_id=run_id, pipeline=run_id, version="1")
    found = [list(runs.filter(run_id=it).values_list("pipeline", flat=True)) for it in (one, other)]
    tally.add("G17", relational.title, 1, found != [[one], [other]])
    assert found == [[one], [other]]
