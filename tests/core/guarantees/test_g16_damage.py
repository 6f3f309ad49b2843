"""G16: a row that is corrupt, cut off, foreign or newer is detected before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from fluxio import Context, CorruptCheckpointError, InMemoryStore, Pipeline, stage
from fluxio.codec import seal
from fluxio.store.base import Row, RowKind
from fluxio.store.payload import Body, RowFacts, binding_of, encode_body, seal_row
from fluxio.testing.crashes import crash_at
from tests.proofs.tally import Tally

SEQUENCE = 1
"""The row that is harmed, one of three."""


class Patient:
    """A run that stopped behind its second step, and goes on as long as nobody harms its rows."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.store = InMemoryStore()
        nodes = [self._step("a", "x" * 970), self._step("b", 1), self._step("c", 1)]
        self.pipeline = Pipeline(nodes, durable=True, checkpoint_store=self.store, name="p")

    def _step(self, name: str, value: Any) -> Any:
        async def body(ctx: Context) -> Context:
            self.ran.append(name)
            return ctx.set(name, value)

        return stage(name=name, version="1")(body)

    async def fall_ill(self, run_id: str = "r") -> None:
        with crash_at(self.pipeline, 2):
            await self.pipeline.invoke({}, run_id=run_id)
        self.ran.clear()

    def rows(self, run_id: str = "r") -> list[Row]:
        return self.store._journal._logs[run_id].rows

    async def refuses(self, changed: Row, sequence: int = SEQUENCE, run_id: str = "r") -> bool:
        """Whether a resume finds the change out and runs nothing; the row is healed again."""
        rows = self.rows(run_id)
        healthy, rows[sequence] = rows[sequence], changed
        try:
            await self.pipeline.invoke({}, run_id=run_id, resume=True)
        except CorruptCheckpointError:
            return not self.ran
        finally:
            rows[sequence] = healthy
        return False


def flipped(text: str) -> Iterator[str]:
    """The text with each of its bits flipped, one at a time."""
    raw = text.encode("ascii")
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        yield changed.decode("latin-1")


async def test_g16_every_bit_flip_and_every_truncation_of_a_row_is_detected(tally: Tally) -> None:
    patient = Patient()
    await patient.fall_ill()
    row = patient.rows()[SEQUENCE]
    assert 1000 <= row.size <= 1100
    missed: list[str] = []
    tried = 0
    for field in ("payload", "digest"):
        text: str = getattr(row, field)
        harmed = [*flipped(text), *(text[:length] for length in range(len(text)))]
        for number, changed in enumerate(harmed):
            tried += 1
            if not await patient.refuses(replace(row, **{field: changed})):
                missed.append(f"{field} {number}")
    tally.add("G16", "memory", tried, len(missed))
    assert tried > 9_000
    assert missed == []
    assert dict(await patient.pipeline.invoke({}, run_id="r", resume=True))["c"] == 1


FIELDS: dict[str, Callable[[Any], Any]] = {
    "sequence": lambda sequence: sequence + 1,
    "attempt": lambda attempt: attempt + 1,
    "kind": lambda kind: RowKind.ERROR,
    "step": lambda step: "b",
    "ip": lambda ip: ip + 1,
    "branch": lambda branch: "fan/left",
    "background": lambda background: True,
    "version": lambda version: version[::-1],
    "full": lambda full: True,
    "tries": lambda tries: tries + 1,
}


@pytest.mark.parametrize("field", FIELDS)
async def test_g16_every_fact_about_a_row_is_bound_to_it(field: str, tally: Tally) -> None:
    patient = Patient()
    await patient.fall_ill()
    row = patient.rows()[SEQUENCE]
    found = await patient.refuses(replace(row, **{field: FIELDS[field](getattr(row, field))}))
    tally.add("G16", "memory", 1, not found)
    assert found


async def test_g16_rows_that_changed_places_are_detected_and_other_runs_go_on(
    tally: Tally,
) -> None:
    patient = Patient()
    for run_id in ("one", "other", "bystander"):
        await patient.fall_ill(run_id)
    one, other = patient.rows("one"), patient.rows("other")
    found = [
        await patient.refuses(other[SEQUENCE], run_id="one"),
        await patient.refuses(one[2], run_id="one"),
        await patient.refuses(one[0], run_id="one"),
        await patient.refuses(replace(one[2], sequence=SEQUENCE), run_id="one"),
    ]
    tally.add("G16", "memory", len(found), found.count(False))
    assert all(found)
    final = await patient.pipeline.invoke({}, run_id="bystander", resume=True)
    assert final["c"] == 1


def sealed_anew(row: Row, **facts: Any) -> Row:
    """The row as somebody might write it who knows how rows are sealed."""
    return seal_row(
        RowFacts(
            **{
                "run_id": "r",
                "sequence": row.sequence,
                "attempt": row.attempt,
                "kind": row.kind,
                "step": row.step,
                "ip": row.ip,
                "version": row.version,
                "full": row.full,
                "created_at": row.created_at,
                "tries": row.tries,
                **facts,
            }
        ),
        encode_body(Body(writes={"a": 1})),
    )


POINTERS: dict[str, dict[str, Any]] = {
    "a step that does not exist": {"step": "gone"},
    "a step that is not due": {"step": "c"},
    "a pointer behind the end": {"ip": 99},
    "a pointer in front of the beginning": {"ip": -1},
    "a pointer that does not follow": {"ip": 2},
    "a full row without a state": {"full": True},
}


@pytest.mark.parametrize("pointer", POINTERS)
async def test_g16_a_row_that_points_elsewhere_is_detected(pointer: str, tally: Tally) -> None:
    patient = Patient()
    await patient.fall_ill()
    row = sealed_anew(patient.rows()[SEQUENCE], **POINTERS[pointer])
    found = await patient.refuses(row)
    tally.add("G16", "memory", 1, not found)
    assert found


async def test_g16_a_row_of_a_newer_release_is_detected_and_says_so(tally: Tally) -> None:
    patient = Patient()
    await patient.fall_ill()
    row = patient.rows()[SEQUENCE]
    newer = f"2{row.payload[1:]}"
    found = await patient.refuses(replace(row, payload=newer))
    tally.add("G16", "memory", 1, not found)
    assert found
    patient.rows()[SEQUENCE] = replace(row, payload=newer)
    with pytest.raises(CorruptCheckpointError, match="Upgrade fluxio"):
        await patient.pipeline.invoke({}, run_id="r", resume=True)


NO_BODIES = (
    '{"writes":{}}',
    '{"writes":[],"route":null}',
    '{"writes":{},"route":1}',
    '{"writes":{},"route":null,"error":["a"]}',
    '{"writes":{},"route":null,"lanes":{"":1}}',
    '{"writes":{},"route":null,"lanes":[1]}',
    '{"writes":{},"route":null,"lanes":{"":{"at":"b"}}}',
    '{"writes":{},"route":null,"lanes":{"":{"at":["b"],"values":{},"writes":{}}}}',
    '{"writes":{},"route":null,"lanes":{"":{"at":"b","values":[1],"writes":{}}}}',
    '{"writes":{},"route":null,"lanes":{"":{"at":"b","values":{},"writes":[1]}}}',
    '{"writes":{},"route":null,"lanes":{"x":{"at":"b","values":{},"writes":{}}}}',
    '{"writes":{},"route":null,"lanes":{}}',
)


async def test_g16_a_row_that_is_no_row_is_detected(tally: Tally) -> None:
    patient = Patient()
    await patient.fall_ill()
    row = patient.rows()[SEQUENCE]
    found = []
    for text in ("", "null", "[]", "{}", '"x"', *NO_BODIES):
        sealed = seal(text, binding_of("r", row))
        changed = replace(row, payload=sealed.payload, digest=sealed.digest)
        found.append(await patient.refuses(changed))
    tally.add("G16", "memory", len(found), found.count(False))
    assert all(found)
