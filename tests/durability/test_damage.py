"""A row that was changed behind the store's back is found out before anything runs."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from fluxio import CorruptCheckpointError
from fluxio.testing.faults import Fault, FaultMode, FaultyStore
from fluxio.verification import EffectKind
from fluxio_django.models import Checkpoint, Run
from tests.durability.harness.actors import Verb
from tests.durability.harness.effects import read_effects
from tests.durability.harness.houses import House
from tests.durability.harness.starving import Starving
from tests.durability.harness.topologies import TOPOLOGIES
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
        before = self.stages()
        try:
            self.run.execute(Verb.RESUME)
        except Exception as problem:
            answer = type(problem).__name__
        else:
            answer = "it went on"
        ran = self.stages() - before
        return f"{answer}, and {ran} stages ran" if ran else answer

    def stages(self) -> int:
        """How many stages have begun."""
        noted = read_effects(self.run.effects)
        return sum(effect.kind is EffectKind.STARTED for effect in noted)

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


def harmed_texts(text: str, samples: int | None) -> Iterator[tuple[str, str]]:
    """Bit flips and truncations, with their names: so many of each, or all of them."""
    bits, cuts = range(len(text) * 8), range(len(text))
    if samples is not None:
        chance = random.Random(samples)
        bits, cuts = (chance.sample(places, samples) for places in (bits, cuts))
    for bit in bits:
        changed = flipped(text, bit)
        if "\0" not in changed:  # PostgreSQL keeps no such text
            yield f"bit {bit} flipped", changed
    for cut in cuts:
        yield f"cut after {cut} characters", text[:cut]


def each_harm(patient: Patient, samples: int | None) -> Iterator[tuple[str, int, Damage]]:
    """Every way to harm one row: its name, the row, and what it does to the values."""
    for sequence in (0, 1, 2):
        row = patient.values(sequence)
        for column in ("payload", "digest"):
            for name, changed in harmed_texts(row[column], samples):
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


def hold_against(patient: Patient, tally: Tally, samples: int | None) -> None:
    """Harm the run in every way, one after the other, and let it go on in the end."""
    broken = []
    for name, sequence, damage in each_harm(patient, samples):
        heal = patient.harm(sequence, damage)
        answer = patient.resume()
        heal()
        tally.add("G16", patient.house.title, 1, answer != "CorruptCheckpointError")
        if answer != "CorruptCheckpointError":
            broken.append(f"row {sequence}, {name}: {answer}")
    assert not broken, f"{len(broken)}: " + "\n".join(broken[:5])
    assert patient.run.finish() == []


def test_a_row_that_was_changed_is_found_out_and_nothing_runs(
    make: Callable[[], Patient], tally: Tally
) -> None:
    """G16: flipped bits, truncations, and wrong values in every column that counts."""
    hold_against(make(), tally, SAMPLES)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_bit_and_every_length_of_a_row_counts(
    make: Callable[[], Patient], tally: Tally
) -> None:
    """G16: every bit flip and every truncation of every row."""
    hold_against(make(), tally, None)


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
