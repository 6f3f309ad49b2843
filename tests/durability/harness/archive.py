"""Runs as stored rows in text: written by one release, to be read and resumed by every later one.

`python -m tests.durability.harness.archive 0.1` writes those of the release at hand, once; what is
there already is never written again. Plans and values here may be added to, but not changed.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import django
from django.core.management import call_command
from django.db import connections

if __name__ == "__main__":
    django.setup()

from fluxio import CheckpointStore
from fluxio.codec import Secret, register_type
from fluxio.errors import StoreError
from fluxio.store.base import Row, RowKind, RunRecord
from fluxio.testing.faults import Fault, FaultMode, FaultyStore, Operation
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.houses import House
from tests.durability.harness.moments import Moment, arm
from tests.durability.harness.plans import INITIAL, Choice, Fan, Inner, Kind, Node, Step
from tests.settings import SQLITE_FILE

FOLDER = Path(__file__).resolve().parents[1] / "archive"


@dataclass(frozen=True, kw_only=True)
class Archived:
    """One run as it was stored: everything that a store gives, under a plan that is named."""

    plan: str
    record: RunRecord
    rows: list[Row]

    def text(self) -> str:
        """The run as JSON, a row a line."""
        rows = ",\n".join(_json(asdict(row)) for row in self.rows)
        head = f'"plan":{_json(self.plan)},\n"record":{_json(asdict(self.record))}'
        return f'{{{head},\n"rows":[\n{rows}\n]}}\n'

    @classmethod
    def parse(cls, text: str) -> "Archived":
        """The run that `text` gave."""
        facts = json.loads(text)
        rows = [Row(**_typed({**row, "kind": RowKind(row["kind"])})) for row in facts["rows"]]
        status = RunStatus(facts["record"]["status"])
        record = RunRecord(**_typed({**facts["record"], "status": status}))
        return cls(plan=facts["plan"], record=record, rows=rows)


def _json(facts: object) -> str:
    return json.dumps(facts, default=datetime.isoformat)


MOMENTS = ("created_at", "updated_at", "finished_at", "lease_expires_at")


def _typed(facts: dict[str, Any]) -> dict[str, Any]:
    moments = {name: facts[name] for name in MOMENTS if facts.get(name) is not None}
    return facts | {name: datetime.fromisoformat(text) for name, text in moments.items()}


# --- the plans, as they were when the first rows were written

PLANS: Mapping[str, Sequence[Node]] = {
    "archived-linear": [
        Step("reserve"),
        Step("charge", Kind.FLAKY),
        Step("book", Kind.BOOKING),
        Step("words", Kind.STREAM),
        Step("thank", Kind.PLAIN),
    ],
    "archived-branches": [
        Step("reserve"),
        Fan("fan", [[Step("left")], [Step("right"), Fan("deep", [[Step("one")], [Step("two")]])]]),
        Step("join"),
    ],
    "archived-routes": [
        Choice("pick", {"near": [Step("walk")], "far": [Step("drive"), Step("park")]}),
        Inner("inner", [Step("open"), Choice("way", {"a": [Step("x")], "b": [Step("y")]})]),
        Step("close"),
    ],
    "archived-background": [
        Step("reserve"),
        Fan("aside", [[Step("mail"), Step("audit")], [Step("ping")]], True),
        Step("ship"),
    ],
    # The same keys are set again and again, so that a full row is cheap in the end.
    "archived-long": [
        Inner(f"part {number}", [Step("again", Kind.PLAIN), Step("more", Kind.PLAIN)])
        for number in range(45)
    ],
}


# --- every type of value that the codec knows


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Decimal


class Pair(NamedTuple):
    left: str
    right: bytes


class Money:
    """Registered with functions of its own."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __repr__(self) -> str:
        return f"Money({self.cents})"


def register_values() -> None:
    """Make the codec know the classes above, under the names that are archived."""
    for cls in (Colour, Point, Pair):
        register_type(cls, name=f"archived.{cls.__name__}")
    register_type(Money, name="archived.Money", encode=lambda one: one.cents, decode=Money)


def every_value() -> dict[str, Any]:
    """One value, or some, of each type."""
    return {
        "nothing": None,
        "truths": [True, False],
        "whole": [0, -1, 2**53 + 1, -(10**40)],
        "floats": [0.1, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324],
        "texts": ["", "ünïcödé 😀", "nul \x00", "lone \ud800", "$tuple", 'quote " \\'],
        "lists": [[], [1, [2, [3]]]],
        "tuples": [(), (1, "two", (3,))],
        "dicts": [{}, {"$": 1, "$$": 2}, {1: "int", (1, 2): "tuple", None: 0, 1.5: False}],
        "sets": [set(), {1}, frozenset(), frozenset({"one"})],
        "bytes": [b"", b"\x00\xff", bytearray(b"\x01\x02")],
        "decimals": [Decimal("12.30"), Decimal("-0E+3"), Decimal("NaN"), Decimal("sNaN7")],
        "fraction": Fraction(-1, 3),
        "complex": complex(-0.0, float("inf")),
        "range": range(1, 10, 3),
        "uuid": UUID("12345678-1234-5678-1234-567812345678"),
        "date": date(2026, 11, 23),
        "times": [time(10, 30, fold=1), time(10, 30, 1, 5, tzinfo=UTC)],
        "moments": [
            datetime(2026, 11, 23, 10, 30, tzinfo=UTC).replace(tzinfo=None),
            datetime(2026, 11, 23, 10, 30, 0, 1, tzinfo=UTC),
            datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            datetime(2026, 11, 23, tzinfo=timezone(timedelta(hours=-3), "three")),
        ],
        "duration": timedelta(days=-1, microseconds=7),
        "zones": [UTC, timezone(timedelta(minutes=90)), ZoneInfo("Asia/Kolkata")],
        "paths": [PosixPath("/srv/a"), PurePosixPath("b"), PureWindowsPath("c:\\d")],
        "secret": Secret("hidden"),
        "registered": [Colour.RED, Point(1, Decimal("2.0")), Pair("l", b"r"), Money(1230)],
    }


# --- writing


@dataclass(frozen=True, kw_only=True)
class Scene:
    """How an archived run came about.

    From `call` on its store failed; `begin` happened in its first stage that is not plain; `after`
    was done when all that was over.
    """

    plan: str
    call: int | None = None
    values: Callable[[], Mapping[str, Any]] = lambda: INITIAL
    begin: Callable[[], None] | None = None
    after: Callable[[DjangoPipeline, str], object] | None = None


def _fail() -> None:
    raise RuntimeError("archived ünïcödé \x00")


def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def _replay(pipeline: DjangoPipeline, run_id: str) -> None:
    fault = Fault(mode=FaultMode.UNAVAILABLE, operation=Operation.COMMIT, call=2, forever=True)
    store = FaultyStore(House("default").store(), fault)
    again = House("default").pipeline("archived-linear", PLANS["archived-linear"], store)
    with suppress(StoreError):
        again.replay_sync(run_id, from_step="charge")


def _save(pipeline: DjangoPipeline, run_id: str) -> None:
    store = DjangoStore("default")
    found = store.load_blocking(run_id)
    assert found is not None
    store.save_blocking(replace(found, meta={**found.meta, "note": ["by hand"]}))


SCENES: Mapping[str, Scene] = {
    "begun": Scene(plan="archived-linear", call=1),
    "half-way": Scene(plan="archived-linear", call=3),
    "succeeded": Scene(plan="archived-linear"),
    "every-value": Scene(plan="archived-linear", call=2, values=every_value),
    "branches-open": Scene(plan="archived-branches", call=3),
    "branches-deep": Scene(plan="archived-branches", call=4),
    "routed": Scene(plan="archived-routes", call=2),
    "background-open": Scene(plan="archived-background", call=3),
    "full-row": Scene(plan="archived-long", call=80),
    "failed": Scene(plan="archived-linear", begin=_fail),
    "cancelled": Scene(plan="archived-linear", begin=_cancel),
    "replayed": Scene(plan="archived-linear", after=_replay),
    "saved-by-hand": Scene(plan="archived-linear", call=3, after=_save),
}


def perform(name: str, scene: Scene) -> Archived:
    """Let a scene happen in SQLite, and give the run that is left of it."""
    house, run_id = House("default"), f"archived-{name}"
    store: CheckpointStore = house.store()
    if scene.call is not None:
        committing = (Operation.COMMIT, Operation.TRANSACTION)
        down = (
            Fault(mode=FaultMode.UNAVAILABLE, operation=one, call=scene.call, forever=True)
            for one in committing
        )
        store = FaultyStore(store, *down)
    if scene.begin is not None:
        arm(Moment.IN_STAGE, scene.begin)
    with suppress(StoreError, RuntimeError, asyncio.CancelledError):
        pipeline = house.pipeline(scene.plan, PLANS[scene.plan], store)
        pipeline.invoke_sync(scene.values(), run_id=run_id)
    if scene.after is not None:
        house.end_lease(run_id)
        scene.after(house.pipeline(scene.plan, PLANS[scene.plan]), run_id)
    record, rows = house.record_and_rows(run_id)
    assert record is not None
    owner = record.owner and "a-host:1:2:3-4"
    return Archived(plan=scene.plan, record=replace(record, owner=owner), rows=rows)


def write(release: str) -> None:
    """Archive every scene under the name of a release; what is there stays as it is."""
    folder = FOLDER / release
    folder.mkdir(exist_ok=True)
    register_values()
    sys.tracebacklimit = 0  # nobody's folders belong into the archive
    for name, scene in SCENES.items():
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_text(perform(name, scene).text(), "ascii")
            print(f"wrote {path.relative_to(FOLDER)}")


def read_archive() -> Iterator[tuple[str, Archived]]:
    """Every archived run, with a name that tells its release and how it came about."""
    for path in sorted(FOLDER.glob("*/*.json")):
        yield f"{path.parent.name}/{path.stem}", Archived.parse(path.read_text("ascii"))


def main() -> None:
    """Write, in a database of its own."""
    call_command("migrate", database="default", verbosity=0)
    try:
        House("default").prepare()
        write(sys.argv[1])
    finally:
        connections.close_all()
        for leftover in Path(SQLITE_FILE).parent.glob(f"{Path(SQLITE_FILE).name}*"):
            leftover.unlink()


if __name__ == "__main__":
    main()
