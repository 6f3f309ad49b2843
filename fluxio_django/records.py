"""Where the core's records meet the columns of our tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from secrets import randbits
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.utils import timezone

from fluxio.store.base import Opening, Row, RowKind, RunRecord
from fluxio.store.refusals import row_damaged
from fluxio.store.vault import lock_row, unlock_row
from fluxio.types import RunStatus
from fluxio_django.conf import project_keyring

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

RECORD_FIELDS = tuple(field.name for field in fields(RunRecord))
"""The fields of `RunRecord`, which `Run` has under the same names."""

ROW_FIELDS = tuple(field.name for field in fields(Row))
"""The fields of `Row`, which `Checkpoint` has under the same names."""

ROW_COLUMNS = (*ROW_FIELDS, "size")
"""What is written of a row, in the order of `row_parameters`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRun:
    """A run as a query found it. `held` says that its lease had not expired, by the database.

    `pk` is 0 where nothing but the record is known.
    """

    pk: int
    held: bool
    record: RunRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A run as it stands after its claim, with the rows of its newest state where they are known.

    `record` tells for sure what a claim does: token, attempt and head.
    """

    record: RunRecord
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What only a project knows of a run: who asked for it, and what it is about."""

    requested_by_id: Any = None
    subject_type_id: int | None = None
    subject_id: str = ""


NO_NOTE = Note()

_TOKEN_STEP_BITS = 16


def next_token(seen: SeenRun) -> int:
    """A token for the next change of a run, by which that is recognised if its answer is lost."""
    return seen.record.token + 1 + randbits(_TOKEN_STEP_BITS)


class Beginning(NamedTuple):
    """A run to be inserted: its record, a note, its lease in seconds, its first row."""

    record: RunRecord
    note: Note
    lease_seconds: float
    start: Row


def record_of(values: Sequence[Any], connection: BaseDatabaseWrapper) -> RunRecord:
    """The record in a run's values (see `RECORD_FIELDS`); "" stands for None."""
    facts = dict(zip(RECORD_FIELDS, values, strict=True))
    for name in ("lease_expires_at", "created_at", "updated_at", "finished_at"):
        facts[name] = moment_of(facts[name], connection) if facts[name] is not None else None
    facts["status"] = RunStatus(facts["status"])
    facts["owner"] = facts["owner"] or None
    facts["parent"] = facts["parent"] or None
    return RunRecord(**facts)


def record_to_begin(opening: Opening, start: Row, token: int) -> RunRecord:
    """The record of a run that an opening creates; the database sets the lease and the times."""
    return RunRecord(
        run_id=opening.run_id,
        pipeline=opening.pipeline,
        version=opening.version,
        status=RunStatus.RUNNING,
        attempt=start.attempt,
        head=start.sequence,
        ip=start.ip,
        step=opening.step,
        token=token,
        owner=opening.owner,
        lease_expires_at=None,
        takeovers=0,
        parent=opening.parent,
        parent_sequence=opening.parent_sequence,
        error="",
        created_at=start.created_at,
        updated_at=start.created_at,
        finished_at=None,
    )


def row_of(run_id: str, values: Sequence[Any], connection: BaseDatabaseWrapper) -> Row:
    """The row in a checkpoint's values (see `ROW_FIELDS`).

    Raises:
        CorruptCheckpointError: it is of a kind that does not exist, or does not open with the keys
            of the project.
    """
    facts = dict(zip(ROW_FIELDS, values, strict=True))
    try:
        facts["kind"] = RowKind(facts["kind"])
    except ValueError:
        raise row_damaged(run_id, facts["sequence"], "is of an unknown kind") from None
    facts["created_at"] = moment_of(facts["created_at"], connection)
    return unlock_row(run_id, Row(**facts), project_keyring())


def row_parameters(
    run_id: str,
    row: Row,
    connection: BaseDatabaseWrapper,
    columns: tuple[str, ...] = ROW_COLUMNS,
) -> list[Any]:
    """A row's values, ready to be written.

    Raises:
        ConfigurationError: FLUXIO["KEYRING"] leads to no keys.
    """
    keyring = project_keyring()
    kept = row if keyring is None else lock_row(run_id, row, keyring)
    get, kind, created = _written(columns)
    values = list(get(kept))
    values[kind] = row.kind.value
    values[created] = parameter_of(row.created_at, connection)
    return values


@cache
def _written(columns: tuple[str, ...]) -> tuple[Callable[[Row], tuple[Any, ...]], int, int]:
    return attrgetter(*columns), columns.index("kind"), columns.index("created_at")


def moment_of(value: datetime, connection: BaseDatabaseWrapper) -> datetime:
    """A moment as read from a column, in UTC.

    With USE_TZ = False Django gives naive values: in the project's zone on PostgreSQL, and as they
    were written, which for these tables is UTC, elsewhere.
    """
    if value.tzinfo is not None:
        return value.astimezone(UTC)
    if connection.vendor == "postgresql":
        return timezone.make_aware(value, timezone.get_default_timezone()).astimezone(UTC)
    return value.replace(tzinfo=UTC)


def parameter_of(value: datetime, connection: BaseDatabaseWrapper) -> Any:
    """An aware moment as the driver wants it."""
    if connection.vendor == "postgresql":
        return value
    if not settings.USE_TZ:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return connection.ops.adapt_datetimefield_value(value)


def storable(text: str) -> str:
    """Free text without what a text column may refuse: NUL and lone surrogates, shown escaped."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
