"""Defects in who may write: claims, fences, leases, transactions, lost answers."""

import re
import time
from dataclasses import replace
from typing import Any

from django.db import transaction

from fluxio.runtime.environment import default_environment
from fluxio.types import RunStatus
from fluxio_django import claims, clock, statements, taking, together
from fluxio_django.commits import Committing
from fluxio_django.journal import DjangoJournal
from fluxio_django.querysets import RunQuerySet
from fluxio_django.statements import fence_parameters
from fluxio_django.transactions import DjangoTransactions
from tests.durability.defects.planting import defect, swap

_BETWEEN = (
    "tests/durability/test_kill_sweep.py::"
    "test_a_run_killed_between_any_two_statements_goes_on_and_repeats_nothing_recorded"
)
_ZOMBIES = "tests/durability/test_zombies.py"
_FROZEN_ON = f"{_ZOMBIES}::test_an_owner_frozen_past_its_lease_commits_nothing_any_more"
_FROZEN = f"{_FROZEN_ON}[default]"
_FROZEN_IN_A_GROUP = (
    "tests/durability/test_groups.py::test_a_frozen_owner_commits_nothing_by_way_of_a_group"
)
_LIVING = f"{_ZOMBIES}::test_nobody_takes_a_run_whose_owner_lives_whatever_the_clocks_say"
_LATE_HEIR = f"{_ZOMBIES}::test_an_heir_goes_on_behind_the_row_that_was_committed_while_it_claimed"
_TAKEOVERS = "tests/durability/test_takeovers.py::test_a_run_that_kills_its_workers"
_OUTAGES = "tests/durability/test_database_failures.py"
_ONCE = f"{_OUTAGES}::test_a_statement_that_fails_once_doubles_nothing_and_fails_no_commit"


@defect(_FROZEN)
def no_fence() -> None:
    """A commit is made whoever owns the run."""
    swap(statements, "_fence", _with_open_gate)
    no_fence_before_a_step()
    no_fence_before_a_group()


@defect(f"{_FROZEN_ON}[postgres]")
def no_fence_before_a_step() -> None:
    """The statement that commits one step of a run proves nothing (PostgreSQL)."""
    swap(statements, "_commit_step", _with_open_gate)


@defect(_FROZEN_IN_A_GROUP)
def no_fence_before_a_group() -> None:
    """The statement that commits many runs at once proves nothing (PostgreSQL)."""

    def make(compared: Any) -> Any:
        def itself(connection: Any, model: Any, name: str, field: str) -> str:
            if name not in ("token", "owner"):
                return str(compared(connection, model, name, field))
            quote = connection.ops.quote_name
            return f"{quote(model._meta.db_table)}.{quote(statements.column_of(model, name))}"

        return itself

    swap(together, "_compared", make)


def _with_open_gate(make: Any) -> Any:
    """A maker of statements whose conditions on token and owner are always met."""

    def open_gate(*place: Any, **named: Any) -> str:
        change, where, conditions = make(*place, **named).partition(" WHERE ")
        conditions = re.sub(r"(\S*(?:token|owner)\S* = %s)", r"(\1 OR 1 = 1)", conditions)
        return str(change + where + conditions)

    return open_gate


@defect(f"{_BETWEEN}[default-linear]")
def fence_outside_transaction() -> None:
    """The fence is passed in a transaction of its own, and the rows follow in another."""

    def make(original: Any) -> Any:
        def commit(runs: Any, claim: Any, commit: Any) -> bool:
            if not commit.rows:
                return bool(original(runs, claim, commit))
            parameters = fence_parameters(claim, commit, runs._connection)
            with runs._connection.cursor() as cursor:
                cursor.execute(runs._statements.fence_head, parameters)
                if cursor.rowcount != 1:
                    return False
            with transaction.atomic(using=runs.db):
                runs._append(claim.run_id, commit.rows)
            return True

        return commit

    swap(RunQuerySet, "commit", make)


@defect(_FROZEN)
def lease_checked_before_the_write() -> None:
    """Whether the claim holds is looked up, and then the write is made without a fence."""
    no_fence()

    def make(original: Any) -> Any:
        def commit(runs: Any, claim: Any, commit: Any) -> bool:
            seen = runs.seen(claim.run_id)
            ours = seen is not None and seen.record.token == claim.token
            return ours and bool(original(runs, claim, commit))

        return commit

    swap(RunQuerySet, "commit", make)


@defect(f"{_BETWEEN}[default-linear]")
def deleted_on_success() -> None:
    """A run that succeeded is removed at once."""

    def make(original: Any) -> Any:
        def commit(committing: Any) -> None:
            original(committing)
            if committing.commit.status is RunStatus.SUCCEEDED:
                committing._tables.runs.forget(committing.claim.run_id)

        return commit

    swap(Committing, "__call__", make)


@defect(f"{_LATE_HEIR}[default-linear]")
def cursor_not_read_again() -> None:
    """An heir goes on from where the run stood when it looked, not when it claimed it."""

    def make(take: Any) -> Any:
        def stale(runs: Any, seen: Any, opening: Any, token: int, **named: Any) -> Any:
            taken = take(runs, seen, opening, token, **named)
            return taken and replace(taken, record=replace(taken.record, head=seen.record.head))

        return stale

    swap(RunQuerySet, "take", make)


@defect(_FROZEN)
def token_stands_still() -> None:
    """An heir gets the token of the owner it takes over from."""

    def make(take: Any) -> Any:
        def same(runs: Any, seen: Any, opening: Any, token: int, **named: Any) -> Any:
            return take(runs, seen, opening, seen.record.token, **named)

        return same

    swap(RunQuerySet, "take", make)


@defect(f"{_BETWEEN}[default-linear]")
def ledger_commits_first() -> None:
    """A transactional stage commits its own writes, and its checkpoint afterwards."""

    def run(transactions: Any, claim: Any, work: Any) -> Any:
        tables = transactions._tables
        with transaction.atomic(using=tables.alias):
            result, commit = work()
        DjangoJournal(tables).commit_blocking(claim, commit)
        return result

    swap(DjangoTransactions, "run_blocking", lambda original: run)


@defect(f"{_ONCE}[default-linear]")
def lost_answer_is_failure() -> None:
    """A commit whose answer was lost counts as not made, without looking."""
    swap(Committing, "_is_recorded", lambda original: lambda committing, record: False)


@defect(f"{_LIVING}[default-behind]")
def owner_presumed_dead() -> None:
    """Whoever owns a run is taken to be gone."""
    swap(claims, "is_provably_dead", lambda original: lambda owner: True)


@defect(f"{_LIVING}[default-behind]")
def lease_by_the_clock_of_the_app() -> None:
    """Leases begin and end by each process's own clock."""

    def skew() -> float:
        return default_environment().clock.now().timestamp() - time.time()

    def make(parameter: Any) -> Any:
        def own(seconds: float | None, connection: Any) -> Any:
            return parameter(None if seconds is None else seconds + skew(), connection)

        return own

    def now(expression: Any, compiler: Any, connection: Any) -> Any:
        seconds = clock.seconds_parameter(expression.seconds or 0.0, connection)
        return clock.clock_of(connection).later, (seconds,)

    swap(clock, "seconds_parameter", make)
    swap(statements, "seconds_parameter", make)
    swap(clock.DatabaseTime, "as_sql", lambda original: now)


@defect(f"{_TAKEOVERS}_ends_dead_after_exactly_so_many_takeovers[default-linear-1]")
def takeovers_not_counted() -> None:
    """A run may lose its worker as often as it likes."""
    swap(taking, "_takeovers", lambda original: lambda record: 0)
