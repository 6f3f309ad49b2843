"""A fork begins where its source stood, and leaves every byte of the source as it was."""

from pathlib import Path
from typing import Any

import pytest

from fluxio.errors import FluxioError
from fluxio.testing.faults import Fault, FaultMode, FaultyStore
from fluxio.types import RunStatus
from fluxio_django.models import Checkpoint, Run
from tests.durability.harness.actors import Verb
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.houses import House
from tests.durability.harness.starving import Starving
from tests.durability.harness.topologies import TOPOLOGIES
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

STEPS = 2
"""Steps of each topology from which a pull request forks."""
PATCH = {"note": "another one", "patched": True}


def stored(house: House, run_id: str) -> list[dict[str, Any]]:
    """Every column of a run and of its rows."""
    run = Run.objects.using(house.name).filter(run_id=run_id)
    rows = Checkpoint.objects.using(house.name).filter(run__run_id=run_id)
    return [*run.values(), *rows.order_by("sequence").values()]


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_fork_from_any_step_alters_no_byte_of_its_source(
    relational: House, topology: str, tmp_path: Path, tally: Tally, size: Size
) -> None:
    """G26: with a patch and without; a fork that is refused alters nothing either."""
    source = Starving(house=relational, topology=topology, folder=tmp_path)
    assert source.execute(Verb.START)
    pipeline = relational.pipeline(topology, TOPOLOGIES[topology])
    before = stored(relational, source.run_id)
    steps = [None, *dict.fromkeys(row["step"] for row in before[1:] if row["step"])]
    broken = []
    for place in size.points(len(steps), pull_request=STEPS):
        for patch in (None, PATCH):
            step = steps[place - 1]
            try:
                fork = pipeline.fork_sync(source.run_id, from_step=step, patch=patch)
            except FluxioError as refused:  # inside a branch nothing can be forked
                ended, named = True, str(step) in str(refused)
            else:
                made = Run.objects.using(relational.name).get(run_id=fork.run_id)
                ended = made.status == RunStatus.SUCCEEDED
                named = made.parent == source.run_id
            untouched = stored(relational, source.run_id) == before
            tally.add("G26", relational.title, 1, not untouched)
            if not (ended and named and untouched):
                broken.append((step, patch, ended, named, untouched))
    assert broken == []


def test_a_run_that_is_interrupted_can_be_forked_and_goes_on_as_if_it_had_not_been(
    relational: House, tmp_path: Path, tally: Tally
) -> None:
    """G26: the source's own future is part of what a fork leaves alone."""
    source = Starving(house=relational, topology="linear", folder=tmp_path)
    down = Fault(mode=FaultMode.UNAVAILABLE, call=5, forever=True)
    assert not source.execute(Verb.START, FaultyStore(relational.store(), down))
    source.forsake()
    before = stored(relational, source.run_id)
    EFFECTS.write_to(str(tmp_path / "fork"))  # the source's log is for the source
    pipeline = relational.pipeline("linear", TOPOLOGIES["linear"])
    fork = pipeline.fork_sync(source.run_id, patch=PATCH)
    untouched = stored(relational, source.run_id) == before
    tally.add("G26", relational.title, 1, not untouched)
    assert fork["patched"] is True
    assert untouched
    assert source.finish() == []


@pytest.mark.parametrize("topology", ["linear", "parallel", "routed"])
def test_a_replay_appends_and_alters_no_earlier_row(
    relational: House, topology: str, tmp_path: Path, tally: Tally
) -> None:
    """G26: what a replay leaves of the run it re-runs."""
    source = Starving(house=relational, topology=topology, folder=tmp_path)
    assert source.execute(Verb.START)
    _, *before = stored(relational, source.run_id)
    relational.pipeline(topology, TOPOLOGIES[topology]).replay_sync(source.run_id)
    _, *after = stored(relational, source.run_id)
    untouched = after[: len(before)] == before
    tally.add("G26", relational.title, 1, not untouched)
    assert len(after) > len(before)
    assert untouched
