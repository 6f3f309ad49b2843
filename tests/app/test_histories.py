"""What a run has recorded is shown as it was at one moment, whatever becomes of it meanwhile."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from fluxio import Context, stage
from fluxio.errors import InvalidRunIDError, NoCheckpointError
from fluxio.pipeline import Pipeline
from fluxio_django import services
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.services import UnknownRunError
from tests.rivals import rival_after

NAME = "histories.tests"
STAGES = 40


@stage(version="1")
def first(ctx: Context) -> Context:
    if ctx.get("fails"):
        raise ValueError("it was told to")
    return ctx.set("first", 1)


def overwriting(number: int) -> Any:
    """A stage that sets what the one before has set, so that rows are full now and then."""
    return stage(name=f"s{number}", version="1")(lambda ctx: ctx.set("last", number))


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    nodes = [first, *(overwriting(number) for number in range(STAGES))]
    pipelines.add(NAME, lambda: Pipeline(nodes, durable=True))
    yield pipelines[NAME]
    pipelines.remove(NAME)


@pytest.mark.parametrize("moment", range(3))
@pytest.mark.parametrize("look", [services.state, services.history, services.provenance])
def test_a_run_that_is_begun_anew_while_it_is_looked_at_is_shown_as_it_was_or_as_it_is(
    pipeline: DjangoPipeline, database: str, look: Any, moment: int
) -> None:
    pipeline.invoke_sync({"of": "old"}, run_id="r")
    old = look("r")
    looks = count()

    def restart() -> None:
        if next(looks) == moment:
            with pytest.raises(ValueError, match="it was told to"):
                pipeline.invoke_sync({"of": "new", "fails": True}, run_id="r")

    with rival_after(database, restart, times=moment + 1, least=0):
        seen = look("r")
    assert seen in (old, look("r"))


def test_what_is_not_there_is_told(pipeline: DjangoPipeline) -> None:
    pipeline.invoke_sync({}, run_id="r")
    for look in (services.state, services.history, services.provenance):
        with pytest.raises(UnknownRunError, match="Newest runs: r"):
            look("s")
        with pytest.raises(InvalidRunIDError):
            look("")
    for at in (-1, STAGES + 2):
        with pytest.raises(NoCheckpointError, match=f"rows 0 to {STAGES + 1}"):
            services.state("r", at)
        with pytest.raises(NoCheckpointError, match=f"rows 0 to {STAGES + 1}"):
            services.provenance("r", at)
