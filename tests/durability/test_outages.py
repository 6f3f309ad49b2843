"""A database that goes away, locks itself up or is full loses nothing and doubles nothing."""

from uuid import uuid4

import pytest
from django.db import connections

from tests.durability.conftest import MakePart
from tests.durability.harness.deadlocks import AMOUNT, deadlock_trial
from tests.durability.harness.houses import House
from tests.durability.harness.nursery import Nursery
from tests.durability.harness.outages import (
    Load,
    Losses,
    disconnection_trial,
    full_disk_trial,
    restart_trial,
)
from tests.durability.harness.servers import problem
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]

RUNS = 60
RUNS_IN_SOAK = 10_000
DROPPED_EVERY = (0.02, 0.2)
ROOM = range(64 * 1024, 320 * 1024, 4096)
"""In bytes; the effect logs need a little of it, too."""
RESTARTED_EVERY = (1.0, 8.0)
"""Seconds, at least and at most."""


def hold_against(losses: Losses, tally: Tally, house: House) -> None:
    """Count, and fail with the first few runs that something is wrong with."""
    tally.add("G20", house.title, losses.runs, len(losses.broken))
    print(f"{losses.outages} outages interrupted {losses.interruptions} executions")
    wrong = [f"{run_id}: {found}" for run_id, found in losses.broken.items()]
    assert not wrong, f"{len(wrong)} of {losses.runs} runs: " + "\n".join(wrong[:5])
    assert losses.outages > 0


def test_connections_that_are_dropped_under_load_lose_and_double_nothing(
    nursery: Nursery, part: MakePart, tally: Tally, server: House, size: Size
) -> None:
    """G20: every connection to the database, at any moment, several times a second."""
    connections[server.name].close()
    load = Load(
        part=part(server, "linear"),
        runs=size.trials(pull_request=RUNS, soak=1000),
        seed=size.turn,
    )
    hold_against(nursery.call(disconnection_trial, load, DROPPED_EVERY), tally, server)


@pytest.mark.parametrize("tries", [1, 20], ids=["no retry", "with retries"])
def test_a_deadlock_between_two_stages_fails_or_repeats_one_of_them_and_books_each_once(
    nursery: Nursery, tally: Tally, server: House, tries: int, size: Size
) -> None:
    """G20: a stage without retries fails with the error of the database, and books nothing."""
    broken = []
    for _ in range(size.trials(pull_request=2, soak=100)):
        said, rows, runs = nursery.call(
            deadlock_trial, server.name, f"deadlock-{uuid4().hex}", tries
        )
        failed = [one.error for one in said if one.error]
        expected = [] if tries > 1 else ["OperationalError"]
        booked = AMOUNT * (len(said) - len(failed))
        kept = sorted(runs) == sorted(0 if one.error else AMOUNT for one in said)
        exact = failed == expected and rows == [booked] * 2 and kept
        took = sorted(one.count for one in said)  # who tries again may meet the other one again
        retried = (took[-1] > 1) == (tries > 1)
        tally.add("G20", server.title, 1, not exact)
        if not (exact and retried):
            broken.append((said, rows, runs))
    assert broken == []


@pytest.mark.parametrize("topology", ["linear", "plain", "parallel"])
@pytest.mark.django_db(transaction=True, databases=["default"])
def test_a_disk_that_is_full_stops_a_run_and_loses_and_doubles_nothing(
    nursery: Nursery, part: MakePart, tally: Tally, size: Size, topology: str
) -> None:
    """G20: SQLite's files may grow to so many pages; a run needs more, and goes on with more."""
    house = House("default")
    house.prepare()
    broken, full = [], 0
    for place in size.points(len(ROOM), pull_request=6):
        report = nursery.call(full_disk_trial, part(house, topology), ROOM[place - 1])
        tally.add("G20", house.title, 1, bool(report.findings))
        full += report.reached
        if report.findings:
            broken.append(f"{ROOM[place - 1]} bytes: {report.findings}")
    assert broken == []
    assert full > 0


@pytest.mark.soak
def test_a_server_that_is_restarted_under_load_loses_and_doubles_nothing(
    nursery: Nursery, part: MakePart, tally: Tally, server: House, size: Size
) -> None:
    """G20: one of our own, politely or not, every 1 to 8 seconds."""
    if reason := problem(server.name):
        pytest.skip(reason)
    load = Load(
        part=part(server, "linear"),
        runs=size.trials(pull_request=RUNS, soak=RUNS_IN_SOAK),
        seed=size.turn,
    )
    hold_against(nursery.call(restart_trial, load, RESTARTED_EVERY), tally, server)
