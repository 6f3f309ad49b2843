"""A look at every statement and every COMMIT of a connection, before it is carried out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.durability.harness.looks import looking
from tests.durability.harness.moments import die

COMMITTING = ("WITH proof", "BEGIN NOT ATOMIC")
"""How statements begin that write and make it durable at once."""

FOR_GROUPS = "WITH given"
"""How the statements begin that deal with many runs at once."""

Meet = Callable[[Callable[[], Any], bool], Any]
"""Is given what would be carried out, and whether that makes something durable; carries it out."""


@contextmanager
def each_statement(alias: str, meet: Meet) -> Iterator[None]:
    """Let `meet` carry out what this thread asks of a database while the block runs."""
    connection = connections[alias]

    def execute(
        carry_out: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        # PostgreSQL's one statement and MariaDB's block are commits, too, outside of a transaction.
        alone = sql.startswith(COMMITTING) and not connection.in_atomic_block
        return meet(lambda: carry_out(sql, params, many, context), alone or sql == "COMMIT")

    with looking(connection, execute), _commits(connection, meet):
        yield


@contextmanager
def _commits(connection: BaseDatabaseWrapper, meet: Meet) -> Iterator[None]:
    """Let `meet` make the COMMITs of a driver that has a method for them; SQLite's are seen."""
    if connection.vendor == "sqlite":
        yield
        return
    commit = connection._commit
    connection._commit = lambda: meet(commit, True)
    try:
        yield
    finally:
        del connection._commit


class StatementTripwire:
    """Counts statements and commits, and kills the process before number `kill_at`, from 1."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at

    def meet(self, carry_out: Callable[[], Any], commits: bool) -> Any:
        """One more."""
        self.count += 1
        if self.count == self._kill_at:
            die()
        return carry_out()
