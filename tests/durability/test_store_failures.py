"""Whichever call of a store fails, and however: no recorded step is skipped, none is repeated."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest

from fluxio.testing.faults import Fault, FaultMode, FaultyStore
from tests.durability.conftest import real_transactions
from tests.durability.harness.actors import Finding, Verb
from tests.durability.harness.houses import MEMORY, REDIS, House
from tests.durability.harness.starving import Starving
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

FAILING = (FaultMode.UNAVAILABLE, FaultMode.UNANSWERED)


@pytest.fixture(
    params=[
        pytest.param(MEMORY),
        pytest.param("default", marks=real_transactions("default")),
        pytest.param("postgres", marks=[real_transactions("postgres"), pytest.mark.postgresql]),
        pytest.param("mariadb", marks=[real_transactions("mariadb"), pytest.mark.mariadb]),
        pytest.param(REDIS, marks=pytest.mark.redis),
    ]
)
def home(request: pytest.FixtureRequest) -> House:
    """Every place that this process itself can keep runs in."""
    home = House(request.param)
    if home.is_relational:
        request.getfixturevalue("transactional_db")
    home.prepare()
    return home


class Famine:
    """Runs of one topology over a store that fails at chosen calls."""

    def __init__(self, home: House, topology: str, folder: Path, tally: Tally) -> None:
        self.home, self.topology, self.folder, self.tally = home, topology, folder, tally
        self.broken: list[str] = []

    def calls(self, verb: Verb = Verb.START) -> int:
        """How many calls such an execution makes of its store."""
        run, store = self._run(), FaultyStore(self.home.store())
        if verb is Verb.RESUME:
            dead = Fault(mode=FaultMode.UNAVAILABLE, call=3, forever=True)
            run.execute(Verb.START, FaultyStore(self.home.store(), dead))
            run.forsake()
        assert run.execute(verb, store)
        return len(store.calls)

    def faults(self, verb: Verb = Verb.START) -> Iterator[Fault]:
        """Every call failing, before and after it was carried out, once and for ever; or slow."""
        for call in range(1, self.calls(verb) + 1):
            for mode in FAILING:
                for forever in (False, True):
                    yield Fault(mode=mode, call=call, forever=forever)
            yield Fault(mode=FaultMode.SLOW, call=call, hook=_hesitate)

    def suffer(self, first: Fault, second: Fault | None = None) -> None:
        """Execute a run with a fault, resume it with another, and finish it without any."""
        run = self._run()
        done = run.execute(Verb.START, FaultyStore(self.home.store(), first))
        if first.mode is FaultMode.SLOW and not done:
            self._count(f"{first}", [("answer", "a slow call failed the run")])
        if second is not None and not done:
            run.forsake()
            run.execute(Verb.RESUME, FaultyStore(self.home.store(), second))
        self._count(f"{first}, then {second}", run.finish())

    def hold_against(self) -> None:
        """Fail with the first few that broke something."""
        assert not self.broken, f"{len(self.broken)}: " + "\n".join(self.broken[:5])

    def _run(self) -> Starving:
        return Starving(house=self.home, topology=self.topology, folder=self.folder)

    def _count(self, what: str, findings: list[Finding]) -> None:
        self.tally.add("G19", self.home.title, 1, bool(findings))
        if findings:
            self.broken.append(f"{what}: {findings}")


async def _hesitate() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
def famine(home: House, topology: str, tmp_path: Path, tally: Tally) -> Famine:
    """Runs of one topology whose store will fail them."""
    return Famine(home, topology, tmp_path, tally)


def some(faults: Iterable[Fault], size: Size) -> list[Fault]:
    """All of them in a soak; in a pull request a third of the ways in which each call can fail."""
    ways = list(faults)
    return [ways[place - 1] for place in size.points(len(ways), pull_request=len(ways) // 3)]


@pytest.mark.parametrize("topology", ["linear", "parallel"])
def test_a_run_survives_the_failure_of_any_call_of_its_store(famine: Famine, size: Size) -> None:
    """G19: the k-th call fails, for every k: once, for ever, slow, after it was carried out."""
    for fault in some(famine.faults(), size):
        famine.suffer(fault)
    famine.hold_against()


@pytest.mark.parametrize("topology", ["linear"])
def test_a_run_survives_the_failure_of_any_call_during_its_recovery(
    famine: Famine, size: Size
) -> None:
    """G19: a run that failed half-way, and then the k-th call of its resume, for every k."""
    first = Fault(mode=FaultMode.UNAVAILABLE, call=4, forever=True)
    for second in some(famine.faults(Verb.RESUME), size):
        famine.suffer(first, second)
    famine.hold_against()


PAIRS = 6
"""Pairs of failures of each topology in one place in a pull request."""


@pytest.mark.parametrize("topology", ["linear", "plain", "parallel", "routed", "background"])
def test_a_run_survives_any_failure_followed_by_any_other(famine: Famine, size: Size) -> None:
    """G19: pairs of failing calls, in the execution and in its recovery; in a soak, every pair."""
    pairs = list(product(famine.faults(), famine.faults(Verb.RESUME)))
    for place in size.points(len(pairs), pull_request=PAIRS):
        famine.suffer(*pairs[place - 1])
    famine.hold_against()
