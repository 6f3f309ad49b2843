"""A run whose worker is gone is taken over without an operator, but not for ever."""

import pytest

from tests.durability.conftest import MakePart
from tests.durability.harness.houses import House
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.takeovers import poison_trial, takeover_trial
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]


@pytest.mark.parametrize("frozen", [False, True], ids=["killed", "frozen"])
@pytest.mark.parametrize("topology", ["linear", "plain", "parallel", "background"])
def test_the_first_sweep_after_the_end_of_a_lease_takes_the_run_over_and_no_other(
    nursery: Nursery,
    part: MakePart,
    tally: Tally,
    relational: House,
    size: Size,
    topology: str,
    frozen: bool,
) -> None:
    """G7: the run comes to its end by the sweep alone, so within a lease and a pause of sweeps.

    One trial after the other: a sweep takes over whatever it finds, also what others look at.
    """
    reports = [
        nursery.call(takeover_trial, part(relational, topology), frozen=frozen)
        for _ in range(size.trials(pull_request=1, soak=25))
    ]
    broken = [report.findings for report in reports if report.findings]
    tally.add("G7", relational.title, len(reports), len(broken))
    assert broken == []


@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("topology", ["linear", "plain"])
def test_a_run_that_kills_its_workers_ends_dead_after_exactly_so_many_takeovers(
    nursery: Nursery, part: MakePart, tally: Tally, relational: House, topology: str, most: int
) -> None:
    """G8: with the reason, and without another worker lost."""
    report = nursery.call(poison_trial, part(relational, topology, max_takeovers=most))
    tally.add("G8", relational.title, 1, bool(report.findings))
    assert report.findings == []
    assert report.count == most
