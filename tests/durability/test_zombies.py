"""A process that was frozen past its lease and wakes up can never commit again."""

from collections.abc import Sequence
from concurrent.futures import Future, wait

import pytest

from tests.durability.conftest import MakePart
from tests.durability.harness.houses import House
from tests.durability.harness.moments import Moment
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.trials import (
    Order,
    Report,
    late_heir_trial,
    live_owner_trial,
    zombie_trial,
)
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

LEASE = 0.3
"""Seconds; short, since every trial waits for it."""
FROZEN_AT = (
    Moment.IN_STAGE,
    Moment.BEFORE_COMMIT,
    Moment.IN_TRANSACTION,
    Moment.IN_HEARTBEAT,
    Moment.BETWEEN_COMMITS,
)
WITHOUT_TRANSACTIONS = tuple(one for one in FROZEN_AT if one is not Moment.IN_TRANSACTION)

FROZEN = {True: 100, False: 20}
"""Frozen owners in a pull request, by whether it is a database."""
FROZEN_IN_SOAK = 3000
SHIFTED = 10
SHIFTED_IN_SOAK = 300

HOUR = 3600.0

Trial = tuple[Moment, Order, str]


def trials(house: House, total: int) -> list[Trial]:
    """Every point with both orders, on either way to execute, until there are enough."""
    moments = FROZEN_AT if house.is_relational else WITHOUT_TRANSACTIONS
    kinds = [
        (moment, order, topology)
        for topology in ("linear", "plain")
        for order in Order
        for moment in moments
    ]
    chosen = [kinds[number % len(kinds)] for number in range(total)]
    return sorted(chosen, key=lambda trial: trial[0] is Moment.IN_TRANSACTION)


def hold_against(
    nursery: Nursery,
    part: MakePart,
    tally: Tally,
    house: House,
    wanted: Sequence[Trial],
    *,
    skew: float = 0.0,
) -> list[str]:
    """Make the trials, count them for G2 (or G22), and give what was wrong in each."""
    guarantee = "G22" if skew else "G2"
    running: list[tuple[Trial, Future[Report]]] = []
    for number, (moment, order, topology) in enumerate(wanted):
        tried = part(house, topology, lease_seconds=LEASE, skew=skew * (-1) ** number)
        alone = house.name == "default" and moment is Moment.IN_TRANSACTION
        if alone:  # SQLite has one lock: what is frozen with it keeps out every other trial
            wait([future for _, future in running])
        future = nursery.submit(zombie_trial, tried, moment, order)
        running.append(((moment, order, topology), future))
        if alone:
            wait([future])
    broken = []
    for trial, future in running:
        report = future.result()
        tally.add(guarantee, house.title, 1, bool(report.findings))
        if report.findings:
            broken.append(f"{trial}: {report.findings}")
            print(broken[-1].replace("\\n", "\n"))
    return broken


def test_an_owner_frozen_past_its_lease_commits_nothing_any_more(
    nursery: Nursery, part: MakePart, tally: Tally, house: House, size: Size
) -> None:
    """G2: frozen at 5 points; the heir has finished, or has only just claimed the run."""
    total = size.trials(pull_request=FROZEN[house.is_relational], soak=FROZEN_IN_SOAK)
    assert hold_against(nursery, part, tally, house, trials(house, total)) == []


@pytest.mark.parametrize("topology", ["linear", "plain"])
@pytest.mark.parametrize(
    "moment", [Moment.INSIDE_CLAIM, Moment.INSIDE_COMMIT, Moment.INSIDE_RENEWAL]
)
def test_an_owner_frozen_in_the_middle_of_its_own_writes_locks_nobody_out(
    nursery: Nursery, part: MakePart, tally: Tally, server: House, moment: Moment, topology: str
) -> None:
    """G2, G7: each of them is one statement, or ends after two leases of idling."""
    tried = part(server, topology, lease_seconds=LEASE)
    report = nursery.call(zombie_trial, tried, moment, Order.AFTER)
    tally.add("G7", server.title, 1, bool(report.findings))
    assert report.findings == []


@pytest.mark.parametrize("topology", ["linear", "plain"])
def test_an_heir_goes_on_behind_the_row_that_was_committed_while_it_claimed(
    nursery: Nursery, part: MakePart, tally: Tally, relational: House, topology: str
) -> None:
    """G1, G2: a takeover reads the cursor again after it has claimed the run."""
    report = nursery.call(late_heir_trial, part(relational, topology, lease_seconds=LEASE))
    tally.add("G2", relational.title, 1, bool(report.findings))
    assert report.findings == []


def test_a_takeover_is_as_safe_with_clocks_that_are_hours_apart(
    nursery: Nursery, part: MakePart, tally: Tally, house: House, size: Size
) -> None:
    """G22: the owner's clock is an hour off, the heir's an hour off the other way."""
    wanted = trials(house, size.trials(pull_request=SHIFTED, soak=SHIFTED_IN_SOAK))
    assert hold_against(nursery, part, tally, house, wanted, skew=HOUR) == []


@pytest.mark.parametrize("skew", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_nobody_takes_a_run_whose_owner_lives_whatever_the_clocks_say(
    nursery: Nursery, part: MakePart, tally: Tally, house: House, skew: float
) -> None:
    """G22: a lease goes by the clock of the database, not by that of the app."""
    held = part(house, "linear", lease_seconds=20.0, skew=skew)
    report = nursery.call(live_owner_trial, held)
    tally.add("G22", house.title, 1, bool(report.findings))
    assert report.findings == []
