"""Whichever statement fails, or loses its answer: nothing is repeated, nothing is skipped."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from psycopg.errors import DeadlockDetected

from fluxio.errors import StoreError
from fluxio_django import faults
from tests.durability.harness.actors import Verb
from tests.durability.harness.houses import House
from tests.durability.harness.starving import Starving
from tests.durability.harness.statements import each_statement
from tests.durability.harness.verdicts import Wrong
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = [pytest.mark.durability, pytest.mark.rows_stay]


NOT_BELIEVED = (Wrong.ANSWER, "a commit that was applied failed the run")


class Outage:
    """Lets the connection of this thread fail at a statement, or at a commit.

    `call` counts both from 1; 0 never comes. `applied` says that the failing one was carried out
    before. It fails once, or `forever` from then on, with a lost connection or this `error`.
    """

    def __init__(
        self,
        alias: str,
        call: int,
        *,
        applied: bool = False,
        forever: bool = False,
        error: OperationalError | None = None,
    ) -> None:
        self.calls = 0
        self.is_commit = False
        self._alias = alias
        self._call = call
        self._applied = applied
        self._forever = forever
        self._error = error or OperationalError("the connection is gone, by way of a test")

    def strike(self) -> AbstractContextManager[None]:
        """Fail while this block runs."""
        return each_statement(self._alias, self._meet)

    def _meet(self, carry_out: Callable[[], Any], commits: bool) -> Any:
        self.calls += 1
        due = self.calls == self._call or (self._forever and self.calls > self._call > 0)
        if not due:
            return carry_out()
        self.is_commit = commits
        if self._applied:
            carry_out()
        raise self._error


def deadlock(alias: str) -> OperationalError:
    """What Django raises when the database has chosen a statement of ours to give way."""
    match connections[alias].vendor:
        case "postgresql":
            problem = OperationalError("deadlock detected")
            problem.__cause__ = DeadlockDetected("deadlock detected")
        case "mysql":
            problem = OperationalError(1213, "Deadlock found when trying to get lock")
        case _:
            problem = OperationalError("database is locked")
            problem.__cause__ = cause = sqlite3.OperationalError("database is locked")
            cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return problem


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(faults, "wait", lambda seconds: None)


class Trouble:
    """Runs of one topology whose database fails at chosen statements."""

    def __init__(self, house: House, topology: str, folder: Path, tally: Tally) -> None:
        self.house, self.topology, self.folder, self.tally = house, topology, folder, tally
        self.broken: list[str] = []

    def statements(self) -> int:
        """How many statements and commits a run takes."""
        run, outage = self._run(), Outage(self.house.name, 0)
        with outage.strike():
            assert run.execute(Verb.START)
        return outage.calls

    def suffer(self, call: int, *, applied: bool, forever: bool) -> None:
        """Execute a run through an outage, and finish it after it."""
        run = self._run()
        outage = Outage(self.house.name, call, applied=applied, forever=forever)
        with outage.strike():
            done = run.execute(Verb.START)
        if applied and outage.is_commit and not done and not forever:
            run.findings.append(NOT_BELIEVED)
        self._finish(run, f"{call}, applied={applied}, forever={forever}")

    def suffer_twice(self, first: int, second: int, *, applied: bool) -> None:
        """Execute a run whose database goes away; it is back then, and a statement fails once."""
        run = self._run()
        with Outage(self.house.name, first, forever=True).strike():
            run.execute(Verb.START)
        if self.house.record_and_rows(run.run_id)[0] is not None:
            run.forsake()
            outage = Outage(self.house.name, second, applied=applied)
            with outage.strike():
                done = run.execute(Verb.RESUME)
            if applied and outage.is_commit and not done:
                run.findings.append(NOT_BELIEVED)
        self._finish(run, f"{first} for ever, then {second}, applied={applied}")

    def _finish(self, run: Starving, how: str) -> None:
        run.finish()
        self.tally.add("G5", self.house.title, 1, bool(run.findings))
        if run.findings:
            self.broken.append(f"{how}: {run.findings}")

    def lock_up(self, call: int) -> None:
        """Execute a run that others get in the way of at this statement, or at this commit."""
        run = self._run()
        outage = Outage(self.house.name, call, error=deadlock(self.house.name))
        with outage.strike():
            run.execute(Verb.START)
        run.finish()
        self.tally.add("G20", self.house.title, 1, bool(run.findings))
        if run.findings:
            self.broken.append(f"{call}: {run.findings}")

    def hold_against(self) -> None:
        """Fail with the first few that broke something."""
        assert not self.broken, f"{len(self.broken)}: " + "\n".join(self.broken[:5])

    def _run(self) -> Starving:
        # Within a stage's own transaction the database's error is the stage's error.
        allowed = (StoreError, OperationalError)
        return Starving(
            house=self.house, topology=self.topology, folder=self.folder, allowed=allowed
        )


@pytest.fixture
def trouble(relational: House, topology: str, tmp_path: Path, tally: Tally) -> Trouble:
    """Runs of one topology whose database will fail them."""
    return Trouble(relational, topology, tmp_path, tally)


@pytest.mark.parametrize("topology", ["linear", "plain"])
def test_a_statement_that_fails_once_doubles_nothing_and_fails_no_commit(trouble: Trouble) -> None:
    """G5: every statement and every COMMIT of a run, before and after it was carried out."""
    for call in range(1, trouble.statements() + 1):
        for applied in (False, True):
            trouble.suffer(call, applied=applied, forever=False)
    trouble.hold_against()


@pytest.mark.parametrize("topology", ["plain"])
def test_a_database_that_stays_away_leaves_a_run_that_can_be_resumed(trouble: Trouble) -> None:
    """G5, G19: from any statement on nothing works any more, until it does."""
    for call in range(1, trouble.statements() + 1):
        trouble.suffer(call, applied=False, forever=True)
    trouble.hold_against()


TWICE = 6
"""Pairs of statements of each topology that fail in a pull request."""
EVERY = 5
"""In a soak one of so many."""


@pytest.mark.parametrize("topology", ["linear", "plain", "parallel", "routed"])
def test_a_statement_that_fails_while_a_run_goes_on_after_an_outage_doubles_nothing(
    trouble: Trouble, size: Size
) -> None:
    """G5: the database is away from any statement on, and back, and any statement fails then."""
    calls = range(1, trouble.statements() + 1)
    pairs = list(product(calls, calls, (False, True)))[::EVERY]
    for place in size.points(len(pairs), pull_request=TWICE):
        first, second, applied = pairs[place - 1]
        trouble.suffer_twice(first, second, applied=applied)
    trouble.hold_against()


@pytest.mark.parametrize("topology", ["linear", "plain"])
def test_a_statement_that_has_to_give_way_doubles_nothing_and_loses_nothing(
    trouble: Trouble,
) -> None:
    """G20: a deadlock, or a lock that is not to be had, at every statement and every COMMIT."""
    for call in range(1, trouble.statements() + 1):
        trouble.lock_up(call)
    trouble.hold_against()
