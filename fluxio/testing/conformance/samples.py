"""What the cases work with: run ids, values, rows, openings, commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from fluxio.program import Manifest, ManifestEntry
from fluxio.store.base import (
    Checkpoint,
    Claim,
    Commit,
    Journal,
    Opening,
    OpenMode,
    Row,
    RowKind,
)
from fluxio.store.payload import Body, RowFacts, encode_body, seal_row
from fluxio.store.snapshot import row_from_checkpoint
from fluxio.types import RunStatus

PIPELINE = "shop.checkout"
VERSION = "5f2c9a10b3d4"
MANIFEST = Manifest(
    (
        ManifestEntry(key="reserve", kind="async", digest="a1" * 16),
        ManifestEntry(key="pick/premium/charge", kind="sync", digest="b2" * 16),
    )
)
OTHER_VERSION = "0d1e2f3a4b5c"
OTHER_MANIFEST = Manifest((*MANIFEST.entries[:1], replace(MANIFEST.entries[1], digest="c3" * 16)))
OWNER = "web-1:4711:8832:4026531836-1f2e3d4c"
HEIR = "web-2:815:1234:4026531836-aa55aa55"
LEASE_SECONDS = 30.0
MOMENT = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)

ENDINGS = {status.value: status for status in RunStatus if status is not RunStatus.RUNNING}
"""Every status that ends an execution."""

RUN_IDS = {
    "one letter": "a",
    "128 letters": "x" * 128,
    "a number": "0",
    "null": "null",
    "quotes": 'it\'s-"quoted"',
    "backslash": r"back\slash\n",
    "SQL": "1';DROP/**/TABLE/**/runs;--",
    "LIKE wildcards": "100%_done",
    "glob wildcards": "run*?[a-z]",
    "colons": "a:b::c:",
    "dots and slashes": "../../etc/passwd",
    "braces": "{run}{}${x}",
    "markup": "<b>&amp;</b>",
    "the other signs": "~!@#$^&()+=|,.`",
}
"""Ids that are allowed and need care."""

LOOKALIKES = {
    "A and a": ("A", "a"),
    "Run and run": ("Order-7", "order-7"),
    "x and x with a space": ("x", "x "),
    "e and e with an accent": ("e", "\u00e9"),
    "ss and sharp s": ("ss", "\u00df"),
    "i and dotless i": ("i", "\u0131"),
    "half and full width": ("7", "\uff17"),
    "a prefix": ("run-1", "run-10"),
    "a prefix before a colon": ("run", "run:1"),
    "a LIKE pattern": ("run_1", "runX1"),
    "a glob pattern": ("run*", "run-1"),
    "1 and 01": ("1", "01"),
    "1 and 1.0": ("1", "1.0"),
}
"""Pairs of ids that some comparison takes for one."""

PLAIN_VALUES: Mapping[str, Any] = {
    "none": None,
    "booleans": [True, False],
    "whole numbers": [0, 1, -1, 2**31, 2**53 + 1, -(2**63), 10**40],
    "fractions": [0.1, -0.0, 1.0, 1e22, 5e-324, 1.7976931348623157e308],
    "numbers that only look equal": [1, 1.0, True, 0, 0.0, False],
    "text": ["", " ", "na\u00efve \u65e5\u672c\u8a9e \U0001f680", "line\nbreak\ttab", "'\"\\"],
    "control characters": "\x00\x01\x1f\x7f\x80\u2028\u2029",
    "a lone surrogate": "\ud800 and \udfff",
    "text like other things": ["null", "1", "1e5", "{}", "$tag", "2026-02-28"],
    "empty containers": [[], {}, [[]], [{}]],
    "keys that need care": {"": 1, " ": 2, "a.b": 3, "$tuple": [1], "__class__": "x", "\u00e9": 4},
    "lists in lists": [[[1], [2, [3]]], []],
    "depth 60": None,
    "a thousand keys": {f"key-{number}": number for number in range(1000)},
    "1 MB of text": "0123456789abcdef" * 65536,
    "1 MB of emoji": "\U0001f680" * 87382,
}
"""Values that JSON has words for."""


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


PLAIN_VALUES = {**PLAIN_VALUES, "depth 60": _nested(60)}

TYPED_VALUES: Mapping[str, Any] = {
    "bytes": [b"", b"\x00\xff raw"],
    "tuples": [(), (1, (2, [3]))],
    "sets": [set(), {1, 2}, frozenset({"a", "b"})],
    "decimals": [Decimal("0.10"), Decimal("-0"), Decimal("1E+40")],
    "infinities": [float("inf"), float("-inf"), float("nan")],
    "identifiers": UUID("12345678-1234-5678-1234-567812345678"),
    "aware moments": [MOMENT, MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))],
    "naive moments": datetime(2026, 3, 1, 0, 0, 0, 1),  # noqa: DTZ001 - a value, not a time
    "dates and times": [
        date(1, 1, 1),
        time(23, 59, 59, 999999),
        timedelta(days=-1, microseconds=1),
    ],
    "large numbers": 2**5000,
    "typed values deep inside": {"order": {"lines": [{"price": Decimal("9.90"), "tags": ("a",)}]}},
}
"""Values that JSON has no words for."""

PAYLOADS = {
    "an empty object": "{}",
    "every printable character": "".join(map(chr, range(32, 127))),
    "quotes and backslashes": '"\\"\\\\\\u0000\'' * 5,
    "line breaks": "first\nsecond\r\nthird\n",
    "text like a number": "1e22",
    "text like null": "null",
    "leading and trailing spaces": "  spaced  ",
    "1 MB": '{"writes":{"text":"' + "abcdefghij" * 104858 + '"}}',
}
"""Sealed texts; stores must hand them back as they are."""


def checkpoint(run_id: str, values: Mapping[str, Any] | None = None, **facts: Any) -> Checkpoint:
    """A snapshot as a user would write it."""
    known: dict[str, Any] = {
        "run_id": run_id,
        "pipeline_version": VERSION,
        "ip": 0,
        "ctx_snapshot": {"order": 7} if values is None else dict(values),
        "created_at": MOMENT,
    }
    return Checkpoint(**{**known, **facts})


def start_row(run_id: str, values: Mapping[str, Any] | None = None, sequence: int = 0) -> Row:
    """A full row with a real seal, as an attempt begins."""
    return row_from_checkpoint(checkpoint(run_id, values), sequence=sequence, attempt=1)


def step_row(run_id: str, sequence: int, writes: Mapping[str, Any]) -> Row:
    """A STEP row with a real seal, as a stage that wrote these values leaves it."""
    facts = RowFacts(
        run_id=run_id,
        sequence=sequence,
        attempt=1,
        kind=RowKind.STEP,
        step="reserve",
        ip=sequence,
        version=VERSION,
        full=False,
        tries=1,
        created_at=MOMENT,
    )
    return seal_row(facts, encode_body(Body(writes=writes)))


def row(sequence: int, **facts: Any) -> Row:
    """A STEP row; its seal is made up, for stores must not look at it."""
    known: dict[str, Any] = {
        "sequence": sequence,
        "attempt": 1,
        "kind": RowKind.STEP,
        "step": "reserve",
        "ip": sequence,
        "branch": "",
        "background": False,
        "version": VERSION,
        "full": False,
        "payload": f'{{"writes":{{"step":{sequence}}},"route":null}}',
        "digest": f"{sequence:064x}",
        "duration": 0.25,
        "tries": 1,
        "created_at": MOMENT + timedelta(seconds=sequence),
    }
    return Row(**{**known, **facts})


def opening(run_id: str, mode: OpenMode = OpenMode.CREATE, **facts: Any) -> Opening:
    """A request to own a run of the sample pipeline."""
    known: dict[str, Any] = {
        "run_id": run_id,
        "pipeline": PIPELINE,
        "version": VERSION,
        "manifest": MANIFEST,
        "owner": OWNER,
        "lease_seconds": LEASE_SECONDS,
        "mode": mode,
        "start": None if mode is OpenMode.TAKE else start_row(run_id),
        "step": "reserve",
    }
    return Opening(**{**known, **facts})


def commit(*rows: Row, **facts: Any) -> Commit:
    """A commit of these rows; the run goes on unless a status says otherwise."""
    known: dict[str, Any] = {
        "rows": rows,
        "ip": rows[-1].ip if rows else 0,
        "step": "pick/premium/charge",
        "attempt": rows[-1].attempt if rows else 1,
    }
    return Commit(**{**known, **facts})


async def begin(journal: Journal, run_id: str, **facts: Any) -> Claim:
    """Create a run and own it."""
    return await journal.open(opening(run_id, **facts))


async def leave(
    journal: Journal, run_id: str, status: RunStatus = RunStatus.FAILED, rows: int = 1
) -> Claim:
    """Create a run, commit some rows and end its execution; the claim is spent."""
    claim = await begin(journal, run_id)
    steps = [row(sequence) for sequence in range(1, rows + 1)]
    await journal.commit(claim, commit(*steps, status=status))
    return claim
