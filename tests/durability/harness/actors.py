"""What a forked process does with one run, and what it says about it."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, partial
from threading import Event
from typing import assert_never

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.signals import setting_changed
from django.db import connections

from fluxio import Pipeline
from fluxio.errors import RunIDInUseError
from fluxio.runtime.environment import (
    SystemClock,
    default_environment,
    set_default_environment,
)
from fluxio_django import faults, turns
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.recovery import Swept, sweep
from fluxio_django.registry import register
from fluxio_django.statements import statements_of
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.houses import REDIS, House
from tests.durability.harness.looks import look_on
from tests.durability.harness.moments import Moment, arm, die, stop, stop_at_once
from tests.durability.harness.plans import INITIAL, Kind, Step, build
from tests.durability.harness.statements import StatementTripwire, each_statement
from tests.durability.harness.topologies import TOPOLOGIES
from tests.durability.harness.tripwire import NEVER, Survey, Tripwire
from tests.durability.harness.watched import look_at_statement
from tests.needs import REDIS as NEEDED_REDIS

PATIENCE_SECONDS = 60.0
"""How long somebody waits for a lease to end before something must be wrong."""
_POLL_SECONDS = 0.02


Finding = tuple[str, str]
"""A broken rule, and how it was broken."""


class Verb(StrEnum):
    """What an actor does with its run."""

    START = "start"
    RESUME = "resume"
    REDELIVER = "redeliver"
    """Invoke it again, as a queue does that delivers a message twice."""
    SWEEP = "sweep"
    """Look for any run that got stuck, and execute it here."""


class Unit(StrEnum):
    """What is counted up to the moment at which a process is killed."""

    LINE = "line"
    """Executed lines of our packages."""
    STATEMENT = "statement"
    """Statements and commits that the database is asked for."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one actor has to play. `skew` shifts its clock, in seconds.

    `kill_at` is the line or statement before which it dies, `die_at` the moment; `stop_at` is the
    moment at which it freezes, `stops` times. `patient` waits for somebody else's lease to end.
    """

    verb: Verb
    house: str
    topology: str
    run_id: str
    effects: str
    lease_seconds: float = 30.0
    kill_at: int | None = None
    unit: Unit = Unit.LINE
    die_at: Moment | None = None
    stop_at: Moment | None = None
    stops: int = 1
    skew: float = 0.0
    patient: bool = False
    max_takeovers: int = 5
    room: int | None = None
    """Bytes that a file may grow to before the disk is full, as this process sees it."""
    port: int | None = None
    """Where the database is reached, if not where the settings say."""
    hold: "Hold | None" = None
    in_groups: bool = False
    """Whether claims and commits go the way of many runs at once, though there is but one."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Pipes by which an actor says that it is in its stage, and hears that it may go on."""

    ready: int
    release: int


@dataclass(kw_only=True)
class Said:
    """What an actor says of its own execution.

    `error` is the type of what ended it, `count` how much there was of what it counted, and `swept`
    what a sweep did. `executions` says at which counts each line of the source was executed, where
    lines were counted and nobody was to be killed.
    """

    error: str = ""
    message: str = ""
    count: int = 0
    executions: dict[str, list[int]] = field(default_factory=dict)
    killed: bool = False
    swept: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@cache
def pipeline_of(house: str, topology: str) -> DjangoPipeline:
    """The pipeline, compiled once and inherited by every process that is forked later."""
    return House(house).pipeline(topology, TOPOLOGIES[topology])


def warm_up() -> None:
    """Do once what every forked process would have to do again; nothing is connected to."""
    for house in (*settings.DATABASES, *([] if NEEDED_REDIS.problem() else [REDIS])):
        for topology in TOPOLOGIES:
            pipeline_of(house, topology)
    for alias in settings.DATABASES:
        statements_of(alias, Run, Checkpoint)
    in_memory = Pipeline([*build([Step("warm"), Step("up", Kind.PLAIN)], None)], durable=True)
    async_to_sync(in_memory.invoke)(INITIAL)
    in_memory.shutdown()


def play(part: Part) -> Said:
    """Execute the run as the part says; an error is told, not raised."""
    _set_up(part)
    said = Said()
    try:
        with _killing(part, said):
            swept = _execute(part)
        said.swept = {} if swept is None else asdict(swept)
    except Exception as error:
        said.error, said.message = type(error).__name__, str(error)
    return said


@contextmanager
def _killing(part: Part, said: Said) -> Iterator[None]:
    """Count what is executed in this block, and die where the part says."""
    if part.kill_at is None:
        yield
    elif part.unit is Unit.LINE:
        lines = Survey() if part.kill_at == NEVER else Tripwire(part.kill_at)
        lines.arm()
        try:
            yield
        finally:
            lines.disarm()
            said.count = lines.lines
            if isinstance(lines, Survey):
                said.executions = dict(lines.executions)
    else:
        statements = StatementTripwire(part.kill_at)
        with each_statement(part.house, statements.meet):
            yield
        said.count = statements.count


def _execute(part: Part) -> Swept | None:
    pipeline = pipeline_of(part.house, part.topology)
    match part.verb:
        case Verb.START:
            pipeline.invoke_sync(INITIAL, run_id=part.run_id)
        case Verb.RESUME:
            _patiently(part, lambda: pipeline.resume_sync(part.run_id))
        case Verb.REDELIVER:
            _patiently(
                part,
                lambda: pipeline.invoke_sync(INITIAL, run_id=part.run_id, on_conflict="resume"),
            )
        case Verb.SWEEP:
            register(f"durability.{part.topology}", pipeline)
            return sweep(part.house)
        case _:
            assert_never(part.verb)
    return None


def _patiently(part: Part, act: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            act()
        except RunIDInUseError:
            if not part.patient or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _set_up(part: Part) -> None:
    settings.FLUXIO = {
        "LEASE_SECONDS": part.lease_seconds,
        "MAX_TAKEOVERS": part.max_takeovers,
        "DISPATCHER": "eager",
        **({"DATABASE": part.house} if part.house in settings.DATABASES else {}),
    }
    setting_changed.send(sender=None, setting="FLUXIO", value=settings.FLUXIO, enter=True)
    EFFECTS.write_to(part.effects)
    if part.room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (part.room, resource.RLIM_INFINITY))
        faults.wait = lambda seconds: None  # nobody will make room
    if part.skew:
        shifted = ShiftedClock(timedelta(seconds=part.skew))
        set_default_environment(replace(default_environment(), clock=shifted))
    if part.in_groups:
        turns.FEWEST_FOR_A_GROUP = 1
    if part.port is not None:
        connections[part.house].settings_dict["PORT"] = part.port
    if part.house in settings.DATABASES:
        look_on(connections[part.house], look_at_statement)
    if part.die_at is not None:
        arm(part.die_at, die)
    if part.hold is not None:
        arm(Moment.IN_STAGE, partial(_hold, part.hold))
    if part.stop_at in (Moment.IN_HEARTBEAT, Moment.INSIDE_RENEWAL):
        _stop_in_heartbeat(part.stop_at)
    elif part.stop_at is not None:
        # On SQLite a transaction that writes keeps out everybody else, the heartbeat as well.
        alone = part.house == "default" and part.stop_at is Moment.IN_TRANSACTION
        arm(part.stop_at, stop_at_once if alone else stop, part.stops)


def _hold(hold: Hold) -> None:
    os.write(hold.ready, b".")
    os.read(hold.release, 1)


def _stop_in_heartbeat(moment: Moment) -> None:
    """The stage goes on once the heart has stood still."""
    stood_still = Event()

    def stand_still() -> None:
        stop()
        stood_still.set()

    arm(moment, stand_still)
    arm(Moment.IN_STAGE, lambda: stood_still.wait(PATIENCE_SECONDS))


class ShiftedClock(SystemClock):
    """The machine's clock, set wrong by some hours; how fast it runs is right."""

    def __init__(self, shift: timedelta) -> None:
        self._shift = shift

    def now(self) -> datetime:
        """The time of day, in UTC, wrong."""
        return super().now() + self._shift
