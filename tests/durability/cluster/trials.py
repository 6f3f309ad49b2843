"""What is done to a cluster while it works, and what has to be true of it afterwards."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from celery import current_app
from django.db import connection, connections, transaction

from fluxio.errors import RunIDInUseError
from fluxio.types import RunStatus
from fluxio_django import pipelines, recovery, services
from fluxio_django.conf import settings
from fluxio_django.dispatch import delivery
from fluxio_django.management.commands.fluxio_verify import _accounts
from fluxio_django.models import Run
from fluxio_django.tasks import EXECUTE, execute
from tests.durability.cluster.pipelines import LEDGER
from tests.durability.cluster.servers import OwnPostgres, OwnRedis, resident_bytes, signalled
from tests.durability.cluster.workers import Crew
from tests.durability.harness.processes import fork

CANARY = "canary-4711-secret"
LIMIT_SECONDS = float(os.environ.get("FLUXIO_CLUSTER_LIMIT", "120"))
"""After so long without an end, what is missing counts as lost."""
_MEMORY_LIMIT = 400_000_000


@dataclass(kw_only=True)
class Found:
    """What a trial came to. `lost` runs never ended, `double` ones had an effect twice."""

    runs: int
    lost: int = 0
    double: int = 0
    wrong: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Site:
    """Where a trial takes place."""

    folder: Path
    effects: Path
    redis: OwnRedis | None
    postgres: OwnPostgres | None

    def crew(self, **options: Any) -> Crew:
        return Crew(self.folder, **options)


# --- what is done


def chaos(site: Site, count: int, actions: tuple[str, ...], pause: float) -> Found:
    """Enqueue runs one after the other while workers, brokers and databases suffer."""
    done: Counter[str] = Counter()
    takeovers: list[float] = []
    if site.redis is not None:
        site.redis.listen()
    with site.crew() as crew:
        _until(lambda: len(crew.hands()) == 4)
        upset = _upset(site, crew, actions, done, takeovers)
        next_upset = time.monotonic() + pause
        for number in range(count):
            _surely(partial(_enqueue, number))
            if time.monotonic() > next_upset:
                next(upset)
                next_upset = time.monotonic() + pause
            time.sleep(0.05)
        deadline = time.monotonic() + LIMIT_SECONDS
        while _surely(_open) and time.monotonic() < deadline:
            time.sleep(0.2)
    found = judge(site, count, kills=sum(done.values()))
    found.facts |= dict(done)
    if takeovers:
        found.facts["slowest takeover, s"] = round(max(takeovers), 1)
    if site.redis is not None:
        found.facts["commands searched for the canary"] = len(site.redis.heard)
        found.wrong += ["canary in the broker" for text in site.redis.heard if CANARY in text]
    return found


def _upset(
    site: Site, crew: Crew, actions: tuple[str, ...], done: Counter[str], takeovers: list[float]
) -> Iterator[None]:
    while True:
        for action in actions:
            match action:
                case "child":
                    done["children killed"] += crew.kill_hand()
                case "parent":
                    done["parents killed"] += crew.kill_worker()
                case "freeze":
                    took = _freeze(crew)
                    done["frozen"] += took is not None
                    takeovers += [took] if took else []
                case "flush":
                    _flush(site)
                    done["broker flushed"] += 1
                case "database":
                    assert site.postgres is not None
                    connections.close_all()
                    site.postgres.stop()
                    time.sleep(0.5)
                    site.postgres.start()
                    done["database stopped"] += 1
            crew.keep_up()
            yield


def _freeze(crew: Crew) -> float | None:
    """Freeze a process that executes a run until another one has it; gives the seconds it took."""
    owned = {int(owner.split(":")[1]): run_id for run_id, owner in _surely(_owners)}
    victims = [pid for pid in crew.hands() if pid in owned]
    if not victims:
        return None
    pid, began = victims[0], time.monotonic()
    signalled(pid, signal.SIGSTOP)
    run_id = owned[pid]
    while time.monotonic() - began < LIMIT_SECONDS:
        facts = Run.objects.values_list("owner", "status").get(run_id=run_id)
        if f":{pid}:" not in facts[0]:
            break
        time.sleep(0.1)
    signalled(pid, signal.SIGCONT)
    return time.monotonic() - began


def _owners() -> list[tuple[str, str]]:
    running = Run.objects.filter(status="running").exclude(owner="")
    return list(running.values_list("run_id", "owner"))


def _flush(site: Site) -> None:
    if site.redis is not None:
        site.redis.flush()
        return
    with current_app.connection_for_write() as broker:
        broker.default_channel.queue_purge(current_app.conf.task_default_queue)


def duplicates(site: Site, count: int) -> Found:
    """Send each message three times: each run is executed once, and the rest is over quickly."""
    with site.crew() as crew:
        _until(lambda: len(crew.hands()) == 4)
        for number in range(count):
            run_id = _enqueue(number)
            for _ in range(2):
                current_app.send_task(EXECUTE, args=[run_id], ignore_result=True)
        _until(lambda: not _open())
    found = judge(site, count, kills=0)
    spent = []
    for run_id in Run.objects.values_list("run_id", flat=True)[:100]:
        began = time.perf_counter()
        execute(run_id)
        spent.append((time.perf_counter() - began) * 1000)
    found.facts["a duplicate takes, ms (median, slowest)"] = [
        round(sorted(spent)[len(spent) // 2], 1),
        round(max(spent), 1),
    ]
    return found


def admissions(site: Site, count: int) -> Found:
    """Have two processes enqueue the same ids: one of them gets each, and each is executed once."""

    def enqueue_all() -> int:
        mine = 0
        for number in range(count):
            try:
                _enqueue(number)
                mine += 1
            except RunIDInUseError:
                pass  # the other one was first
        return mine

    connections.close_all()
    rivals = [fork(enqueue_all), fork(enqueue_all)]
    won = [rival.wait(LIMIT_SECONDS).said for rival in rivals]
    with site.crew():
        _until(lambda: not _open())
    found = judge(site, count, kills=0)
    found.facts["won by each"] = won
    if sum(won) != count:
        found.wrong.append(f"{sum(won)} admissions of {count} ids")
    return found


def vanishing(site: Site, count: int) -> Found:
    """Enqueue where the message is never sent, or the transaction is never committed.

    By turns: the process is killed between its commit and the message; the broker is down; the
    transaction is rolled back; the process is killed before its commit.
    """

    class Killed:
        def dispatch(self, ticket: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    class Down:
        def dispatch(self, ticket: Any) -> None:
            raise ConnectionError("down")

    def killed_before_message(number: int) -> None:
        delivery.dispatcher_named = lambda name: Killed()  # type: ignore[assignment]
        _enqueue(number)

    def killed_before_commit(number: int) -> None:
        with transaction.atomic():
            _enqueue(number)
            os.kill(os.getpid(), signal.SIGKILL)

    ghosts = 0
    problems = 0
    usual = delivery.dispatcher_named
    for number in range(count):
        match number % 4:
            case 0:
                connections.close_all()
                assert fork(partial(killed_before_message, number)).wait().killed
            case 1:
                delivery.dispatcher_named = lambda name: Down()  # type: ignore[assignment]
                problems += bool(_handle(number).problem)
                delivery.dispatcher_named = usual
            case 2:
                with transaction.atomic():
                    _enqueue(number)
                    transaction.set_rollback(True)
                ghosts += 1
            case _:
                connections.close_all()
                assert fork(partial(killed_before_commit, number)).wait().killed
                ghosts += 1
    with site.crew():
        _until(lambda: not _open())
    found = judge(site, count - ghosts, kills=0)
    found.facts |= {"never to be": ghosts, "said to be stored only": problems}
    return found


def poison(site: Site, count: int, name: str = "poison") -> Found:
    """Runs that kill whoever executes them: each ends as dead after exactly so many takeovers."""
    limit = settings().max_takeovers
    for number in range(count):
        pipelines[f"cluster.{name}"].enqueue_sync({"note": CANARY}, f"{name}-{number}")
    with site.crew() as crew:
        deadline = time.monotonic() + LIMIT_SECONDS + count
        while _open() and time.monotonic() < deadline:
            if name == "hungry":
                _guard_memory(crew)
            crew.keep_up()
            time.sleep(0.02 if name == "hungry" else 0.2)
    killed = _effects(site, "kill" if name == "poison" else "devour")
    found = Found(runs=count)
    for run in Run.objects.all():
        if run.status != RunStatus.DEAD:
            found.lost += 1
        elif run.takeovers != limit or killed[run.run_id] != limit + 1:
            told = f"{run.takeovers} takeovers, {killed[run.run_id]} executions"
            found.wrong.append(f"{run.run_id}: {told}")
        elif f"{limit} takeovers" not in run.error:
            found.wrong.append(f"{run.run_id}: {run.error}")
    found.facts = {"takeovers each": limit, "processes killed": sum(killed.values())}
    return found


def _guard_memory(crew: Crew) -> None:
    """What the kernel does when a machine runs out of memory."""
    for pid in crew.hands():
        if resident_bytes(pid) > _MEMORY_LIMIT:
            signalled(pid, signal.SIGKILL)


def cancelling(site: Site, count: int) -> Found:
    """Cancel runs that wait for ten minutes in another process: they end within seconds."""
    spent: list[float] = []
    found = Found(runs=count)
    with site.crew() as crew:
        _until(lambda: len(crew.hands()) == 4)
        for number in range(count):
            handle = pipelines["cluster.endless"].enqueue_sync({}, f"endless-{number}")
            _until(lambda handle=handle: _effects(site, "linger")[handle.run_id] > 0)
            began = time.monotonic()
            services.cancel(handle.run_id, "enough")
            _until(lambda handle=handle: not handle.status().is_open)
            spent.append(time.monotonic() - began)
    for run in Run.objects.all():
        if (run.status, run.error) != ("cancelled", "Cancelled: enough"):
            found.wrong.append(f"{run.run_id} is {run.status}: {run.error}")
    found.facts = {"slowest, s": round(max(spent), 1)}
    return found


def narrow(site: Site, count: int) -> Found:
    """Runs of which one may be executed at a time, and four processes that would like to."""
    for number in range(count):
        pipelines["cluster.narrow"].enqueue_sync({}, f"narrow-{number}")
    with site.crew():
        _until(lambda: not _open())
    found = Found(runs=count, lost=count - Run.objects.filter(status="succeeded").count())
    inside = 0
    for line in site.effects.read_text().splitlines():
        inside += 1 if line.split()[1] == "enter" else -1
        if inside not in (0, 1):
            found.wrong.append(f"{inside} at once")
    return found


def pools(site: Site, count: int, pool: str) -> Found:
    """The same runs in another pool of Celery's, with its parent killed in between."""
    with site.crew(pool=pool, workers=1) as crew:
        for number in range(count):
            _enqueue(number)
            if number == count // 2:
                _until(lambda: bool(_effects(site, "ship")))
                crew.kill_worker()
        _until(lambda: not _open())
        opened = _connections_of_others()
    found = judge(site, count, kills=1)
    found.facts["connections while idle"] = opened
    return found


def _connections_of_others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


# --- what has to be true


def judge(site: Site, count: int, *, kills: int) -> Found:
    """Every run has succeeded, was booked once, and shows in its log that nothing was repeated."""
    found = Found(runs=count)
    runs = dict(Run.objects.values_list("run_id", "status"))
    found.lost = count - sum(status == RunStatus.SUCCEEDED for status in runs.values())
    others = Counter(status for status in runs.values() if status != RunStatus.SUCCEEDED)
    found.wrong += [f"{number} runs are {status}" for status, number in others.items()]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT run_id, SUM(amount) FROM {LEDGER} GROUP BY run_id")
        booked = {run_id: int(amount) for run_id, amount in cursor.fetchall()}
    found.double += sum(amount > 1 for amount in booked.values())
    found.wrong += [f"{run_id} was not booked" for run_id in runs if run_id not in booked]
    for account in _accounts([]):
        found.wrong += [f"{one.run_id}: {one.rule}: {one.message}" for one in account.violations]
    again = sum(number - 1 for number in _effects(site, "reserve").values())
    if again > kills:
        found.wrong.append(f"{again} stages were repeated after {kills} interruptions")
    found.facts["stages repeated"] = again
    return found


def _effects(site: Site, what: str) -> Counter[str]:
    if not site.effects.exists():
        return Counter()
    lines = (line.split() for line in site.effects.read_text().splitlines())
    return Counter(words[0] for words in lines if words[1] == what)


# --- small things


def _handle(number: int) -> Any:
    given = {"note": CANARY, "seconds": 0.2}
    return pipelines["cluster.order"].enqueue_sync(given, f"order-{number}")


def _enqueue(number: int) -> str:
    run_id: str = _handle(number).run_id
    return run_id


def _open() -> int:
    return Run.objects.filter(status__in=["queued", "running"]).count()


def _surely(work: Callable[[], Any]) -> Any:
    """Do what a user would do again when the database was down."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            return work()
        except RunIDInUseError:
            return None  # it was stored, and only the answer was lost
        except Exception:
            if time.monotonic() > deadline:
                raise
            connections.close_all()
            time.sleep(0.2)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)


@contextmanager
def ledger() -> Iterator[None]:
    """The table that transactional stages write to."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {LEDGER} (run_id varchar(128), amount integer)")
    yield


TRIALS: dict[str, Callable[..., Found]] = {
    "chaos": chaos,
    "duplicates": duplicates,
    "admissions": admissions,
    "vanishing": vanishing,
    "poison": poison,
    "cancelling": cancelling,
    "narrow": narrow,
    "pools": pools,
}


def play(site: Site, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Make the tables, play a trial, and say what came of it."""
    with ledger():
        if "actions" in options:
            options["actions"] = tuple(options["actions"])
        found = TRIALS[name](site, **options)
    recovery.sweep()
    return asdict(found)
