"""A cursor of psycopg 3 that prepares each statement once per connection, under a name of its own.

The name is made of the statement's text. That is why this is safe behind a pooler that hands every
statement to another connection: whoever prepared it there meant the same statement, and where
nobody has, the server says so before anything is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from itertools import chain, repeat
from operator import contains
from struct import Struct
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from psycopg import ClientCursor, DataError, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute as results_of
from psycopg.pq import DiagnosticField, ExecStatus, Format

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

_PREPARED_ALREADY = b"42P05"
_MISSING = b"26000"
_FATAL = ExecStatus.FATAL_ERROR
_DONE = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})
_BINARY = Format.BINARY
_TEXT_TYPE = 25
_ARRAY, _LENGTH = Struct("!iiiii"), Struct("!i")
_NULL = _LENGTH.pack(-1)
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

    def texts(self) -> list[str]:
        """The first column of what the last statement returned, as text and without NULLs."""
        result = self._result
        if result is None:
            return []
        values = (result.get_value(row, 0) for row in range(result.ntuples))
        return [value.decode() for value in values if value is not None]

    def rows(self) -> list[tuple[Any, ...]]:
        """What the last statement returned, as any cursor of the connection gives it."""
        result = self._result
        if result is None or not result.ntuples:
            return []
        transformer = Transformer(self._raw)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)

    @property
    def _query(self) -> _Shown | None:
        """What Django's query log shows: the statement with its values, as of any other cursor."""
        if self._asked is None:
            return None
        statement, parameters = self._asked
        shown = [list(map(_shown, it)) if type(it) is list else it for it in parameters]
        return _Shown(ClientCursor(self._raw).mogrify(statement, shown).encode())

    def execute(self, statement: str, parameters: Sequence[Any]) -> None:
        """Prepare the statement where that is still due, and carry it out.

        Raises:
            psycopg.Error: as with any cursor.
        """
        self._asked = statement, parameters
        named, values = _named(statement), self._texts(parameters)
        formats = [_BINARY] * len(values) if type(parameters[0]) is list else None
        known = _known.get(self._raw)
        if known is None:
            known = _known[self._raw] = set()
        with self._raw.lock:
            if named.name not in known:
                self._prepare(named)
                known.add(named.name)
            result = self._carry_out(named, values, formats)
            if result.status not in _DONE and _is(_MISSING, result):
                self._prepare(named)
                result = self._carry_out(named, values, formats)
                if _is(_MISSING, result):
                    # Behind a pooler that never gives us the same connection twice.
                    self._raw.pgconn.send_query_params(named.text, values, param_formats=formats)
                    result = self._answer()
        self._result = _checked(result)

    def close(self) -> None:
        """Nothing: the result was read at once."""

    def _texts(self, parameters: Sequence[Any]) -> list[bytes | None]:
        """Parameters as the protocol takes them; lists of values, if any, become arrays of texts.

        Raises:
            DataError: a text holds NUL, at which the protocol would cut it off.
        """
        if type(parameters[0]) is list:
            return [_array(self._written_alike(items)) for items in parameters]
        try:
            texts = [_WRITERS[type(value)](value) for value in parameters]
        except KeyError:
            texts = self._written(parameters)
        if any(map(contains, filter(None, texts), repeat(b"\x00"))):
            raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return texts

    def _written_alike(self, values: Sequence[Any]) -> Sequence[bytes | None]:
        """Values that mostly are of one type: then no step of the interpreter is taken for each."""
        kinds = set(map(type, values))
        write = _WRITERS_OF_MANY.get(kinds.pop()) if len(kinds) == 1 else None
        return self._written(values) if write is None else list(write(values))

    def _written(self, values: Sequence[Any]) -> list[bytes | None]:
        return [_WRITERS.get(type(value), self._by_driver)(value) for value in values]

    def _by_driver(self, value: Any) -> bytes | None:
        """A value of a less common type, such as the UUID that a project's users are known by."""
        text = Transformer(self._raw).get_dumper(value, PyFormat.TEXT).dump(value)
        return None if text is None else bytes(text)

    def _prepare(self, named: _Named) -> None:
        self._raw.pgconn.send_prepare(named.name, named.text)
        result = self._answer()
        if not _is(_PREPARED_ALREADY, result):
            _checked(result)

    def _carry_out(
        self, named: _Named, values: Sequence[bytes | None], formats: Sequence[int] | None
    ) -> PGresult:
        self._raw.pgconn.send_query_prepared(named.name, values, param_formats=formats)
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
    int: b"%d".__mod__,
    bool: _TRUTH.__getitem__,
    float: lambda value: repr(value).encode(),
    datetime: lambda value: value.isoformat(" ").encode(),
}


_WRITERS_OF_MANY: Mapping[type, Callable[[Sequence[Any]], Iterable[bytes | None]]] = {
    NoneType: lambda values: values,
    str: partial(map, str.encode),
    int: partial(map, b"%d".__mod__),
    bool: partial(map, _TRUTH.__getitem__),
    float: lambda values: map(str.encode, map(repr, values)),
    datetime: lambda values: map(str.encode, map(datetime.isoformat, values)),
}


def _array(texts: Sequence[bytes | None]) -> bytes:
    """One dimension of texts, counted from 1, as PostgreSQL receives an array (array_recv)."""
    head = _ARRAY.pack(1, None in texts, _TEXT_TYPE, len(texts), 1)
    if None in texts:
        parts = (_NULL if text is None else _LENGTH.pack(len(text)) + text for text in texts)
        return head + b"".join(parts)
    lengths: Iterable[bytes] = map(_LENGTH.pack, map(len, texts))  # type: ignore[arg-type]
    return head + b"".join(chain.from_iterable(zip(lengths, texts, strict=True)))  # type: ignore[arg-type]


def _shown(value: Any) -> str | None:
    return None if value is None else str(value)


def _is(state: bytes, result: PGresult) -> bool:
    return result.status == _FATAL and result.error_field(DiagnosticField.SQLSTATE) == state


def _checked(result: PGresult) -> PGresult:
    if result.status not in _DONE:
        raise errors.error_from_result(result)
    return result
