"""What is left of a run after all that was done to it, held against all that was promised."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from fluxio.context import Context
from fluxio.diff import compare
from fluxio.errors import CorruptCheckpointError, FluxioError, StoreError, StoreUnavailableError
from fluxio.runtime.history import Log
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.store.payload import open_row
from fluxio.types import RunStatus
from fluxio.verification import EffectKind, Rule, verify_effects, verify_log
from tests.durability.harness.actors import Finding, Part, pipeline_of
from tests.durability.harness.effects import read_effects
from tests.durability.harness.houses import House
from tests.durability.harness.plans import PRICE, expect
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


GUARANTEES: Mapping[str, str] = {
    Rule.ORDER: "G1",
    Rule.SEAL: "G16",
    Rule.RECORD: "G1",
    Rule.ONCE: "G1",
    Rule.ROUTE: "G10",
    Rule.PROGRAM: "G1",
    Rule.RERUN: "G1",
    Rule.COMMITTER: "G2",
    Rule.EXECUTIONS: "G4",
    Wrong.LOST: "G1",
    Wrong.UNFINISHED: "G1",
    Wrong.RESULT: "G1",
    Wrong.LEDGER: "G3",
    Wrong.ANSWER: "G1",
    Wrong.HANG: "G7",
}
"""Which guarantee a broken rule belongs to, where the trial does not say it better."""


def broken_by(findings: Iterable[Finding]) -> set[str]:
    """The guarantees that were broken."""
    return {GUARANTEES[rule] for rule, _ in findings}


def judge(part: Part, *, interruptions: int, background_may_fail: bool = False) -> list[Finding]:
    """Everything that is wrong with a run that should have come to its end.

    Where the database fails under a stage's own statements that is the stage's failure, which in
    the background ends the branch and is recorded; `background_may_fail` says that it may be so. A
    failure of the store never ends a branch.
    """
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
        forgiven = _failed_in_background(part.run_id, rows) if background_may_fail else set()
        found += _outcome(house, part.topology, record, rows, forgiven)
    except (FluxioError, KeyError) as problem:
        found.append((Wrong.RESULT, f"the log cannot be read: {problem!r}"))
    return found


_STORE_FAILURES = {StoreError.__qualname__, StoreUnavailableError.__qualname__}


def _failed_in_background(run_id: str, rows: Sequence[Row]) -> set[str]:
    closed = (row for row in rows if row.kind is RowKind.ERROR and row.background)
    errors = ((row.step, open_row(run_id, row).error) for row in closed)
    return {step for step, error in errors if error and error.type not in _STORE_FAILURES}


def _outcome(
    house: House, topology: str, record: RunRecord, rows: Sequence[Row], forgiven: set[str]
) -> Iterator[Finding]:
    steps = [row for row in rows if row.kind is RowKind.STEP]
    bodies = {row.step: open_row(record.run_id, row) for row in steps}
    routes = {step: body.route for step, body in bodies.items() if body.route is not None}
    expected = expect(TOPOLOGIES[topology], routes)
    if missing := expected.steps - set(bodies) - forgiven:
        yield (Wrong.UNFINISHED, f"not recorded: {', '.join(sorted(missing))}")
    if surplus := set(bodies) - expected.steps:
        yield (Wrong.RESULT, f"recorded, but not on the way: {', '.join(sorted(surplus))}")
    differences = compare(Log.open(record.run_id, rows).values(), Context.create(expected.values))
    if differences:
        yield (Wrong.RESULT, f"differing values: {', '.join(differences)}")
    booked, due = house.booked(record.run_id), PRICE * len(expected.booking - forgiven)
    if house.is_relational and booked != due:
        yield (Wrong.LEDGER, f"{booked} was booked, not {due}")


def stages_ran(effects: str) -> bool:
    """Whether any stage began."""
    return any(effect.kind is EffectKind.STARTED for effect in read_effects(effects))
