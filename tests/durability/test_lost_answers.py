"""Whether a commit was applied is looked up when its answer is lost, never guessed."""

from collections.abc import Iterable

import pytest

from tests.durability.conftest import MakePart
from tests.durability.harness.houses import House
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.trials import lost_answer_trial
from tests.proofs.sizes import Scale, Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

ALWAYS_WHOLE = "linear"
ANSWERS = 6
"""Of each of the other topologies in a pull request."""


class Network:
    """Runs of one topology, whose database is reached over a network that loses answers."""

    def __init__(self, nursery: Nursery, part: MakePart, house: House, topology: str) -> None:
        self.nursery, self.make, self.house, self.topology = nursery, part, house, topology

    def requests(self) -> int:
        """How many requests a run makes when none is lost."""
        report = self.nursery.call(lost_answer_trial, self.make(self.house, self.topology), 0)
        assert report.findings == []
        return int(report.count)

    def hold_against(self, tally: Tally, losses: Iterable[int]) -> None:
        """Lose these answers, each in a run of its own."""
        running = [
            (lose, self.nursery.submit(lost_answer_trial, self._part(), lose)) for lose in losses
        ]
        broken = []
        for lose, future in running:
            report = future.result()
            tally.add("G5", self.house.title, 1, bool(report.findings))
            if report.findings:
                broken.append(f"answer {lose}: {report.findings}")
        assert broken == []

    def _part(self) -> object:
        return self.make(self.house, self.topology)


@pytest.fixture
def network(nursery: Nursery, part: MakePart, server: House, topology: str) -> Network:
    """The network between one topology and one database."""
    return Network(nursery, part, server, topology)


ANSWERS_IN_SOAK = 200
"""Of each of the five topologies in each database."""


@pytest.mark.parametrize("topology", ["linear", "plain", "parallel", "routed", "background"])
def test_an_answer_that_is_lost_doubles_nothing_and_fails_no_commit(
    network: Network, tally: Tally, size: Size, topology: str
) -> None:
    """G5: each answer of the database to a run, from the first look to the last commit.

    In a pull request each answer to one topology, and a sample of those to the others.
    """
    total = network.requests()
    wanted = size.trials(pull_request=total, soak=ANSWERS_IN_SOAK)
    if size.scale is Scale.PULL_REQUEST and topology != ALWAYS_WHOLE:
        losses: Iterable[int] = size.points(total, pull_request=ANSWERS)
    else:
        losses = (1 + number % total for number in range(wanted))
    network.hold_against(tally, losses)
