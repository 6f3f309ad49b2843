"""Wherever a process is killed, its run goes on: nothing recorded is repeated, nothing is lost."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from tests.durability.conftest import MakePart
from tests.durability.harness.actors import Unit, Verb
from tests.durability.harness.houses import House
from tests.durability.harness.looks import looking
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.plans import Choice
from tests.durability.harness.starving import Starving
from tests.durability.harness.topologies import TOPOLOGIES
from tests.durability.harness.trials import Report, count, kill_trial
from tests.durability.harness.verdicts import broken_by
from tests.proofs.sizes import Scale, Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

POINTS = 12
"""Lines of one topology in one place at which it is killed in a pull request."""
STATEMENTS = 8
"""Statements of one topology in one place before which it is killed in a pull request."""
TWICE = 4
"""At every so many of these lines the resume is killed as well."""
TWICE_IN_SOAK = 20
REDIS_LEASE = 0.3
"""Redis does not know that an owner is dead, so its lease has to run out; in seconds."""

MOST = 0.4
"""How many of the points have to be reached; a random route may make a run shorter."""


class Sweep:
    """Kills runs of one topology in one place."""

    unit = Unit.LINE

    def __init__(self, nursery: Nursery, house: House, part: MakePart, topology: str) -> None:
        self.nursery, self.house, self.make, self.topology = nursery, house, part, topology
        self.is_random = any(isinstance(node, Choice) for node in TOPOLOGIES[topology])
        self.lease = 30.0 if house.is_relational else REDIS_LEASE
        self.executions: dict[str, list[int]] = {}

    def survey(self) -> int:
        """How much a run executes; the longest of some, where routes are random."""
        runs = [self._submit(count) for _ in range(3 if self.is_random else 1)]
        totals = []
        for run in runs:
            total, executions = run.result()
            totals.append(total)
            self.executions = {**executions, **self.executions}
        return max(totals)

    def once(self, total: int, size: Size) -> Iterator[list[int]]:
        """Lines at which a run is killed.

        A soak that is cut takes every line of the source at one of its executions all the same.
        """
        lines = set(size.points(total, pull_request=POINTS))
        if size.scale is Scale.SOAK:
            lines.update(times[size.turn % len(times)] for times in self.executions.values())
        return ([line] for line in sorted(lines))

    def twice(self, total: int, size: Size) -> Iterator[list[int]]:
        """Lines at which a run is killed, each with one in the first half of its resume."""
        lines = size.points(total, pull_request=POINTS)
        some = lines[:: TWICE if size.scale is Scale.PULL_REQUEST else TWICE_IN_SOAK]
        for number, line in enumerate(some):
            yield [line, 1 + (number * 7 % len(some)) * total // (2 * len(some))]

    def kill(self, at: Iterable[Sequence[int]]) -> Iterator[tuple[Sequence[int], Report]]:
        """Kill a run at each of these, and give what came of it, in order."""
        reports: list[tuple[Sequence[int], Future[Report]]] = []
        for number, kills in enumerate(at):
            ending = (Verb.RESUME, Verb.REDELIVER)[number % 2]
            reports.append((kills, self._submit(kill_trial, kills, ending)))
        for kills, report in reports:
            yield kills, report.result()

    def _submit(self, function: object, *values: object) -> "Future":
        part = self.make(self.house, self.topology, lease_seconds=self.lease, unit=self.unit)
        return self.nursery.submit(function, part, *values)


@pytest.fixture
def sweep(nursery: Nursery, house: House, part: MakePart, topology: str) -> Sweep:
    """The sweep of one topology in one place."""
    return Sweep(nursery, house, part, topology)


@pytest.fixture
def sweep_on_sqlite(transactional_db: None, nursery: Nursery, part: MakePart) -> Sweep:
    """The sweep of plain stages on the default database."""
    house = House("default")
    house.prepare()
    return Sweep(nursery, house, part, "plain")


def hold_against(sweep: Sweep, tally: Tally, points: Iterable[Sequence[int]]) -> None:
    """Kill at all points, count, and fail with the first few that broke something."""
    guarantees = ["G1", "G4", *promised_by(sweep)]
    broken: list[str] = []
    reached = trials = 0
    for kills, report in sweep.kill(points):
        tally.add_trial(guarantees, sweep.house.title, broken_by(report.findings), "G1")
        trials, reached = trials + 1, reached + report.reached
        if report.findings:
            broken.append(f"killed at {kills}: {report.findings}")
    assert not broken, f"{len(broken)} of {trials} points: " + "\n".join(broken[:5])
    assert reached >= MOST * trials, f"only {reached} of {trials} points were reached"


def promised_by(sweep: Sweep) -> Iterator[str]:
    """What this topology proves, beside that it can be resumed."""
    if sweep.house.is_relational:
        yield "G3"
    if sweep.is_random:
        yield "G10"
    if sweep.topology == "background":
        yield "G12"


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_a_run_killed_at_any_line_goes_on_and_repeats_nothing_recorded(
    sweep: Sweep, tally: Tally, size: Size
) -> None:
    """G1, G3, G4, G10, G12: a sample of the lines it executes; in a soak, each of them."""
    total = sweep.survey()
    hold_against(sweep, tally, chain(sweep.once(total, size), sweep.twice(total, size)))


@pytest.mark.parametrize("topology", ["linear", "plain", "routed", "background"])
def test_a_run_killed_between_any_two_statements_goes_on_and_repeats_nothing_recorded(
    nursery: Nursery, relational: House, part: MakePart, tally: Tally, topology: str, size: Size
) -> None:
    """G1, G3, G4, G10: a sample of the statements and COMMITs; in a soak, each of them."""
    sweep = Sweep(nursery, relational, part, topology)
    sweep.unit = Unit.STATEMENT
    points = size.points(sweep.survey(), pull_request=STATEMENTS)
    hold_against(sweep, tally, ([place] for place in points))


def test_a_soak_that_is_cut_kills_at_every_line_of_the_source(sweep_on_sqlite: Sweep) -> None:
    cut = Size(scale=Scale.SOAK, share=Fraction(1, 100), turn=7)
    total = sweep_on_sqlite.survey()
    places = {place for (place,) in sweep_on_sqlite.once(total, cut)}
    executions = sweep_on_sqlite.executions
    assert [line for line, times in executions.items() if places.isdisjoint(times)] == []
    assert 500 < len(executions) <= len(places) < total / 2


@pytest.mark.django_db(transaction=True, databases=["default"])
def test_the_proofs_see_what_sqlite_is_asked_past_django(tmp_path: Path) -> None:
    """Every commit but those of transactional stages is sent so, from BEGIN to COMMIT."""
    house = House("default")
    house.prepare()
    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        seen.append(sql)
        return execute(sql, *rest)

    with looking(connections["default"], note):
        assert Starving(house=house, topology="plain", folder=tmp_path).execute(Verb.START)
    verbs = [sql.partition(" ")[0] + " ?" * ("?" in sql) for sql in seen]
    commit = ["BEGIN", "INSERT ?", "UPDATE ?", "COMMIT"]
    commits = [at for at in range(len(verbs)) if verbs[at : at + 4] == commit]
    assert len(commits) >= 3
