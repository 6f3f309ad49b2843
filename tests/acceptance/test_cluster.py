"""`make cluster` works through its runs while its processes die, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from django.db.models import F

from example_project.cluster import crew as crew_module
from example_project.cluster.books import faults
from example_project.cluster.crew import LONGEST_WITHOUT_PROCESSES, Crew
from example_project.cluster.work import ROWS, Work
from example_project.imports.models import LedgerEntry
from example_project.orders.models import Payment, Product
from fluxio_django.runner import execute
from tests.settings import REDIS_URL

ROOT = Path(__file__).parents[2]


@pytest.mark.soak
@pytest.mark.redis
@pytest.mark.timeout(0)
def test_the_cluster_loses_nothing_does_nothing_twice_and_stops_what_it_started() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "example_project.cluster", "--runs", "60"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": REDIS_URL, "DJANGO_SETTINGS_MODULE": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Checked 60 runs: nothing is wrong." in ended.stdout
    assert "Nothing was lost, and nothing was done twice." in ended.stdout
    killed = re.search(r"Killed on the way: (\d+) processes", ended.stdout)
    assert killed is not None
    assert int(killed[1]) > 0
    (port,) = re.findall(r"web: +http://127.0.0.1:(\d+)/", ended.stdout)
    listening = Path("/proc/net/tcp").read_text()
    assert f":{int(port):04X} 00000000:0000 0A" not in listening


@pytest.mark.soak
@pytest.mark.redis
@pytest.mark.timeout(0)
def test_a_cluster_that_is_told_to_end_leaves_nothing_behind() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "example_project.cluster"],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": REDIS_URL, "DJANGO_SETTINGS_MODULE": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    while "waiting" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    (name,) = re.findall(r"database: (fluxio_cluster_\w+)", said) or ["no PostgreSQL"]
    process.send_signal(signal.SIGTERM)
    said += process.stdout.read()
    assert process.wait() == 1
    assert "Stopped." in said
    with redis.Redis.from_url(REDIS_URL) as client:
        assert list(client.scan_iter(f"{name}*")) == []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            assert name.encode() not in entry.read_bytes(), entry


class Childless(Crew):
    """A crew whose worker is alive, and has no processes that would execute anything."""

    def _commands(self) -> dict[str, list[str]]:
        return {"worker": ["http.server", "0", "--bind", "127.0.0.1"]}


def test_a_worker_that_has_lost_its_processes_is_replaced(tmp_path: Path) -> None:
    now = [0.0]
    crew = Childless(tmp_path / "log", clock=lambda: now[0])
    crew.keep_up()
    try:
        first = crew._crew["worker"].pid
        now[0] = LONGEST_WITHOUT_PROCESSES
        crew.see_to_worker()
        assert (crew.replaced, crew._crew["worker"].pid) == (0, first)
        now[0] += 1
        crew.see_to_worker()
        assert crew.replaced == 1
        assert crew._crew["worker"].pid != first
        crew.see_to_worker()
        assert crew.replaced == 1
    finally:
        crew.__exit__()


def test_a_crew_that_is_told_to_end_while_it_starts_leaves_nobody_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told_to_end(port: int) -> None:
        sys.exit("Stopped.")

    monkeypatch.setattr(crew_module, "wait_until_answering", told_to_end)
    crew = Childless(tmp_path / "log")
    with pytest.raises(SystemExit, match="Stopped"), crew:
        pass
    assert [process.returncode for process in crew._crew.values()] == [-signal.SIGKILL]


@pytest.fixture
def books(transactional_db: None, settings: SimpleNamespace, tmp_path: Path) -> Work:
    """Books after three orders and two imports, executed without any trouble."""
    settings.FLUXIO = {"DISPATCHER": "eager"}
    work = Work(orders=3, imports=2, folder=tmp_path)
    product = work.prepare()
    for number in range(3):
        work.enqueue(number, product)
    return work


def test_books_that_are_in_order_have_no_faults(books: Work) -> None:
    assert faults(books, Product.objects.get()) == []
    assert LedgerEntry.objects.count() <= 2 * ROWS
    execute("order-1")
    assert faults(books, Product.objects.get()) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda: Payment.objects.first().delete(), "paid: 2 times for 2 of 3"),
        (lambda: Product.objects.update(stock=F("stock") - 1), "pieces are left"),
        (lambda: LedgerEntry.objects.first().delete(), "rows were written"),
        (
            lambda: LedgerEntry.objects.create(
                run_id="import-0", step="x", airport_id=LedgerEntry.objects.first().airport_id
            ),
            "different ones",
        ),
    ],
    ids=["payment lost", "stock lost", "row lost", "row double"],
)
def test_books_that_are_not_in_order_are_told(books: Work, damage: object, words: str) -> None:
    damage()  # type: ignore[operator]
    assert words in " ".join(faults(books, Product.objects.get()))
