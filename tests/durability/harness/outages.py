"""Runs under load, while their database goes away and comes back again and again."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from threading import Event, Thread

from django.db import OperationalError, connections

from tests.durability.harness.actors import Finding, Part, Said, Verb, play
from tests.durability.harness.houses import House
from tests.durability.harness.processes import Child, fork
from tests.durability.harness.servers import Server, own_server
from tests.durability.harness.trials import Report, execute, judged, said_by
from tests.durability.harness.verdicts import Wrong, judge

WORKERS = 4
LEASE_SECONDS = 2.0
"""A run that could not even record its failure is kept from everybody for so long."""
LONGEST_SECONDS = 3 * 3600.0
NO_SUCH_THREAD = 1094
"""What MariaDB says of a connection that is not there."""
EXECUTIONS = 60
"""More often no run should have to be gone on with."""
TOPOLOGIES = ("linear", "plain", "parallel", "routed", "background")
EXPECTED = frozenset(
    {
        "",
        "StoreError",
        "StoreUnavailableError",
        "OperationalError",
        "InterfaceError",
        "InternalError",
        "RunIDInUseError",
    }
)
"""How an execution may end while the database is away; in the end it has to be "" ."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many runs, each with an effect log of its own beside `effects`."""

    part: Part
    runs: int
    seed: int = 0


@dataclass(kw_only=True)
class Losses:
    """What came of a load. `broken` maps runs to what is wrong; `outages` counts."""

    runs: int = 0
    outages: int = 0
    interruptions: int = 0
    broken: dict[str, list[Finding]] = field(default_factory=dict)


Outage = Callable[[random.Random], None]
"""Takes the database away, and gives it back."""


def restart_trial(load: Load, seconds: tuple[float, float]) -> Losses:
    """Restart a server of our own, by turns politely and not, after so many seconds each time."""
    with own_server(load.part.house) as server:

        def restart(chance: random.Random) -> None:
            server.restart(kill=chance.random() < 0.5)

        return _under(load, restart, seconds, server)


def disconnection_trial(load: Load, seconds: tuple[float, float]) -> Losses:
    """Have the shared server drop all connections to the database of the tests."""
    return _under(load, lambda chance: fork(_disconnect_all(load)).wait() and None, seconds, None)


def full_disk_trial(part: Part, room: int) -> Report:
    """Let SQLite's log grow to so many bytes and no further, and resume when there is room again.

    `reached` of the report says that the room was too small for the run.
    """
    fork(lambda: _empty_log(part.house)).wait()
    said = said_by(execute(replace(part, verb=Verb.START, room=room)))
    findings: list[Finding] = []
    if said.error not in EXPECTED:
        findings.append((Wrong.ANSWER, f"{said.error}: {said.message}"))
    fork(lambda: House(part.house).end_lease(part.run_id)).wait()
    again = said_by(execute(replace(part, verb=Verb.REDELIVER)))
    if again.error:
        findings.append((Wrong.LOST, f"not resumed: {again.error}: {again.message}"))
    findings += judged(part, interruptions=bool(said.error), background_may_fail=True)
    return Report(reached=bool(said.error), findings=findings)


def _empty_log(house: str) -> None:
    with connections[house].cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _under(
    load: Load, outage: Outage, seconds: tuple[float, float], server: Server | None
) -> Losses:
    if server is not None:
        load = replace(load, part=replace(load.part, port=server.port))
    chance = random.Random(load.seed)
    shares = [range(worker, load.runs, WORKERS) for worker in range(WORKERS)]
    workers = [fork(lambda share=share: asdict(_work(load, share))) for share in shares]
    losses = Losses(runs=load.runs)
    with _meanwhile(workers) as at_work:
        while at_work(chance.uniform(*seconds)):
            outage(chance)
            losses.outages += 1
    for worker in workers:
        said = worker.wait().said
        losses.interruptions += said["interruptions"]
        losses.broken |= said["broken"]
    return losses


@contextmanager
def _meanwhile(workers: list[Child]) -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds, and says whether workers are still at work."""
    ended = Event()

    def watch() -> None:
        for worker in workers:
            worker.ends_within(LONGEST_SECONDS)
        ended.set()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    yield lambda seconds: not ended.wait(seconds)
    watcher.join()


def _work(load: Load, share: range) -> Losses:
    losses = Losses()
    for number in share:
        topology = TOPOLOGIES[number % len(TOPOLOGIES)]
        part = replace(
            load.part,
            topology=topology,
            run_id=f"{load.part.run_id}-{number}",
            effects=f"{load.part.effects}-{number}",
            lease_seconds=LEASE_SECONDS,
            patient=True,
        )
        interruptions, wrong = _to_the_end(part)
        found = _surely(
            lambda part=part, times=interruptions: judge(
                part, interruptions=times, background_may_fail=True
            )
        )
        losses.interruptions += interruptions
        if found or wrong:
            losses.broken[part.run_id] = [*wrong, *found]
    return losses


def _to_the_end(part: Part) -> tuple[int, list[Finding]]:
    """Execute a run until it has ended; how often it was interrupted, and what was wrong."""
    wrong: list[Finding] = []
    for execution in range(EXECUTIONS):
        said: Said = play(replace(part, verb=Verb.REDELIVER if execution else Verb.START))
        if not said.error:
            return execution, wrong
        if said.error not in EXPECTED:
            wrong.append((Wrong.ANSWER, f"{said.error}: {said.message}"))
        time.sleep(0.05)
    return EXECUTIONS, [*wrong, (Wrong.UNFINISHED, f"{said.error}: {said.message}")]


def _surely(look: Callable[[], list[Finding]]) -> list[Finding]:
    """Look until the database is there to be looked at."""
    for _ in range(EXECUTIONS):
        try:
            return look()
        except Exception as problem:
            failure = problem
            connections.close_all()
            time.sleep(0.2)
    raise failure


def _disconnect_all(load: Load) -> Callable[[], int]:
    def act() -> int:
        connection = connections[load.part.house]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                return int(cursor.fetchone()[0])
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            found = cursor.fetchall()
            for (number,) in found:
                try:
                    cursor.execute(f"KILL CONNECTION {int(number)}")
                except OperationalError as error:
                    if error.args[0] != NO_SUCH_THREAD:  # it may have ended by itself since
                        raise
            return len(found)

    return act
