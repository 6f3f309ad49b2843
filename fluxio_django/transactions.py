"""Transactional stages: their own writes and their checkpoint in one database transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import Error, IntegrityError, connections, transaction

from fluxio.errors import TransactionRefusedError
from fluxio.store import refusals
from fluxio.store.base import Claim, Commit
from fluxio_django.commits import Committing, check_rows, refusal
from fluxio_django.faults import Fault, fault_of, is_away, store_error, surely
from fluxio_django.idling import bounded_transaction, longest_idling
from fluxio_django.isolation import commits_nothing
from fluxio_django.tables import Tables, hop
from fluxio_django.verbs import writes

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Result = TypeVar("Result")

logger = logging.getLogger("fluxio.transactions")
_HOOK_FAILED = (
    "An on_commit function of a stage of run %s failed; the stage is recorded, and the run goes on."
)


class DjangoTransactions:
    """Runs a stage and commits its row in one transaction of the store's database."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def check(self, stage: str) -> None:
        """Refuse when this thread is in a transaction of the caller.

        The transaction of a TestCase is let through, as Django does with durable blocks.

        Raises:
            TransactionRefusedError: with the remedy.
        """
        self._refuse_enclosing(f"Stage {stage!r}", stage)

    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        """Call `work` in a transaction and commit what it asks for as its last statement.

        Raises:
            TransactionRefusedError: the caller has a transaction open, or `work` writes to another
                database.
            LeaseLostError: the claim is no longer valid; the transaction was rolled back.
            StoreError: the database failed; the transaction was rolled back.
        """
        return await hop(self.run_blocking, claim, work)

    def run_blocking(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        """Do as `run`."""
        unit = _Unit(self._tables, claim, work)
        self._refuse_enclosing(f"A stage of run {claim.run_id!r}", "")
        try:
            return surely(self._tables.alias, unit)
        except _StageFailed as failure:
            raise failure.problem from None

    def _refuse_enclosing(self, what: str, stage: str) -> None:
        connection = self._tables.connection
        if commits_nothing(connection):
            raise TransactionRefusedError(
                f"{what} is transactional, but database {self._tables.alias!r} has autocommit "
                "switched off, so that its checkpoint would not be committed. Switch it on.",
                stage=stage,
            )
        blocks: list[Any] = connection.atomic_blocks
        if blocks and not blocks[-1]._from_testcase:
            raise TransactionRefusedError(
                f"{what} is transactional, but its caller has a transaction open on database "
                f"{self._tables.alias!r}, which could still undo the checkpoint. Invoke the "
                "pipeline outside of atomic() and ATOMIC_REQUESTS, or enqueue the run.",
                stage=stage,
            )


class _StageFailed(Exception):
    """A database error that is the stage's own, carried past the retries of ours."""

    def __init__(self, problem: Error) -> None:
        super().__init__(problem)
        self.problem = problem


class _Unit(Generic[Result]):
    """One transaction: the stage's work, then its row under the fence, then COMMIT.

    Only what comes before the work may be tried again, since a connection may have been lost while
    it was idle. A lost answer to COMMIT is looked up. What the work raised stands, even if Django
    fails to connect anew when it rolls back.

    At a level of isolation at which a renewed lease would break it, the run's row is locked first:
    renewals pass it over, and nobody can take the run. A conflict there is with the stage's reads.
    """

    def __init__(
        self, tables: Tables, claim: Claim, work: Callable[[], tuple[Result, Commit]]
    ) -> None:
        self._tables = tables
        self._claim = claim
        self._work = work
        self._done: tuple[Result, Commit] | None = None
        self._raised: BaseException | None = None
        self._committed = False
        self._keeps_run = False

    def __call__(self) -> Result:
        alias = self._tables.alias
        enclosed = self._tables.connection.in_atomic_block  # by a TestCase, which never commits
        try:
            seconds = self._claim.lease_seconds
            with bounded_transaction(alias, seconds, of_stage=True) as self._keeps_run:
                if not enclosed:
                    transaction.on_commit(self._note_commit, using=alias)
                if self._keeps_run:
                    self._tables.runs.keep(self._claim.run_id)
                self._done = self._perform()
                kept = self._commit(self._done[1])
                if not kept:
                    transaction.set_rollback(True, using=alias)
        except Exception as error:
            if self._raised is not None:
                raise self._raised  # noqa: B904 - it has its own cause
            if self._done is None:
                raise
            if self._committed:
                logger.exception(_HOOK_FAILED, self._claim.run_id)
            elif isinstance(error, Error):
                self._settle(error, self._done[1])
            else:
                raise
            kept = True
        result, commit = self._done
        if not kept:
            seen = self._tables.runs.seen(self._claim.run_id)
            raise refusal(seen.record if seen is not None else None, self._claim, commit)
        return result

    def _perform(self) -> tuple[Result, Commit]:
        alias = self._tables.alias
        try:
            with _other_databases_unwritten(alias), _present(alias, self._claim.lease_seconds):
                done = self._work()
                self._check_unbroken()
                return done
        except Error as problem:
            self._raised = _StageFailed(problem)
            raise self._raised from problem
        except BaseException as problem:
            self._raised = problem
            raise

    def _check_unbroken(self) -> None:
        if self._tables.connection.needs_rollback:
            raise TransactionRefusedError(
                "A transactional stage ended well, but its transaction can only be rolled back: it "
                "caught a database error, or asked for a rollback. Put what may fail into an "
                "atomic() of its own, or let the error out of the stage.",
                stage="",
            )

    def _note_commit(self) -> None:
        self._committed = True

    def _commit(self, commit: Commit) -> bool:
        check_rows(self._claim.run_id, commit.rows)
        try:
            return self._tables.runs.commit_within(self._claim, commit)
        except IntegrityError:
            return False

    def _settle(self, error: Error, commit: Commit) -> None:
        """Return when a COMMIT that failed has been applied all the same.

        Raises:
            LeaseLostError: somebody has the run who came while the connection was gone.
            StoreError: nothing was applied.
        """
        if isinstance(error, IntegrityError):
            raise _StageFailed(error) from error
        connection = self._tables.connection
        fault = fault_of(error, connection)
        if self._keeps_run and fault is Fault.CONFLICT:
            raise _StageFailed(error) from error
        if connection.in_atomic_block or fault is not Fault.LOST:
            raise store_error(self._tables.alias, error) from error
        connection.close()
        lost = Committing(self._tables, self._claim, commit)
        if surely(self._tables.alias, lost.was_applied):
            return
        if surely(self._tables.alias, lost.is_overtaken):
            raise refusals.lease_lost(self._claim) from error
        raise store_error(self._tables.alias, error) from error


@contextmanager
def _present(alias: str, lease_seconds: float) -> Iterator[None]:
    """Say that the store has failed, and not the stage, when its server goes away in this block.

    A server that ends the transaction because the stage idled in it is there.

    Raises:
        StoreUnavailableError: whatever became of the stage without its transaction.
    """
    heard, lost = time.monotonic(), []

    def listen(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        nonlocal heard
        idled = time.monotonic() - heard > longest_idling(lease_seconds)
        try:
            return execute(sql, params, many, context)
        except Error as problem:
            if is_away(problem, context["connection"]) and not idled:
                lost.append(problem)
            raise
        finally:
            heard = time.monotonic()

    try:
        with connections[alias].execute_wrapper(listen):
            yield
    except Exception:
        if not lost:
            raise
    if lost:
        raise store_error(alias, lost[0]) from lost[0]


@contextmanager
def _other_databases_unwritten(alias: str) -> Iterator[None]:
    """Refuse writes to databases whose transactions do not end together with the checkpoint."""

    def refuse(
        execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        if writes(_text_of(sql, context["connection"])):
            other = context["connection"].alias
            raise TransactionRefusedError(
                f"A transactional stage wrote to database {other!r}, but its checkpoint commits in "
                f"{alias!r}. Write there in a stage of its own, or build the store with "
                f"DjangoStore(using={other!r}).",
                stage="",
            )
        return execute(sql, params, many, context)

    with ExitStack() as guards:
        for other in connections:
            if other != alias:
                guards.enter_context(connections[other].execute_wrapper(refuse))
        yield


def _text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """A statement as text; psycopg takes bytes as well, and what it has composed of pieces."""
    match sql:
        case str():
            return sql
        case bytes():
            return sql.decode(errors="replace")
        case _:
            return str(sql.as_string(connection.connection))
