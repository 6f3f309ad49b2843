"""What is proved of single commits holds for those that share a statement with other runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
from django.db import connections

from fluxio_django import turns
from tests.durability.conftest import MakePart, real_transactions
from tests.durability.harness.actors import Part, Unit, Verb
from tests.durability.harness.effects import groups_beside
from tests.durability.harness.houses import House
from tests.durability.harness.moments import Moment
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.starving import Starving
from tests.durability.harness.statements import FOR_GROUPS
from tests.durability.harness.trials import Order, zombie_trial
from tests.durability.test_kill_sweep import Sweep, hold_against
from tests.durability.test_lost_answers import Network
from tests.durability.test_store_failures import Famine
from tests.durability.test_zombies import LEASE
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [
    pytest.mark.durability,
    pytest.mark.rows_stay,
    real_transactions("postgres"),
    pytest.mark.postgresql,
]

FROZEN_AT = (
    Moment.IN_STAGE,
    Moment.BEFORE_COMMIT,
    Moment.IN_TRANSACTION,
    Moment.BETWEEN_COMMITS,
    Moment.INSIDE_COMMIT,
)
POINTS = 8
FEWEST = 2
"""Statements for groups that a run takes at least: for its beginning, and for a commit."""


@pytest.fixture
def house(transactional_db: None) -> House:
    """The one place where runs are dealt with in groups."""
    house = House("postgres")
    house.prepare()
    return house


@pytest.fixture
def grouped(part: MakePart) -> Iterator[MakePart]:
    """Parts whose only run is a group by itself; afterwards each of them has to have been one."""
    made: list[Part] = []

    def make(house: House, topology: str, **facts: object) -> Part:
        made.append(part(house, topology, in_groups=True, **facts))
        return made[-1]

    yield make
    few = {one.run_id: groups_beside(one.effects) for one in made}
    assert {run_id: number for run_id, number in few.items() if number < FEWEST} == {}


@contextmanager
def statements_for_groups() -> Iterator[list[str]]:
    """Those of this process."""
    seen: list[str] = []

    def look(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        seen.extend([sql] if sql.startswith(FOR_GROUPS) else [])
        return execute(sql, params, many, context)  # type: ignore[operator]

    with connections["postgres"].execute_wrapper(look):
        yield seen


@pytest.mark.parametrize("topology", ["linear", "parallel", "routed", "background"])
def test_a_run_killed_between_any_two_statements_of_groups_goes_on(
    nursery: Nursery, house: House, grouped: MakePart, tally: Tally, topology: str, size: Size
) -> None:
    """G1, G3, G4, G10."""
    sweep = Sweep(nursery, house, grouped, topology)
    sweep.unit = Unit.STATEMENT
    points = size.points(sweep.survey(), pull_request=POINTS)
    hold_against(sweep, tally, ([place] for place in points))


@pytest.mark.parametrize("topology", ["linear"])
def test_a_run_killed_at_any_line_on_the_way_of_groups_goes_on(
    nursery: Nursery, house: House, grouped: MakePart, tally: Tally, topology: str, size: Size
) -> None:
    """G1, G3, G4: a sample of the executed lines; in a soak, each of them."""
    sweep = Sweep(nursery, house, grouped, topology)
    hold_against(sweep, tally, sweep.once(sweep.survey(), size))


@pytest.mark.parametrize(("moment", "order"), list(product(FROZEN_AT, Order)))
def test_a_frozen_owner_commits_nothing_by_way_of_a_group(
    nursery: Nursery,
    house: House,
    grouped: MakePart,
    tally: Tally,
    moment: Moment,
    order: Order,
) -> None:
    """G2: its commit is the last that a fence sees, whoever else shares the statement."""
    if moment is Moment.INSIDE_COMMIT and order is Order.BEFORE:
        pytest.skip("what was committed is no zombie's any more")
    report = nursery.call(
        zombie_trial, grouped(house, "linear", lease_seconds=LEASE), moment, order
    )
    tally.add("G2", house.title, 1, bool(report.findings))
    assert report.reached
    assert report.findings == []


@pytest.mark.parametrize("topology", ["linear", "parallel"])
def test_an_answer_to_a_group_that_is_lost_doubles_nothing(
    nursery: Nursery, house: House, grouped: MakePart, tally: Tally, topology: str
) -> None:
    """G5: each answer of the database to a run."""
    network = Network(nursery, grouped, house, topology)
    network.hold_against(tally, range(1, network.requests() + 1))


def test_a_run_survives_the_failure_of_any_call_of_its_store_on_the_way_of_groups(
    house: House, tmp_path: object, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G19: the k-th call fails, for every k: once, for ever, slow, after it was carried out."""
    monkeypatch.setattr(turns, "FEWEST_FOR_A_GROUP", 1)
    famine = Famine(house, "linear", tmp_path, tally)  # type: ignore[arg-type]
    with statements_for_groups() as seen:
        for fault in famine.faults():
            famine.suffer(fault)
    famine.hold_against()
    assert seen, "the way of groups was not taken"


def test_the_proofs_take_the_way_of_groups(
    house: House, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FEWEST_FOR_A_GROUP", 1)
    run = Starving(house=house, topology="linear", folder=tmp_path)  # type: ignore[arg-type]
    with statements_for_groups() as seen:
        assert run.execute(Verb.START, house.store())
    assert len(seen) >= 4, "one to begin, and one for each stage that is not transactional"
