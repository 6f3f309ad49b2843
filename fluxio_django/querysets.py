"""Every conditional UPDATE: who may take a run, and who still owns it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import IntegrityError, connections, models, transaction
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    F,
    FilteredRelation,
    OuterRef,
    Q,
    Subquery,
)
from django.db.models.functions import Coalesce

from fluxio.program import Manifest
from fluxio.store.admission import no_checkpoint
from fluxio.store.base import Claim, Commit, Opening, Row, RunRecord
from fluxio.store.refusals import row_damaged
from fluxio.types import RunStatus
from fluxio_django.clock import DatabaseTime
from fluxio_django.conf import settings
from fluxio_django.idling import bounded_transaction, is_mariadb
from fluxio_django.prepared import execute
from fluxio_django.queues import AVAILABLE, Place, QueuedRunQuerySet, Standing, place_facts
from fluxio_django.records import (
    NO_NOTE,
    RECORD_FIELDS,
    ROW_FIELDS,
    Note,
    SeenRun,
    record_of,
    row_of,
    row_parameters,
    storable,
)
from fluxio_django.statements import (
    Statements,
    begin_parameters,
    fence_parameters,
    renew_parameters,
    rows_parameters,
    statements_of,
    storable_note,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
Instance = TypeVar("Instance", bound=models.Model, covariant=True)

_RENEWED_AT_ONCE = 100


class RunQuerySet(QueuedRunQuerySet[Instance]):
    """Runs, and the only ways to change one. Name the database first: `.using(alias)`."""

    def seen(self, run_id: str) -> SeenRun | None:
        """The run as it stands, None where it is unknown; one query."""
        return next(iter(self.filter(run_id=run_id).order_by().as_seen()), None)

    def as_seen(self) -> list[SeenRun]:
        """The runs as the core knows them; one query."""
        return [seen for _, seen in self._as_seen_with(())]

    def _as_seen_with(self, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], SeenRun]]:
        held = Q(status=RunStatus.RUNNING) & Q(lease_expires_at__gt=DatabaseTime())
        runs = self.annotate(held=ExpressionWrapper(held, output_field=BooleanField()))
        first = len(names)
        for found in runs.values_list(*names, "pk", "held", *RECORD_FIELDS):
            pk, is_held, *values = found[first:]
            record = record_of(values, self._connection)
            yield (
                dict(zip(names, found, strict=False)),
                SeenRun(pk=pk, held=bool(is_held), record=record),
            )

    def standing(self, run_id: str) -> Standing | None:
        """The run as a worker finds it that got its ticket, None where it is unknown."""
        extra = {
            "available": ExpressionWrapper(AVAILABLE, output_field=BooleanField()),
            "paused": self._in_paused_queue,
        }
        names = ("queue", "priority", *extra)
        found = self.filter(run_id=run_id).order_by().annotate(**extra)
        for facts, seen in found._as_seen_with(names):
            available, paused = bool(facts["available"]), bool(facts["paused"])
            return Standing(
                seen=seen,
                queue=facts["queue"],
                priority=facts["priority"],
                available=available,
                paused=paused,
            )
        return None

    def note(self, run_id: str) -> Note:
        """What was noted of a run besides its record; of an unknown one nothing."""
        names = ("requested_by_id", "subject_type_id", "subject_id")
        for facts in self.filter(run_id=run_id).order_by().values(*names):
            return Note(**facts)
        return NO_NOTE

    def log(self, run_id: str, first: int, last: int | None) -> list[Row]:
        """Rows of a run with `first <= sequence <= last`, ascending; one query.

        Raises:
            CorruptCheckpointError: the run's record tells of a row that is not there.
        """
        wanted = Q(checkpoints__sequence__gte=first)
        if last is not None:
            wanted &= Q(checkpoints__sequence__lte=last)
        log = self.filter(run_id=run_id).annotate(
            log=FilteredRelation("checkpoints", condition=wanted)
        )
        columns = (f"log__{name}" for name in ROW_FIELDS)
        found = list(log.order_by("log__sequence").values_list("head", *columns))
        rows = [
            row_of(run_id, values, self._connection)
            for _, *values in found
            if values[0] is not None
        ]
        head = found[0][0] if found else -1
        due = range(max(first, 0), (head if last is None else min(head, last)) + 1)
        for sequence, row in zip_longest(due, rows):
            if row is None or row.sequence != sequence:
                missing = due.start if sequence is None else sequence
                raise row_damaged(run_id, missing, "is missing")
        return rows

    def newest_full(self, run_id: str, upto: int | None) -> int:
        """The sequence of the newest full row of a run, at or before `upto`; one query.

        Raises:
            NoCheckpointError: the run is unknown.
            CorruptCheckpointError: it has no such row, though every run begins with one.
        """
        full = self._rows.filter(run=OuterRef("pk"), full=True).order_by("-sequence")
        if upto is not None:
            full = full.filter(sequence__lte=upto)
        newest = self.filter(run_id=run_id).order_by()
        for sequence in newest.values_list(Subquery(full.values("sequence")[:1]), flat=True):
            if sequence is None:
                raise row_damaged(run_id, 0, "is missing")
            return int(sequence)
        raise no_checkpoint(run_id)

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
            appended = self._appended(record.run_id, rows)
            return _ask(connection, statements.begin_block(len(rows)), [*run, *appended])
        with transaction.atomic(using=self.db):
            execute(connection, statements.begin, run)
            self._append(record.run_id, rows)
        return True

    def enqueue(self, opening: Opening, place: Place, token: int) -> bool:
        """Insert a queued run with its first row; False, and nothing done, where the id is taken.

        An open transaction of the caller goes on either way.
        """
        start = opening.start
        assert start is not None
        try:
            with transaction.atomic(using=self.db):
                self.create(
                    run_id=opening.run_id,
                    pipeline=opening.pipeline,
                    version=opening.version,
                    status=RunStatus.QUEUED.value,
                    attempt=start.attempt,
                    head=start.sequence,
                    ip=start.ip,
                    step=opening.step,
                    token=token,
                    parent=opening.parent or "",
                    parent_sequence=opening.parent_sequence,
                    created_at=DatabaseTime(),
                    updated_at=DatabaseTime(),
                    **place_facts(place),
                )
                self._append(opening.run_id, [start])
        except IntegrityError:
            if self.filter(run_id=opening.run_id).exists():
                return False
            raise
        return True

    def take(
        self, seen: SeenRun, opening: Opening, token: int, *, owner_is_dead: bool
    ) -> SeenRun | None:
        """Claim a run whose history stays; None when it changed since it was seen.

        The claim is one statement, so that nothing stays locked should this process stop. The run
        is read again after it: under our token nobody else can write, so its head is the newest.
        """
        taken = self._claimable(seen, owner_is_dead).update(
            **_claiming(opening, token),
            **_wishes(seen.record),
            takeovers=_takeovers(seen.record),
            started_at=Coalesce("started_at", DatabaseTime()),
        )
        now = self.seen(opening.run_id) if taken else None
        return now if now is not None and now.record.token == token else None

    def restart(
        self, seen: SeenRun, opening: Opening, token: int, *, owner_is_dead: bool
    ) -> SeenRun | None:
        """Claim a run, delete its history and begin with `opening.start`; None as with `take`.

        The run itself stays, so that its token goes on growing and old owners stay fenced out.
        """
        start = opening.start
        assert start is not None
        with bounded_transaction(self.db, opening.lease_seconds):
            taken = self._claimable(seen, owner_is_dead).update(
                **_claiming(opening, token),
                **_wishes(seen.record),
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
            return self.seen(opening.run_id)

    def replace(self, seen: SeenRun, record: RunRecord, row: Row) -> bool:
        """Append a row to a run nobody executes, and set its record; False when it changed."""
        with bounded_transaction(self.db, settings().lease_seconds):
            changed = self._claimable(seen, owner_is_dead=False).update(
                version=record.version,
                status=record.status.value,
                attempt=row.attempt,
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
        if not commit.rows or self._connection.vendor == "postgresql":
            return self.commit_within(claim, commit)
        if self._takes_blocks:
            return self._commit_block(claim, commit)
        with transaction.atomic(using=self.db):
            kept = self.commit_within(claim, commit)
            if not kept:
                transaction.set_rollback(True, using=self.db)
        return kept

    def commit_within(self, claim: Claim, commit: Commit) -> bool:
        """Do as `commit`, in a transaction of the caller, who rolls it back after a False."""
        connection, statements = self._connection, self._statements
        fence = fence_parameters(claim, commit, connection)
        if not commit.rows:
            return execute(connection, statements.fence, fence) == 1
        if connection.vendor == "postgresql":
            statement = statements.many(statements.commit_with_rows, len(commit.rows))
            values = rows_parameters(claim.run_id, commit.rows, connection)
            return execute(connection, statement, [*fence, *values]) > 0
        self._append(claim.run_id, commit.rows)
        return execute(connection, statements.fence_head, fence) == 1

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

    def bury(self, seen: SeenRun, reason: str, *, owner_is_dead: bool = False) -> bool:
        """Give a run up whose lease expired; False when it changed since it was seen."""
        buried = self._claimable(seen, owner_is_dead=owner_is_dead).update(
            status=RunStatus.DEAD.value,
            error=reason,
            token=F("token") + 1,
            owner="",
            lease_expires_at=None,
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

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self.db]

    @property
    def _rows(self) -> CheckpointQuerySet[Any]:
        rows: CheckpointQuerySet[Any] = self._row_model.objects.using(self.db)
        return rows

    @property
    def _row_model(self) -> Any:
        return _row_model_of(self.model)

    @property
    def _statements(self) -> Statements:
        return statements_of(self.db, self.model, self._row_model)

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
        connection = self._connection
        rows = self._appended(claim.run_id, commit.rows)
        fence = fence_parameters(claim, commit, connection)
        block = self._statements.commit_block(len(commit.rows))
        return _ask(connection, block, [*rows, *fence])

    def _appended(self, run_id: str, rows: Sequence[Row]) -> list[Any]:
        """What `Statements.append` takes, for each row."""
        connection = self._connection
        return [
            value for row in rows for value in (*row_parameters(run_id, row, connection), run_id)
        ]

    def _append(self, run_id: str, rows: Sequence[Row]) -> None:
        connection, statement = self._connection, self._statements.append
        for row in rows:
            execute(connection, statement, self._appended(run_id, [row]))


class CheckpointQuerySet(models.QuerySet[Instance]):
    """Rows of runs' logs. Name the database first: `.using(alias)`."""

    def holds(self, run_id: str, row: Row) -> bool:
        """Whether exactly this row is kept.

        Under a keyring no row is sealed twice in the same way, so it is opened to be compared.
        """
        kept = self.filter(run__run_id=run_id, sequence=row.sequence).values_list(*ROW_FIELDS)
        connection = connections[self.db]
        return any(row_of(run_id, values, connection).digest == row.digest for values in kept)


class VersionQuerySet(models.QuerySet[Instance]):
    """Versions of pipelines. Name the database first: `.using(alias)`."""

    def note(self, pipeline: str, version: str, manifest: Manifest) -> None:
        """Keep a version's manifest, if it is not kept yet; any number of processes may do so."""
        if self.filter(pipeline=pipeline, version=version).exists():
            return
        text = json.dumps(manifest.to_rows())
        found = self.model(pipeline=pipeline, version=version, manifest=text)
        self.bulk_create([found], ignore_conflicts=True)

    def manifest(self, pipeline: str, version: str) -> Manifest | None:
        """The manifest of a version, None where it is unknown."""
        known = self.filter(pipeline=pipeline, version=version).values_list("manifest", flat=True)
        for text in known:
            return Manifest.from_rows(json.loads(text))
        return None


@cache
def _row_model_of(run: type[models.Model]) -> Any:
    return run._meta.get_field("checkpoints").related_model


def _claiming(opening: Opening, token: int) -> dict[str, Any]:
    return {
        "pipeline": opening.pipeline,
        "status": RunStatus.RUNNING.value,
        "token": token,
        "owner": opening.owner,
        "lease_expires_at": DatabaseTime(opening.lease_seconds),
        "updated_at": DatabaseTime(),
        "finished_at": None,
        "due_at": None,
        "held_back": "",
    }


def _noted(opening: Opening) -> dict[str, Any]:
    note = opening.note or NO_NOTE
    return {
        "requested_by_id": note.requested_by_id,
        "subject_type_id": note.subject_type_id,
        "subject_id": storable(note.subject_id),
    }


def _wishes(record: RunRecord) -> dict[str, Any]:
    """A wish to cancel stands until somebody has heard it: whoever had the run has not."""
    if record.status is RunStatus.RUNNING:
        return {}
    return {"cancel_requested_at": None, "cancel_reason": ""}


def _takeovers(record: RunRecord) -> int:
    """A claim after expiry counts; one of a finished run is somebody's wish and begins anew."""
    if record.status is RunStatus.RUNNING:
        return record.takeovers + 1
    return record.takeovers if record.status.is_open else 0


def _batches(claims: Sequence[Claim], size: int) -> Iterator[list[Claim]]:
    remaining = iter(claims)
    while batch := list(islice(remaining, size)):
        yield batch


def _ask(connection: BaseDatabaseWrapper, block: str, parameters: Sequence[Any]) -> bool:
    """Whether a block of statements says that it went through."""
    with connection.cursor() as cursor:
        cursor.execute(block, parameters)
        return bool(cursor.fetchone()[0])
