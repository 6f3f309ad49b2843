"""Every conditional UPDATE: who may take a run, and who still owns it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.db import IntegrityError, models, transaction
from django.db.models import F

from fluxio.store.base import Claim, Commit, Opening, Row, RunRecord
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime, seconds_parameter
from fluxio_django.conf import settings
from fluxio_django.frozen import (
    Frozen,
    frozen_insert,
    given_number,
    given_text,
)
from fluxio_django.idling import bounded_transaction, is_mariadb
from fluxio_django.isolation import locked
from fluxio_django.pieces import appending
from fluxio_django.prepared import can_transact, execute, transact
from fluxio_django.queues import place_facts, seconds_until_due
from fluxio_django.records import NO_NOTE, Note, SeenRun, Taken, storable
from fluxio_django.statements import (
    begin_parameters,
    fence_parameters,
    is_step,
    renew_parameters,
    rows_parameters,
    step_parameters,
    storable_note,
)
from fluxio_django.taking import TakenRunQuerySet, claiming, wish_to_cancel
from fluxio_django.tickets import Place

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Instance = TypeVar("Instance", bound=models.Model, covariant=True)

_RENEWED_AT_ONCE = 100


class RunQuerySet(TakenRunQuerySet[Instance]):
    """Runs, and the only ways to change one. Name the database first: `.using(alias)`."""

    def begin(
        self, record: RunRecord, lease_seconds: float, rows: Sequence[Row], note: Note = NO_NOTE
    ) -> bool:
        """Insert a run with its first rows; False, and nothing done, where the id is taken.

        On PostgreSQL and MariaDB this is one round trip. Except on PostgreSQL a taken id is an
        IntegrityError.
        """
        connection, statements = self._connection, self._statements
        noted = storable_note(note, self.model, connection)
        run = begin_parameters(record, noted, lease_seconds, connection)
        if connection.vendor == "postgresql":
            statement = statements.many(statements.begin_with_rows, len(rows))
            values = rows_parameters(record.run_id, rows, connection)
            return execute(connection, statement, [*run, *values]) > 0
        if self._takes_blocks:
            with appending(connection, statements.append, record.run_id, rows) as added:
                block = statements.begin_block(added.statements)
                return _ask(connection, block, [*run, *added.all_values])
        if can_transact(connection):
            with appending(connection, statements.append, record.run_id, rows) as added:
                return transact(connection, [(statements.begin, run), *added.pairs]) == 1
        with transaction.atomic(using=self.db):
            execute(connection, statements.begin, run)
            self._append(record.run_id, rows)
        return True

    def enqueue(self, opening: Opening, place: Place, token: int) -> bool:
        """Insert a queued run with its first row; False, and nothing done, where the id is taken.

        An open transaction of the caller goes on either way. On PostgreSQL this is one statement.
        """
        start, connection = opening.start, self._connection
        assert start is not None
        run = self._enqueueing()
        values = run.filled(self._enqueued(opening, start, place, token))
        if connection.vendor == "postgresql":
            statement = self._statements.adding(run.statement)
            row = rows_parameters(opening.run_id, [start], connection)
            return execute(connection, statement, [*values, *row]) > 0
        try:
            with transaction.atomic(using=self.db):
                execute(connection, run.statement, values)
                self._append(opening.run_id, [start])
        except IntegrityError:
            if self.filter(run_id=opening.run_id).exists():
                return False
            raise
        return True

    def _enqueueing(self) -> Frozen:
        """The insertion of a queued run, with everything that differs to be given."""

        def build() -> models.Model:
            place: Any = Place(
                queue=given_text("queue"),
                priority=given_number("priority"),
                delay=given_number("delay"),
                requested_by_id=given_number("requested_by_id"),
                subject_type_id=given_number("subject_type_id"),
                subject_id=given_text("subject_id"),
            )
            texts = ("run_id", "pipeline", "version", "step", "parent")
            numbers = ("attempt", "head", "ip", "token", "parent_sequence")
            return self.model(
                **{name: given_text(name) for name in texts},
                **{name: given_number(name) for name in numbers},
                status=RunStatus.QUEUED.value,
                created_at=DatabaseTime(),
                updated_at=DatabaseTime(),
                **place_facts(place, due=given_number("due")),
            )

        return frozen_insert(self.db, "enqueue", build)

    def _enqueued(self, opening: Opening, start: Row, place: Place, token: int) -> dict[str, Any]:
        connection = self._connection
        user: Any = self.model._meta.get_field("requested_by")
        return {
            "run_id": opening.run_id,
            "pipeline": opening.pipeline,
            "version": opening.version,
            "attempt": start.attempt,
            "head": start.sequence,
            "ip": start.ip,
            "step": opening.step,
            "token": token,
            "parent": opening.parent or "",
            "parent_sequence": opening.parent_sequence,
            "queue": place.queue,
            "priority": place.priority,
            "delay": seconds_parameter(place.delay, connection),
            "due": seconds_parameter(seconds_until_due(place.delay), connection),
            "requested_by_id": user.get_db_prep_save(place.requested_by_id, connection),
            "subject_type_id": place.subject_type_id,
            "subject_id": place.subject_id,
        }

    def restart(
        self, seen: SeenRun, opening: Opening, token: int, *, owner_is_dead: bool
    ) -> Taken | None:
        """Claim a run, delete its history and begin with `opening.start`; None as with `take`.

        The run itself stays, so that its token goes on growing and old owners stay fenced out.
        """
        start = opening.start
        assert start is not None
        with bounded_transaction(self.db, opening.lease_seconds):
            taken = self._claimable(seen, owner_is_dead).update(
                **claiming(opening, token),
                **wish_to_cancel(seen.record),
                version=opening.version,
                attempt=start.attempt,
                head=start.sequence,
                ip=start.ip,
                step=opening.step,
                takeovers=0,
                parent=opening.parent or "",
                parent_sequence=opening.parent_sequence,
                error="",
                error_type="",
                **_noted(opening),
                created_at=DatabaseTime(),
                started_at=DatabaseTime(),
            )
            if not taken:
                return None
            self._rows.filter(run=seen.pk).delete()
            self._append(opening.run_id, [start])
            now = self.seen(opening.run_id)
            return None if now is None else Taken(record=now.record)

    def replace(self, seen: SeenRun, record: RunRecord, row: Row) -> bool:
        """Append a row to a run nobody executes, and set its record; False when it changed."""
        with bounded_transaction(self.db, settings().lease_seconds):
            changed = self._claimable(seen, owner_is_dead=False).update(
                version=record.version,
                status=record.status.value,
                head=row.sequence,
                ip=record.ip,
                step=record.step,
                error=record.error,
                token=F("token") + 1,
                owner="",
                lease_expires_at=None,
                updated_at=DatabaseTime(),
                finished_at=None if record.status.is_open else DatabaseTime(),
            )
            if changed:
                self._append(record.run_id, [row])
        return changed == 1

    def commit(self, claim: Claim, commit: Commit) -> bool:
        """Append rows and move the record; False, and nothing done, when the claim is lost.

        PostgreSQL does it in one statement, in which rows can only come from the run that the fence
        let through. Elsewhere a short transaction ends with the fence; MariaDB is sent all of it at
        once.
        """
        connection = self._connection
        if not commit.rows or connection.vendor == "postgresql":
            return self._commit_on(connection, claim, commit)
        if can_transact(connection):
            statements, fence = self._statements, fence_parameters(claim, commit, connection)
            with appending(connection, statements.append, claim.run_id, commit.rows) as added:
                return transact(connection, [*added.pairs, (statements.fence_head, fence)]) == 1
        if self._takes_blocks:
            return self._commit_block(claim, commit)
        with transaction.atomic(using=self.db):
            kept = self._commit_on(connection, claim, commit)
            if not kept:
                transaction.set_rollback(True, using=self.db)
        return kept

    def commit_within(self, claim: Claim, commit: Commit) -> bool:
        """Do as `commit`, in a transaction of the caller, who rolls it back after a False."""
        return self._commit_on(self._connection, claim, commit)

    def _commit_on(self, connection: BaseDatabaseWrapper, claim: Claim, commit: Commit) -> bool:
        statements = self._statements
        if connection.vendor == "postgresql" and is_step(commit):
            step = step_parameters(claim, commit, connection)
            return execute(connection, statements.commit_step, step) > 0
        fence = fence_parameters(claim, commit, connection)
        if not commit.rows:
            return execute(connection, statements.fence, fence) == 1
        if connection.vendor == "postgresql":
            statement = statements.many(statements.commit_with_rows, len(commit.rows))
            values = rows_parameters(claim.run_id, commit.rows, connection)
            return execute(connection, statement, [*fence, *values]) > 0
        self._append(claim.run_id, commit.rows)
        return execute(connection, statements.fence_head, fence) == 1

    def keep(self, run_id: str) -> None:
        """Let nobody else change a run until the transaction ends; waits for who does already."""
        list(locked(self.filter(run_id=run_id)).order_by().values_list("pk"))

    def renew(self, claims: Sequence[Claim]) -> int:
        """Extend the leases of the claims that still hold, and say how many those are.

        It is one statement for a hundred claims, so that nothing stays locked should this process
        stop. Runs whose row is locked are passed over where the database can: somebody is
        committing, or holds a transaction open, and the other leases must not wait for that.
        """
        by_lease: dict[float, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_lease[claim.lease_seconds].append(claim)
        renewed = 0
        for seconds, group in by_lease.items():
            for batch in _batches(group, _RENEWED_AT_ONCE):
                renewed += self._renew(batch, seconds)
        return renewed

    def bury(self, seen: SeenRun, reason: str, token: int, *, owner_is_dead: bool = False) -> bool:
        """Give a run up whose lease expired; False when it changed since it was seen.

        `token` is what it has from then on, by which the end is known again.
        """
        buried = self._claimable(seen, owner_is_dead=owner_is_dead).update(
            status=RunStatus.DEAD.value,
            error=reason,
            error_type="",
            token=token,
            owner="",
            lease_expires_at=None,
            due_at=None,
            held_back="",
            updated_at=DatabaseTime(),
            finished_at=DatabaseTime(),
        )
        return buried == 1

    def forget(self, run_id: str) -> None:
        """Delete a run and its rows; whoever executes it loses it. Unknown ids are fine."""
        with bounded_transaction(self.db, settings().lease_seconds):
            # The update comes first to lock the run: a commit under way has ended by then.
            self.filter(run_id=run_id).update(token=F("token") + 1)
            self.filter(run_id=run_id).delete()
            self._keys.filter(run_id=run_id).delete()

    @property
    def _keys(self) -> models.QuerySet[Any]:
        key: Any = apps.get_model("fluxio_django", "DeduplicationKey")
        keys: models.QuerySet[Any] = key.objects.using(self.db)
        return keys

    def _renew(self, claims: Sequence[Claim], seconds: float) -> int:
        connection, statements = self._connection, self._statements
        passes_over = connection.features.has_select_for_update_skip_locked
        chosen = statements.renew_free if passes_over else statements.renew
        statement = statements.for_claims(chosen, len(claims))
        return execute(connection, statement, renew_parameters(claims, seconds, connection))

    @property
    def _takes_blocks(self) -> bool:
        """Whether a short transaction can be sent as one block, which the server carries out."""
        connection = self._connection
        alone = not connection.in_atomic_block and connection.get_autocommit()
        return alone and is_mariadb(connection)

    def _commit_block(self, claim: Claim, commit: Commit) -> bool:
        connection, statements = self._connection, self._statements
        fence = fence_parameters(claim, commit, connection)
        with appending(connection, statements.append, claim.run_id, commit.rows) as added:
            block = statements.commit_block(added.statements)
            return _ask(connection, block, [*added.all_values, *fence])

    def _append(self, run_id: str, rows: Sequence[Row]) -> None:
        connection = self._connection
        with appending(connection, self._statements.append, run_id, rows) as added:
            for statement, values in added.pairs:
                execute(connection, statement, values)


def _noted(opening: Opening) -> dict[str, Any]:
    note = opening.note or NO_NOTE
    return {
        "requested_by_id": note.requested_by_id,
        "subject_type_id": note.subject_type_id,
        "subject_id": storable(note.subject_id),
    }


def _batches(claims: Sequence[Claim], size: int) -> Iterator[list[Claim]]:
    remaining = iter(claims)
    while batch := list(islice(remaining, size)):
        yield batch


def _ask(connection: BaseDatabaseWrapper, block: str, parameters: Sequence[Any]) -> bool:
    """Whether a block of statements says that it went through."""
    with connection.cursor() as cursor:
        cursor.execute(block, parameters)
        return bool(cursor.fetchone()[0])
