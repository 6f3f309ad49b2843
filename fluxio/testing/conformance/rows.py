"""What a row looks like when it is read again, and which rows are read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fluxio.store.base import RowKind
from fluxio.testing.conformance.case import Capability, Subject, Topic
from fluxio.testing.conformance.expect import same
from fluxio.testing.conformance.samples import (
    MOMENT,
    PAYLOADS,
    begin,
    commit,
    row,
)

TOPIC = Topic("rows", frozenset({Capability.JOURNAL}))

_SHAPES: dict[str, dict[str, Any]] = {
    "a step": {"kind": RowKind.STEP, "tries": 3},
    "an error": {"kind": RowKind.ERROR, "step": "pick/premium/charge"},
    "an end": {"kind": RowKind.END, "step": "", "tries": 0, "duration": 0.0},
    "the start of an attempt": {"kind": RowKind.START, "step": "", "full": True, "attempt": 2},
    "a full step": {"full": True},
    "a branch": {"branch": "fan_out/fetch_orders", "step": "fan_out/fetch_orders/get#2"},
    "a background branch": {"branch": "notify/mail", "background": True},
    "a long step key": {"step": "/".join(["route"] * 84)[:500]},
    "a long branch": {"branch": "/".join(["fan_out"] * 63)[:500]},
    "other scripts": {"step": "prüfen/\u65e5\u672c/\U0001f680", "branch": "größe"},
    "quotes in a key": {"step": 'it\'s "quoted" \\ %s {} :x'},
    "a far instruction": {"ip": 2**31 - 1},
    "a late attempt": {"attempt": 100_000},
    "many tries": {"tries": 100_000},
    "a duration that binary cannot hold": {"duration": 0.1 + 0.2},
    "a tiny duration": {"duration": 1e-9},
    "a day and more": {"duration": 86_400.000001},
    "the last microsecond of a year": {"created_at": MOMENT.replace(month=12, day=31)},
    "the first moment after 2038": {"created_at": MOMENT + timedelta(days=5000)},
    "a moment without microseconds": {"created_at": MOMENT.replace(microsecond=0)},
    "another version": {"version": "0" * 12},
    "another digest": {"digest": "f" * 64},
}


@TOPIC.promise("A row of any shape comes back equal, field by field.", over=_SHAPES)
async def a_row_comes_back(subject: Subject, facts: dict[str, Any]) -> None:
    claim = await begin(subject.journal, "run")
    written = row(1, **facts)
    await subject.journal.commit(claim, commit(written, attempt=1, ip=1))
    same(await subject.journal.rows("run", first=1), [written], "the row")


@TOPIC.promise("A payload comes back character by character.", over=PAYLOADS)
async def a_payload_comes_back(subject: Subject, payload: str) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1, payload=payload)))
    (found,) = await subject.journal.rows("run", first=1)
    same(found.payload, payload, "the payload")
    same(found.size, len(payload), "its size in bytes")


@TOPIC.promise("Types stay what they are: flags are bool, numbers int, durations float.")
async def fields_keep_their_types(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(row(1, duration=2.0)))
    (found,) = await subject.journal.rows("run", first=1)
    kinds = [type(it) for it in (found.full, found.background, found.ip, found.duration)]
    same(kinds, [bool, bool, int, float], "the types")
    same(type(found.kind), RowKind, "the type of the kind")


@TOPIC.promise("Many rows of 10 KB in one commit are kept.")
async def a_large_commit_is_kept(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    rows = [row(sequence, payload=f"{sequence:010d}" * 1024) for sequence in range(1, 101)]
    await subject.journal.commit(claim, commit(*rows))
    same(await subject.journal.rows("run", first=1), rows, "the rows")


_RANGES: dict[str, tuple[int, int | None, range]] = {
    "all": (0, None, range(13)),
    "from one on": (5, None, range(5, 13)),
    "up to one": (0, 3, range(4)),
    "between two": (2, 11, range(2, 12)),
    "exactly one": (7, 7, range(7, 8)),
    "the newest": (12, 12, range(12, 13)),
    "beyond the newest": (10, 99, range(10, 13)),
    "only beyond": (13, None, range(0)),
    "backwards": (5, 4, range(0)),
}


@TOPIC.promise("A range gives its rows, ascending by number.", over=_RANGES)
async def a_range_is_read(subject: Subject, asked: tuple[int, int | None, range]) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(*(row(sequence) for sequence in range(1, 13))))
    first, last, expected = asked
    found = await subject.journal.rows("run", first=first, last=last)
    same([it.sequence for it in found], list(expected), "the sequences")


_FULL_ROWS: dict[str, tuple[int | None, int]] = {
    "at all": (None, 9),
    "up to the newest row": (12, 9),
    "up to a full row": (9, 9),
    "up to the row before a full one": (8, 5),
    "up to the first full row after the start": (5, 5),
    "up to row 4": (4, 0),
    "up to the start": (0, 0),
    "beyond the newest row": (1000, 9),
}


@TOPIC.promise("The newest full row is found.", over=_FULL_ROWS)
async def the_newest_full_row_is_found(subject: Subject, asked: tuple[int | None, int]) -> None:
    claim = await begin(subject.journal, "run")
    steps = [row(sequence, full=sequence in (5, 9)) for sequence in range(1, 13)]
    await subject.journal.commit(claim, commit(*steps[:7]))
    await subject.journal.commit(claim, commit(*steps[7:]))
    upto, expected = asked
    same(await subject.journal.last_full("run", upto=upto), expected, "the newest full row")


@TOPIC.promise("A run without a full row but its first begins there.")
async def the_start_is_the_first_full_row(subject: Subject) -> None:
    claim = await begin(subject.journal, "run")
    await subject.journal.commit(claim, commit(*(row(sequence) for sequence in range(1, 30))))
    same(await subject.journal.last_full("run"), 0, "the newest full row")


@TOPIC.promise("Reading rows changes nothing, and the list given is the caller's own.")
async def reading_gives_a_list_of_its_own(subject: Subject) -> None:
    await begin(subject.journal, "run")
    first = await subject.journal.rows("run")
    first.clear()
    same(len(await subject.journal.rows("run")), 1, "how many rows there are")
