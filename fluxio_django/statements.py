"""The constant SQL of the hot path, put together once per database from the columns' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from django.db import connections, models

from fluxio.store.base import Claim, Commit, Row, RunRecord
from fluxio.types import RunStatus
from fluxio_django.clock import clock_of, seconds_parameter
from fluxio_django.records import ROW_COLUMNS, ROW_FIELDS, Note, row_parameters, storable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

BEGIN_COLUMNS = (
    "run_id",
    "pipeline",
    "version",
    "status",
    "attempt",
    "head",
    "ip",
    "step",
    "token",
    "owner",
    "takeovers",
    "parent",
    "parent_sequence",
    "error",
    "requested_by",
    "subject_type",
    "subject_id",
    "lease_expires_at",
    "finished_at",
    "created_at",
    "updated_at",
    "started_at",
)
MOVED = ("ip", "step", "attempt", "status", "error", "error_type", "owner")
"""What every commit sets first, in the order of `fence_parameters`; lease and end follow."""
MOVED_WITH_ROWS = ("head", "version")
"""What a commit with rows sets after them; it also counts takeovers from zero again."""
PROOF = ("run_id", "token", "owner")
"""What has to be as the claim left it; with rows also the head."""
_LONGEST_TYPE = 200
GIVEN_COLUMNS = BEGIN_COLUMNS.index("lease_expires_at")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statements:
    """SQL for one database. `{rows}` stands for as many groups of values as there are rows, and
    `{claims}` for as many conditions as there are claims.

    `begin` inserts a run. `append` inserts one row of a run. `fence` moves a run's record if the
    claim still holds, `fence_head` moreover if the log ends where the commit goes on. `commit_step`
    is `fence_head` for a run that goes on, with the row of a step. `renew` extends the leases of
    claims, `renew_free` of those whose run nobody has locked. `added` follows the insertion of a
    run and adds its rows, where the id is free. `told` follows an update that claims a run and
    gives head and attempt, `told_with_rows` the rows of its newest state besides.
    """

    begin: str
    append: str
    fence: str
    fence_head: str
    begin_with_rows: str
    commit_with_rows: str
    commit_step: str
    row: str
    claim: str
    renew: str
    renew_free: str
    added: str
    told: str
    told_with_rows: str

    def many(self, statement: str, rows: int) -> str:
        """One of the statements that insert several rows at once (PostgreSQL)."""
        return _with_groups(statement, self.row, rows)

    def for_claims(self, statement: str, claims: int) -> str:
        """One of the statements that renew so many claims at once."""
        return statement.replace("{claims}", " OR ".join([self.claim] * claims))

    def adding(self, insertion: str) -> str:
        """The insertion of a run with its first row, where the id is free (PostgreSQL)."""
        return self.many(f"WITH proof AS ({insertion} {self.added}", 1)

    def taking(self, update: str, *, rows: bool) -> str:
        """An update that claims a run, and how the run stands then (PostgreSQL)."""
        return f"WITH proof AS ({update} {self.told_with_rows if rows else self.told}"

    def begin_block(self, appends: Sequence[str]) -> str:
        """`begin` and its rows as one block (MariaDB); it selects 1."""
        return _BLOCK.format("; ".join([self.begin, *appends]), "1 = 1")

    def commit_block(self, appends: Sequence[str]) -> str:
        """Rows and then `fence_head` as one block (MariaDB); it selects 1, or 0 when it is lost."""
        work = "; ".join([*appends, self.fence_head])
        return _BLOCK.format(work, "ROW_COUNT() = 1")


Table = type[models.Model]


@lru_cache(maxsize=64)
def _with_groups(statement: str, group: str, times: int) -> str:
    return statement.replace("{rows}", ", ".join([group] * times))


# The server carries a block out whatever becomes of the client that sent it: nothing stays locked.
_BLOCK = (
    "BEGIN NOT ATOMIC "
    "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; "
    "START TRANSACTION; {}; "
    "IF {} THEN COMMIT; SELECT 1; ELSE ROLLBACK; SELECT 0; END IF; "
    "END"
)


@cache
def statements_of(alias: str, run: Table, checkpoint: type[models.Model]) -> Statements:
    """The statements for the tables of `run` and `checkpoint` in a database."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    runs, rows = quote(run._meta.db_table), quote(checkpoint._meta.db_table)
    key, run_id = quote(column_of(run, "id")), quote(column_of(run, "run_id"))
    columns = [quote(column_of(checkpoint, name)) for name in ("run", *ROW_COLUMNS)]
    values = ", ".join(["%s"] * len(ROW_COLUMNS))
    typed = ", ".join(f"%s::{type_of(connection, checkpoint, name)}" for name in ROW_COLUMNS)
    into_rows = f"INSERT INTO {rows} ({', '.join(columns)})"
    begin = _begin(connection, run)
    fence, fence_head = _fence(connection, run, head=False), _fence(connection, run, head=True)
    taken = "FROM proof, (VALUES {rows}) AS given"
    free = f"ON CONFLICT ({run_id}) DO NOTHING RETURNING {key}"
    return Statements(
        begin=begin,
        append=(
            f"{into_rows} SELECT {key}, {values} FROM {runs} "  # noqa: S608
            f"WHERE {run_id} = %s{_lock_for_row(connection)}"
        ),
        fence=fence,
        fence_head=fence_head,
        begin_with_rows=(
            f"WITH proof AS ({begin} {free}) {into_rows} SELECT proof.{key}, given.* {taken}"
        ),
        commit_with_rows=(
            f"WITH proof AS ({fence_head} RETURNING {key}) "
            f"{into_rows} SELECT proof.{key}, given.* {taken}"
        ),
        commit_step=_commit_step(connection, run, checkpoint),
        row=f"({typed})",
        claim=f"({' AND '.join(_equal(connection, run, 'run_id', 'token', 'owner'))})",
        renew=_renew(connection, run),
        renew_free=_renew(connection, run, f" {_lock(connection)} SKIP LOCKED"),
        added=f"{free}) {into_rows} SELECT proof.{key}, given.* {taken}",
        told=_told(connection, run, checkpoint, rows=False),
        told_with_rows=_told(connection, run, checkpoint, rows=True),
    )


def _begin(connection: BaseDatabaseWrapper, run: Table) -> str:
    quote, clock = connection.ops.quote_name, clock_of(connection)
    columns = ", ".join(quote(column_of(run, name)) for name in BEGIN_COLUMNS)
    values = ["%s"] * GIVEN_COLUMNS
    values += [clock.later, f"CASE WHEN %s THEN {clock.now} END"]
    values += [clock.now] * (len(BEGIN_COLUMNS) - len(values))
    table = quote(run._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join(values)})"  # noqa: S608


def _fence(connection: BaseDatabaseWrapper, run: Table, *, head: bool) -> str:
    quote, clock = connection.ops.quote_name, clock_of(connection)
    equal = partial(_equal, connection, run)
    changes = equal(*MOVED)
    changes.append(f"{quote(column_of(run, 'lease_expires_at'))} = {clock.later}")
    changes.append(f"{quote(column_of(run, 'finished_at'))} = CASE WHEN %s THEN {clock.now} END")
    changes.append(f"{quote(column_of(run, 'updated_at'))} = {clock.now}")
    conditions = equal(*PROOF)
    if head:
        changes += equal(*MOVED_WITH_ROWS)
        changes.append(f"{quote(column_of(run, 'takeovers'))} = 0")
        conditions += equal("head")
    table = quote(run._meta.db_table)
    return f"UPDATE {table} SET {', '.join(changes)} WHERE {' AND '.join(conditions)}"  # noqa: S608


_OF_RUN = {"sequence": "head", "attempt": "attempt", "ip": "ip", "version": "version"}
"""What the row of a step has in common with its run after it."""
_OF_STEP = tuple(name for name in ROW_COLUMNS if name not in _OF_RUN)


def _commit_step(connection: BaseDatabaseWrapper, run: Table, checkpoint: Table) -> str:
    """One row and a run that goes on (PostgreSQL): no value is sent twice, or that stays as it is.

    Status and owner are what the token proves.
    """
    quote, clock = connection.ops.quote_name, clock_of(connection)
    head, error, kind = (quote(column_of(run, name)) for name in ("head", "error", "error_type"))
    ended, updated = (quote(column_of(run, name)) for name in ("finished_at", "updated_at"))
    takeovers = quote(column_of(run, "takeovers"))
    changes = [
        *_equal(connection, run, "ip", "step", "attempt", "version"),
        f"{quote(column_of(run, 'lease_expires_at'))} = {clock.later}",
        f"{head} = {head} + 1, {error} = '', {kind} = '', {ended} = NULL, {updated} = {clock.now}",
        f"{takeovers} = 0",
    ]
    conditions = _equal(connection, run, *PROOF, "head")
    shared = [quote(column_of(run, name)) for name in ("id", *_OF_RUN.values())]
    columns = ("run", *_OF_RUN, *_OF_STEP)
    into = ", ".join(quote(column_of(checkpoint, name)) for name in columns)
    given = ", ".join(f"%s::{type_of(connection, checkpoint, name)}" for name in _OF_STEP)
    return (
        f"WITH proof AS (UPDATE {quote(run._meta.db_table)} SET {', '.join(changes)} "  # noqa: S608
        f"WHERE {' AND '.join(conditions)} RETURNING {', '.join(shared)}) "
        f"INSERT INTO {quote(checkpoint._meta.db_table)} ({into}) "
        f"SELECT {', '.join(f'proof.{it}' for it in shared)}, {given} FROM proof"
    )


def _told(connection: BaseDatabaseWrapper, run: Table, checkpoint: Table, *, rows: bool) -> str:
    quote = connection.ops.quote_name
    table, key = quote(run._meta.db_table), quote(column_of(run, "id"))
    facts = [quote(column_of(run, name)) for name in ("head", "attempt")]
    returning = ", ".join(f"{table}.{name}" for name in (key, *facts))
    told = ", ".join(f"proof.{name}" for name in facts)
    if not rows:
        return f"RETURNING {returning}) SELECT {told} FROM proof"  # noqa: S608
    log = quote(checkpoint._meta.db_table)
    of_run, sequence, full = (
        quote(column_of(checkpoint, name)) for name in ("run", "sequence", "full")
    )
    columns = ", ".join(f"log.{quote(column_of(checkpoint, name))}" for name in ROW_FIELDS)
    newest = (
        f"SELECT {sequence} FROM {log} WHERE {of_run} = proof.{key} AND {full} "  # noqa: S608
        f"ORDER BY {sequence} DESC LIMIT 1"
    )
    return (
        f"RETURNING {returning}) SELECT {told}, {columns} FROM proof "  # noqa: S608
        f"LEFT JOIN {log} AS log ON log.{of_run} = proof.{key} AND log.{sequence} >= ({newest}) "
        f"ORDER BY log.{sequence}"
    )


def _renew(connection: BaseDatabaseWrapper, run: Table, locking: str = "") -> str:
    quote, later = connection.ops.quote_name, clock_of(connection).later
    table, key = quote(run._meta.db_table), quote(column_of(run, "id"))
    lease, status = quote(column_of(run, "lease_expires_at")), quote(column_of(run, "status"))
    held = f"SELECT {key} FROM {table} WHERE {status} = %s AND ({{claims}}){locking}"  # noqa: S608
    if connection.vendor == "mysql":
        # By keys that are known first: every row that is read on the way would have to be locked.
        found = f"{table} FORCE INDEX (PRIMARY) ON {table}.{key} = held.{key}"
        joined = f"({held}) AS held STRAIGHT_JOIN {found}"
        return f"UPDATE {joined} SET {table}.{lease} = {later}"  # noqa: S608
    renewed = f"UPDATE {table} SET {lease} = {later} "  # noqa: S608
    return f"WITH held AS ({held}) {renewed}WHERE {key} IN (SELECT {key} FROM held)"  # noqa: S608


def _lock_for_row(connection: BaseDatabaseWrapper) -> str:
    """What has the insertion of a row lock its run as the fence behind it will.

    On MariaDB and MySQL the foreign key takes a lock that is shared: whoever waits for the run by
    then, and the fence behind him, would wait for each other.
    """
    return " FOR UPDATE" if connection.vendor == "mysql" else ""


def _lock(connection: BaseDatabaseWrapper) -> str:
    """What takes a run's row from all who would change it, and not from rows that refer to it."""
    weaker = connection.features.has_select_for_no_key_update
    return "FOR NO KEY UPDATE" if weaker else "FOR UPDATE"


def _equal(connection: BaseDatabaseWrapper, model: Table, *names: str) -> list[str]:
    return [f"{connection.ops.quote_name(column_of(model, name))} = %s" for name in names]


def column_of(model: Table, name: str) -> str:
    """The column of a field."""
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return str(field.column)


def type_of(connection: BaseDatabaseWrapper, model: Table, name: str) -> str:
    """The type of a value that is selected into a column (PostgreSQL)."""
    match model._meta.get_field(name):
        case models.ForeignKey() as key:
            return str(key.rel_db_type(connection))
        case models.IntegerField():
            return "bigint"
        case models.BooleanField():
            return "boolean"
        case models.FloatField():
            return "double precision"
        case models.DateTimeField():
            return "timestamptz"
        case _:
            return "text"


def storable_note(note: Note, run: Table, connection: BaseDatabaseWrapper) -> Note:
    """A note whose user is as the driver takes the key of a user."""
    user: Any = run._meta.get_field("requested_by")
    return replace(note, requested_by_id=user.get_db_prep_save(note.requested_by_id, connection))


def begin_parameters(
    record: RunRecord, note: Note, lease_seconds: float, connection: BaseDatabaseWrapper
) -> list[Any]:
    """What `Statements.begin` takes for a new run; the times are the database's own."""
    held = record.owner is not None
    return [
        record.run_id,
        record.pipeline,
        record.version,
        record.status.value,
        record.attempt,
        record.head,
        record.ip,
        record.step,
        record.token,
        record.owner or "",
        record.takeovers,
        record.parent or "",
        record.parent_sequence,
        storable(record.error),
        note.requested_by_id,
        note.subject_type_id,
        storable(note.subject_id),
        seconds_parameter(lease_seconds if held else None, connection),
        not record.status.is_open,
    ]


def fence_parameters(claim: Claim, commit: Commit, connection: BaseDatabaseWrapper) -> list[Any]:
    """What `Statements.fence` takes, and with rows `fence_head`.

    A status other than RUNNING frees the owner and the lease in the same statement.
    """
    goes_on = commit.status is RunStatus.RUNNING
    lease = seconds_parameter(claim.lease_seconds if goes_on else None, connection)
    changes = [
        commit.ip,
        commit.step,
        commit.attempt,
        commit.status.value,
        *_error_columns(commit.error),
        claim.owner if goes_on else "",
        lease,
        not commit.status.is_open,
    ]
    conditions = [claim.run_id, claim.token, claim.owner]
    if not commit.rows:
        return [*changes, *conditions]
    newest = commit.rows[-1]
    return [*changes, newest.sequence, newest.version, *conditions, commit.rows[0].sequence - 1]


def is_step(commit: Commit) -> bool:
    """Whether a commit is one that `Statements.commit_step` can make."""
    if len(commit.rows) != 1 or commit.status is not RunStatus.RUNNING or commit.error:
        return False
    row = commit.rows[0]
    return row.attempt == commit.attempt and row.ip == commit.ip


def step_parameters(claim: Claim, commit: Commit, connection: BaseDatabaseWrapper) -> list[Any]:
    """What `Statements.commit_step` takes."""
    row = commit.rows[0]
    return [
        commit.ip,
        commit.step,
        commit.attempt,
        row.version,
        seconds_parameter(claim.lease_seconds, connection),
        claim.run_id,
        claim.token,
        claim.owner,
        row.sequence - 1,
        *row_parameters(claim.run_id, row, connection, _OF_STEP),
    ]


def _error_columns(error: str) -> tuple[str, str]:
    return (storable(error), storable(error_type_of(error))) if error else ("", "")


def error_type_of(summary: str) -> str:
    """The type that a summary of an error begins with, "" where it is but a sentence."""
    name = summary.partition(":")[0]
    return "" if " " in name else name[:_LONGEST_TYPE]


def rows_parameters(run_id: str, rows: Sequence[Row], connection: BaseDatabaseWrapper) -> list[Any]:
    """What `{rows}` takes: the values of all rows, one after another."""
    return [value for row in rows for value in row_parameters(run_id, row, connection)]


def renew_parameters(
    claims: Sequence[Claim], lease_seconds: float, connection: BaseDatabaseWrapper
) -> list[Any]:
    """What `Statements.renew` and `renew_free` take."""
    conditions = [value for one in claims for value in (one.run_id, one.token, one.owner)]
    lease = seconds_parameter(lease_seconds, connection)
    return [RunStatus.RUNNING.value, *conditions, lease]
