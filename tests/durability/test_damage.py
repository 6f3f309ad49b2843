"""A row that was changed behind the store's back is found out before anything runs."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from fluxio import CorruptCheckpointError
from fluxio.store.base import Row
from fluxio.store.payload import open_row
from fluxio.testing.conformance.samples import start_row, step_row
from fluxio.testing.faults import Fault, FaultMode, FaultyStore
from fluxio.verification import EffectKind
from fluxio_django.models import Checkpoint, Run
from tests.durability.harness.actors import Verb
from tests.durability.harness.effects import read_effects
from tests.durability.harness.houses import House
from tests.durability.harness.starving import Starving
from tests.durability.harness.topologies import TOPOLOGIES
from tests.proofs.sizes import Scale, Size
from tests.proofs.tally import Tally

pytestmark = pytest.mark.durability

SAMPLES = 8
"""Bits that are flipped, and places that are cut, in each row."""

Values = dict[str, Any]
Damage = Callable[[Values], Values]


@dataclass
class Patient:
    """A run of three rows that was interrupted, and can be resumed as long as nobody harms it."""

    house: House
    run: Starving

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.run.run_id

    @property
    def rows(self) -> Any:
        """Its rows, as a query."""
        rows = Checkpoint.objects.using(self.house.name).filter(run__run_id=self.run_id)
        return rows.order_by("sequence")

    def values(self, sequence: int) -> Values:
        """One row as it is stored."""
        found: Values = self.rows.values().get(sequence=sequence)
        return found

    def harm(self, sequence: int, damage: Damage) -> Callable[[], None]:
        """Change one row; what is returned changes it back."""
        healthy = self.values(sequence)
        stored = Checkpoint.objects.using(self.house.name).filter(pk=healthy["id"])
        stored.update(**damage(dict(healthy)))
        return lambda: stored.update(**healthy) and None

    def resume(self) -> str:
        """Try to go on; the type of what was raised, or what ran in spite of the damage."""
        before = Path(self.run.effects).stat().st_size
        try:
            self.run.execute(Verb.RESUME)
        except Exception as problem:
            answer = type(problem).__name__
        else:
            answer = "it went on"
        noted = read_effects(self.run.effects, after=before)
        ran = sum(effect.kind is EffectKind.STARTED for effect in noted)
        return f"{answer}, and {ran} stages ran" if ran else answer

    def violations(self) -> list[str]:
        """The rules that fluxio_verify says are broken."""
        out = StringIO()
        with (
            override_settings(FLUXIO={"DATABASE": self.house.name}),
            pytest.raises(CommandError) as caught,
        ):
            call_command("fluxio_verify", self.run_id, "--json", stdout=out)
        assert caught.value.returncode == 1
        return [violation["rule"] for violation in json.loads(out.getvalue())["violations"]]


@pytest.fixture
def make(relational: House, tmp_path: Path) -> Callable[[], Patient]:
    """Makes interrupted runs."""

    def interrupted() -> Patient:
        run = Starving(house=relational, topology="linear", folder=tmp_path)
        down = Fault(mode=FaultMode.UNAVAILABLE, call=4, forever=True)
        assert not run.execute(Verb.START, FaultyStore(relational.store(), down))
        run.forsake()
        return Patient(relational, run)

    return interrupted


def flipped(text: str, bit: int) -> str:
    """The text with one bit of its bytes flipped."""
    raw = bytearray(text, "ascii")
    raw[bit // 8] ^= 1 << bit % 8
    return raw.decode("latin-1")


def harmed_texts(text: str, size: Size) -> Iterator[tuple[str, str]]:
    """Bit flips and truncations, with their names: a sample of each, or all of them."""
    for place in size.points(len(text) * 8, pull_request=SAMPLES):
        changed = flipped(text, place - 1)
        if "\0" not in changed:  # PostgreSQL keeps no such text
            yield f"bit {place - 1} flipped", changed
    for place in size.points(len(text), pull_request=SAMPLES):
        yield f"cut after {place - 1} characters", text[: place - 1]


def each_harm(patient: Patient, size: Size) -> Iterator[tuple[str, int, Damage]]:
    """Every way to harm one row: its name, the row, and what it does to the values."""
    for sequence in (0, 1, 2):
        row = patient.values(sequence)
        for column in ("payload", "digest"):
            for name, changed in harmed_texts(row[column], size):
                yield f"{column}: {name}", sequence, lambda v, c=column, t=changed: {**v, c: t}
    for column, change in COLUMNS.items():
        yield f"wrong {column}", 1, lambda v, c=column, f=change: {**v, c: f(v[c])}


COLUMNS: dict[str, Callable[[Any], Any]] = {
    "ip": lambda ip: ip + 1,
    "attempt": lambda attempt: attempt + 1,
    "kind": lambda kind: "error",
    "step": lambda step: "ship",
    "branch": lambda branch: "fan/left",
    "background": lambda background: not background,
    "version": lambda version: version[::-1],
    "full": lambda full: not full,
    "tries": lambda tries: tries + 1,
    "payload": lambda payload: payload.replace("1:", "2:", 1),
}


def hold_against(patient: Patient, tally: Tally, size: Size) -> None:
    """Harm the run in every way, one after the other, and let it go on in the end."""
    broken = []
    for name, sequence, damage in each_harm(patient, size):
        heal = patient.harm(sequence, damage)
        answer = patient.resume()
        heal()
        tally.add("G16", patient.house.title, 1, answer != "CorruptCheckpointError")
        if answer != "CorruptCheckpointError":
            broken.append(f"row {sequence}, {name}: {answer}")
    assert not broken, f"{len(broken)}: " + "\n".join(broken[:5])
    assert patient.run.finish() == []


def test_a_row_that_was_changed_is_found_out_and_nothing_runs(
    make: Callable[[], Patient], tally: Tally, size: Size
) -> None:
    """G16: flipped bits, truncations, and wrong values in every column that counts.

    A pull request samples the bits and the lengths of each row; a soak takes all of them.
    """
    hold_against(make(), tally, size)


@pytest.mark.parametrize("sequence", [0, 1])
def test_every_bit_and_every_length_of_a_row_counts(tally: Tally, sequence: int) -> None:
    """G16: of a row of 1 KB, with no database in between."""
    values = {"text": "x" * 900, "number": Decimal("1.5")}
    row = step_row("damaged", 1, values) if sequence else start_row("damaged", values)
    assert open_row("damaged", row)
    every = Size(scale=Scale.SOAK)
    harmed = [
        (f"{column}: {name}", replace(row, **{column: changed}))
        for column in ("payload", "digest")
        for name, changed in harmed_texts(getattr(row, column), every)
    ]
    assert len(harmed) > 9_000
    unseen = [name for name, changed in harmed if not is_refused(changed)]
    tally.add("G16", "memory", len(harmed), len(unseen))
    assert unseen == []


def is_refused(row: Row) -> bool:
    """Whether a row of the run "damaged" is recognised for what it is."""
    try:
        open_row("damaged", row)
    except CorruptCheckpointError:
        return True
    return False


def swap(one: Patient, a: int, other: Patient, b: int) -> None:
    """Exchange the contents of two rows."""
    columns = ("payload", "digest")
    first, second = one.values(a), other.values(b)
    one.harm(a, lambda values: {**values, **{c: second[c] for c in columns}})
    other.harm(b, lambda values: {**values, **{c: first[c] for c in columns}})


def test_rows_that_changed_places_are_found_out_and_other_runs_go_on(
    make: Callable[[], Patient], tally: Tally
) -> None:
    """G16: between two runs, and within one."""
    one, other, third, bystander = make(), make(), make(), make()
    swap(one, 1, other, 1)
    swap(third, 1, third, 2)
    answers = [patient.resume() for patient in (one, other, third)]
    wrong = [answer for answer in answers if answer != "CorruptCheckpointError"]
    tally.add("G16", one.house.title, len(answers), len(wrong))
    assert wrong == []
    assert bystander.run.finish() == []


@pytest.mark.parametrize("sequence", [0, 1, 2], ids=["first", "middle", "newest"])
def test_a_row_that_is_missing_is_found_out(
    make: Callable[[], Patient], tally: Tally, sequence: int
) -> None:
    """G16: the first, one in between, and the newest."""
    patient = make()
    patient.rows.filter(sequence=sequence).delete()
    answer = patient.resume()
    tally.add("G16", patient.house.title, 1, answer != "CorruptCheckpointError")
    assert patient.violations() != []
    assert answer == "CorruptCheckpointError"


def test_a_row_that_was_added_is_found_out(make: Callable[[], Patient], tally: Tally) -> None:
    """G16: a copy of an older row behind the newest one."""
    patient = make()
    copy = patient.values(1)
    del copy["id"]
    Checkpoint.objects.using(patient.house.name).create(**{**copy, "sequence": 3})
    answer = patient.resume()
    tally.add("G16", patient.house.title, 1, answer != "CorruptCheckpointError")
    assert patient.violations() != []
    assert answer == "CorruptCheckpointError"


def test_the_result_of_a_finished_run_is_not_given_from_damaged_rows(
    relational: House, tmp_path: Path, tally: Tally
) -> None:
    """G16: a finished run is only read, and read with the same care."""
    run = Starving(house=relational, topology="linear", folder=tmp_path)
    assert run.execute(Verb.START)
    patient = Patient(relational, run)
    patient.harm(4, lambda values: {**values, "payload": flipped(values["payload"], 200)})
    with pytest.raises(CorruptCheckpointError):
        relational.pipeline("linear", TOPOLOGIES["linear"]).resume_sync(run.run_id)
    assert Run.objects.using(relational.name).get(run_id=run.run_id).status == "succeeded"
    assert "seal" in patient.violations()
    tally.add("G16", relational.title)
