"""Reads what people type: JSON objects, `key=JSON` pairs, moments of a run."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import CommandError

from fluxio.codec import InputLimits, parse_json
from fluxio.errors import DecodingError
from fluxio.runtime.reading import Moment
from fluxio_django.management.refusal import refusal
from fluxio_django.management.terminal import clean, columns_of

STANDARD_INPUT = "-"
RUN_ID_HELP = "The id of a run; fluxio_runs lists the newest ones."

_LIMITS = InputLimits()
_WINDOW = 60
"""Columns of a faulty line that are shown before the fault, and as many after it."""


def read_object(given: str | None, file: str | None) -> dict[str, Any]:
    """The object of --input or --input-file; empty where neither was given.

    Raises:
        CommandError: it cannot be read, is no JSON, or is no object.
    """
    if file is not None and file != STANDARD_INPUT:
        return parse_object(_file_content(file), f"--input-file {clean(file)}")
    if STANDARD_INPUT in (given, file):
        return parse_object(_limited(sys.stdin.buffer), "standard input")
    return {} if given is None else parse_object(given, "--input")


def parse_object(text: str | bytes, source: str) -> dict[str, Any]:
    """The JSON object in a text; `source` says where it came from.

    Raises:
        CommandError: it is no JSON or no object; where it is no JSON, the place is pointed at.
    """
    value = _parse(text, source)
    if not isinstance(value, dict):
        raise refusal(
            f"{source} is {_KINDS[type(value)]}, but a context is made from an object. "
            'Write {"order_id": 42}, for instance.'
        )
    return value


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """The values of `key=JSON` pairs.

    Raises:
        CommandError: a pair has no key, is given twice, or its value is no JSON.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise refusal(f"{option} {pair!r} is no pair. Write {option} total=42, for instance.")
        if key in values:
            raise refusal(f"{option} sets {key!r} twice. Leave one of them out.")
        values[key] = _parse(text, f"{option} {clean(key)}", hint=_quoting_hint(text))
    return values


def moment(text: str) -> Moment:
    """A recorded moment: digits are the number of a row, anything else is a step."""
    return int(text) if text.isascii() and text.isdigit() else text


def at_least_one(text: str) -> int:
    """A whole number from 1 on, as argparse wants it."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 to 999999999")
    return int(text)


_KINDS = {
    list: "an array",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def _parse(text: str | bytes, source: str, hint: str = "") -> Any:
    try:
        return parse_json(text, _LIMITS)
    except DecodingError as problem:
        line, column = int(problem.__dict__["line"]), int(problem.__dict__["column"])
        raise _misfit(problem, source, _pointed_at(text, line, column), hint) from problem


def _misfit(problem: DecodingError, source: str, pointed: str, hint: str) -> CommandError:
    return refusal(f"{source} was not taken. {problem}{hint}{pointed}")


def _pointed_at(text: str | bytes, line: int, column: int) -> str:
    """The faulty line with a caret under the fault, or nothing where the whole is the fault."""
    if len(text) > _LIMITS.max_bytes:
        return ""
    whole = text if isinstance(text, str) else _by_column(text)
    # Lines end at line feeds only, as the parser counts them.
    faulty = [*whole.split("\n"), ""][line - 1].rstrip("\r")
    before = clean(faulty[max(0, column - 1 - _WINDOW) : column - 1])
    after = clean(faulty[column - 1 : column - 1 + _WINDOW])
    return f"\n    {before}{after}\n    {' ' * columns_of(before)}^"


def _by_column(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        # The parser counts bytes where it cannot count characters.
        return data.decode("latin-1")


def _quoting_hint(text: str) -> str:
    plain = bool(text) and not text.lstrip().startswith(("{", "[", '"'))
    return " A text needs quotes of its own: name='\"Ada\"'." if plain else ""


def _file_content(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return _limited(file)
    except OSError as problem:
        raise refusal(f"--input-file {name}: {problem.strerror}. Name a file.") from problem


def _limited(stream: BinaryIO) -> bytes:
    # One byte more than is allowed is enough for the parser to refuse it.
    return stream.read(_LIMITS.max_bytes + 1).removeprefix(BOM_UTF8)
