"""Of all who want a run at the same moment, one is let in and all others are told so."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.durability.harness.houses import House
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.races import (
    Outcomes,
    losers,
    race_of_processes,
    race_of_threads,
    winners,
)
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

Race = Callable[..., list[Outcomes]]

RUNS = {True: 1000, False: 200}
"""How many runs two processes want in a pull request, by whether it is a database."""


def hold_against(nursery: Nursery, tally: Tally, house: House, race: Race, runs: int) -> None:
    """Hold the race, count, and fail where a run was won by nobody or by several."""
    outcomes = nursery.call(race, house.name, f"race-{uuid4().hex}", runs)
    won, lost = winners(outcomes), losers(outcomes)
    unfair = [number for number in range(runs) if won[number] != 1]
    errors = set(lost) - {"RunIDInUseError"}
    tally.add("G2b", house.title, runs, len(unfair) + sum(lost[error] for error in errors))
    assert unfair == []
    assert errors == set()
    assert lost["RunIDInUseError"] == (len(outcomes) - 1) * runs


def test_of_two_processes_exactly_one_is_let_in(
    nursery: Nursery, tally: Tally, house: House, size: Size
) -> None:
    """G2b: and no error of the database reaches the other one; a thousand runs in a soak."""
    runs = size.trials(pull_request=RUNS[house.is_relational], soak=1000)
    hold_against(nursery, tally, house, race_of_processes, runs)


def test_of_sixteen_threads_exactly_one_is_let_in(
    nursery: Nursery, tally: Tally, house: House, size: Size
) -> None:
    """G2b: and no error of the database reaches the other ones; two hundred runs in a soak."""
    runs = size.trials(pull_request=12, soak=200)
    hold_against(nursery, tally, house, race_of_threads, runs)
