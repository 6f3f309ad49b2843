"""Large payloads on MariaDB and MySQL: sent in pieces, and put together by the server.

The driver copies a text three times to quote it, and quoting can double it; the server takes no
packet above its `max_allowed_packet`, 16 MB by default, and hangs up on whoever sends one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import Error, IntegrityError

from fluxio.errors import StoreError
from fluxio.store.base import Row
from fluxio_django.records import ROW_COLUMNS, row_parameters

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

AT_ONCE = 1 << 20
"""Characters of a piece; a payload that is no longer is sent with its row."""

_IS_NULL = 1048
"""A column cannot be NULL, which is what the server makes of a text that is too long for it."""
_PAYLOAD = ROW_COLUMNS.index("payload")


class Appending(NamedTuple):
    """The insertion of rows: a statement for each, and what it takes."""

    statements: list[str]
    values: list[list[Any]]

    @property
    def pairs(self) -> list[tuple[str, list[Any]]]:
        """Each statement with what it takes."""
        return list(zip(self.statements, self.values, strict=True))

    @property
    def all_values(self) -> list[Any]:
        """What all statements take, one after another."""
        return [value for each in self.values for value in each]


@contextmanager
def appending(
    connection: BaseDatabaseWrapper, statement: str, run_id: str, rows: Sequence[Row]
) -> Iterator[Appending]:
    """The insertion of rows by `statement`; what is large has been sent while the block lasts.

    Raises:
        StoreError: a payload is larger than the server takes.
    """
    appended = Appending([], [])
    sent: list[str] = []
    try:
        for row in rows:
            values, text = row_parameters(run_id, row, connection), statement
            if connection.vendor == "mysql" and len(values[_PAYLOAD]) > AT_ONCE:
                sent.append(f"@fluxio_payload_{len(sent)}")
                _send(connection, sent[-1], values.pop(_PAYLOAD))
                *before, last = text.split("%s", _PAYLOAD + 1)
                text = f"{'%s'.join(before)}{sent[-1]}{last}"
            appended.statements.append(text)
            appended.values.append([*values, run_id])
        yield appended
    except IntegrityError as error:
        if sent and error.args[:1] == (_IS_NULL,):
            raise _too_large(connection, run_id, rows) from error
        raise
    finally:
        if sent:
            _forget(connection, sent)


def _too_large(connection: BaseDatabaseWrapper, run_id: str, rows: Sequence[Row]) -> StoreError:
    row = max(rows, key=lambda row: row.size)
    return StoreError(
        f"Step {row.step or row.kind.value!r} of run {run_id!r} is {row.size:,} bytes to store, "
        f"more than database {connection.alias!r} takes. Raise its max_allowed_packet, or keep "
        "large values elsewhere and put a reference to them into the context.",
        run_id=run_id,
        sequence=row.sequence,
    )


def _forget(connection: BaseDatabaseWrapper, names: Sequence[str]) -> None:
    """Free the memory that the server has given to these variables of the session.

    It is asked past Django, which sends nothing in a transaction that can only be rolled back. A
    session that is gone has taken its variables with it.
    """
    session: Any = connection.connection
    if session is None:
        return
    with suppress(Error), connection.wrap_database_errors, session.cursor() as cursor:
        cursor.execute("SET " + ", ".join(f"{name} = NULL" for name in names))


def _send(connection: BaseDatabaseWrapper, name: str, payload: str) -> None:
    _ask(connection, f"SET {name} = ''")
    for start in range(0, len(payload), AT_ONCE):
        piece = payload[start : start + AT_ONCE]
        _ask(connection, f"SET {name} = CONCAT({name}, %s)", piece)


def _ask(connection: BaseDatabaseWrapper, statement: str, *values: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
