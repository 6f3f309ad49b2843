"""A cursor of psycopg 3 that prepares each statement once per connection, under a name of its own.

The name is made of the statement's text. That is why this is safe behind a pooler that hands every
statement to another connection: whoever prepared it there meant the same statement, and where
nobody has, the server says so before anything is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from psycopg import ClientCursor, DataError, errors
from psycopg.generators import execute as results_of
from psycopg.pq import DiagnosticField, ExecStatus

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

_PREPARED_ALREADY = b"42P05"
_MISSING = b"26000"
_FATAL = ExecStatus.FATAL_ERROR
_DONE = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_TRUTH = {True: b"t", False: b"f"}

_known: WeakKeyDictionary[psycopg.Connection[Any], set[bytes]] = WeakKeyDictionary()
"""For each connection, the names of what was prepared through it."""


class PreparedCursor:
    """As much of a cursor as Django's wrappers need."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw = raw
        self._result: PGresult | None = None
        self._asked: tuple[str, Sequence[Any]] | None = None

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed or returned, -1 before the first one."""
        return -1 if self._result is None else self._result.command_tuples or 0

    @property
    def _query(self) -> _Shown | None:
        """What Django's query log shows: the statement with its values, as of any other cursor."""
        if self._asked is None:
            return None
        return _Shown(ClientCursor(self._raw).mogrify(*self._asked).encode())

    def execute(self, statement: str, parameters: Sequence[Any]) -> None:
        """Prepare the statement where that is still due, and carry it out.

        Raises:
            psycopg.Error: as with any cursor.
        """
        self._asked = statement, parameters
        named, values = _named(statement), _texts(parameters)
        known = _known.get(self._raw)
        if known is None:
            known = _known[self._raw] = set()
        with self._raw.lock:
            if named.name not in known:
                self._prepare(named)
                known.add(named.name)
            result = self._carry_out(named, values)
            if _is(_MISSING, result):
                self._prepare(named)
                result = self._carry_out(named, values)
            if _is(_MISSING, result):
                # Behind a pooler that never gives us the same connection twice.
                self._raw.pgconn.send_query_params(named.text, values)
                result = self._answer()
        self._result = _checked(result)

    def close(self) -> None:
        """Nothing: the result was read at once."""

    def _prepare(self, named: _Named) -> None:
        self._raw.pgconn.send_prepare(named.name, named.text)
        result = self._answer()
        if not _is(_PREPARED_ALREADY, result):
            _checked(result)

    def _carry_out(self, named: _Named, values: Sequence[bytes | None]) -> PGresult:
        self._raw.pgconn.send_query_prepared(named.name, values)
        return self._answer()

    def _answer(self) -> PGresult:
        """Wait for the server as psycopg does, so that Ctrl-C gets through."""
        results: list[PGresult] = self._raw.wait(results_of(self._raw.pgconn))
        return results[-1]


class _Shown(NamedTuple):
    query: bytes


class _Named(NamedTuple):
    name: bytes
    text: bytes


@cache
def _named(statement: str) -> _Named:
    """A statement with the placeholders of the protocol, and the name made of its text."""
    first, *others = statement.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))
    encoded = text.replace("%%", "%").encode()
    return _Named(f"fluxio_{hashlib.sha256(encoded).hexdigest()[:32]}".encode(), encoded)


_WRITERS: Mapping[type, Callable[[Any], bytes | None]] = {
    NoneType: lambda value: None,
    str: str.encode,
    int: lambda value: b"%d" % value,
    bool: _TRUTH.__getitem__,
    float: lambda value: repr(value).encode(),
    datetime: lambda value: value.isoformat(" ").encode(),
}


def _texts(parameters: Sequence[Any]) -> list[bytes | None]:
    """Parameters as the protocol takes them.

    Raises:
        DataError: a text holds NUL, at which the protocol would cut it off.
    """
    values = [_WRITERS[type(value)](value) for value in parameters]
    if b"\x00" in b"".join(filter(None, values)):
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return values


def _is(state: bytes, result: PGresult) -> bool:
    return result.status == _FATAL and result.error_field(DiagnosticField.SQLSTATE) == state


def _checked(result: PGresult) -> PGresult:
    if result.status not in _DONE:
        raise errors.error_from_result(result)
    return result
