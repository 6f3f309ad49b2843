"""What is left of a run after all that was done to it, held against all that was promised."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from fluxio.context import Context
from fluxio.diff import compare
from fluxio.errors import CorruptCheckpointError, FluxioError
from fluxio.runtime.history import Log
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.store.payload import open_row
from fluxio.types import RunStatus
from fluxio.verification import EffectKind, verify_effects, verify_log
from tests.durability.harness.actors import Finding, Part, pipeline_of
from tests.durability.harness.effects import read_effects
from tests.durability.harness.houses import House
from tests.durability.harness.plans import expect
from tests.durability.harness.topologies import TOPOLOGIES


class Wrong(StrEnum):
    """What can be wrong beside the rules of `fluxio.verification`."""

    LOST = "lost"
    """The run is gone, or cannot be resumed, though stages of it ran."""
    UNFINISHED = "unfinished"
    """It did not succeed, or not all of its steps are recorded."""
    RESULT = "result"
    """Its values are not those that its stages set."""
    LEDGER = "ledger"
    """What its transactional stages wrote is there twice, or not at all."""
    ANSWER = "answer"
    """An execution ended with an error that it should not have, or without the one it should."""

    HANG = "hang"
    """Somebody waited for something that did not come."""


def judge(part: Part, *, interruptions: int) -> list[Finding]:
    """Everything that is wrong with a run that should have come to its end."""
    house = House(part.house)
    try:
        record, rows = house.record_and_rows(part.run_id)
    except CorruptCheckpointError as problem:
        return [(Wrong.LOST, str(problem))]
    if record is None:
        return [(Wrong.LOST, "no run is recorded")]
    program = pipeline_of(part.house, part.topology).compiled
    violations = verify_log(record, rows, program)
    noted = read_effects(part.effects)
    violations += verify_effects(rows, noted, interruptions=interruptions)
    found: list[Finding] = [(one.rule, one.message) for one in violations]
    if record.status is not RunStatus.SUCCEEDED:
        found.append((Wrong.UNFINISHED, f"the run is {record.status}: {record.error}"))
    try:
        found += _outcome(house, part.topology, record, rows)
    except (FluxioError, KeyError) as problem:
        found.append((Wrong.RESULT, f"the log cannot be read: {problem!r}"))
    return found


def _outcome(
    house: House, topology: str, record: RunRecord, rows: Sequence[Row]
) -> Iterator[Finding]:
    steps = [row for row in rows if row.kind is RowKind.STEP]
    bodies = {row.step: open_row(record.run_id, row) for row in steps}
    routes = {step: body.route for step, body in bodies.items() if body.route is not None}
    expected = expect(TOPOLOGIES[topology], routes)
    if missing := expected.steps - set(bodies):
        yield (Wrong.UNFINISHED, f"not recorded: {', '.join(sorted(missing))}")
    if surplus := set(bodies) - expected.steps:
        yield (Wrong.RESULT, f"recorded, but not on the way: {', '.join(sorted(surplus))}")
    differences = compare(Log.open(record.run_id, rows).values(), Context.create(expected.values))
    if differences:
        yield (Wrong.RESULT, f"differing values: {', '.join(differences)}")
    booked = house.booked(record.run_id)
    if house.is_relational and booked != expected.booked:
        yield (Wrong.LEDGER, f"{booked} was booked, not {expected.booked}")


def stages_ran(effects: str) -> bool:
    """Whether any stage began."""
    return any(effect.kind is EffectKind.STARTED for effect in read_effects(effects))
