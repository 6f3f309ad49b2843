"""Wherever the import is killed, a new process goes on with it and leaves the same tables."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.needs import POSTGRESQL
from tests.proofs.sizes import Size

# On a busy machine a hundred processes take their time.
pytestmark = [pytest.mark.durability, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
RUN_ID = "killed"
WORKERS = 2
AIRPORTS = 210
POINTS = 6
"""Places in each database at which a pull request kills an import."""

PARTS = ("africa", "asia", "europe", "americas", "united_states", "oceania", "islands_and_ice")
UPSERTS = tuple(f"choose_route/bulk/upsert_{part}" for part in PARTS)
BRANCHES = ("enrich/count_countries", "enrich/count_time_zones")
STEPS = ("read_file", "validate_rows", *BRANCHES, "choose_route", *UPSERTS, "summarise")
TRANSACTIONAL = ("validate_rows", *BRANCHES, *UPSERTS)

KILL_POINTS = (
    *(f"before:{step}" for step in STEPS),
    *(f"inside:{step}" for step in TRANSACTIONAL),
    *(f"after:{step}" for step in STEPS if step not in TRANSACTIONAL),
    "end",
)

TABLES = {
    "airports": "SELECT code, iata, name, city, region, country_id, time_zone_id, elevation_feet,"
    " latitude, longitude FROM imports_airport ORDER BY code",
    "countries": "SELECT code, airports, highest_feet FROM imports_country ORDER BY code",
    "time zones": "SELECT name, airports, countries FROM imports_timezone ORDER BY name",
    "rejected rows": 'SELECT line, "values", reasons FROM imports_rejectedrow ORDER BY line',
    "ledger": "SELECT airport_id, step, run_id FROM imports_ledgerentry ORDER BY airport_id, step",
    "runs": "SELECT run_id, status, attempt FROM fluxio_django_run ORDER BY run_id",
    "recorded": "SELECT step FROM fluxio_django_checkpoint WHERE kind = 'step' ORDER BY sequence",
}
RECORDED = TABLES["recorded"]

AREAS = ("Africa/Lagos", "Asia/Tokyo", "Europe/Oslo", "America/Lima", "Pacific/Fiji", "Arctic/Pole")
BAD_ROWS = (
    {"icao": "_XYZ"},
    {"icao": "0004"},
    {"lat": "91"},
    {"elevation": "high"},
    {"tz": "somewhere"},
    {"name": "S?o Paulo"},
)


class Database(ABC):
    """A kind of database; copies of a migrated one are cheap."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def copy(self, name: str) -> str:
        """Make a database like the migrated one, and give its URL."""

    @abstractmethod
    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in one of the copies."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a database."""


class Sqlite(Database):
    """Files."""

    def copy(self, name: str) -> str:
        migrated = self._file("migrated")
        if migrated.exists():
            self._file(name).write_bytes(migrated.read_bytes())
        return f"sqlite:///{self._file(name)}"

    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._file(name))) as connection:
            return connection.execute(query).fetchall()

    def drop(self, name: str) -> None:
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.sqlite3"


class Postgresql(Database):
    """Databases of the server that the other tests use, too."""

    def copy(self, name: str) -> str:
        template = "template0" if name == "migrated" else self._database("migrated")
        self._execute(f'CREATE DATABASE "{self._database(name)}" TEMPLATE "{template}"')
        return self._url(self._database(name))

    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        import psycopg

        with psycopg.connect(self._url(self._database(name))) as connection:
            return connection.execute(query.encode()).fetchall()

    def drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{self._database(name)}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(POSTGRESQL.location, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _database(self, name: str) -> str:
        return f"fluxio_test_{os.environ['FLUXIO_TEST_RUN']}_import_{name}"

    def _url(self, database: str) -> str:
        return urlsplit(POSTGRESQL.location)._replace(path=f"/{database}").geturl()


@dataclass(frozen=True, kw_only=True, slots=True)
class Survivor:
    """A run that was killed and resumed: what had been recorded, what ran then, what is left."""

    kill_code: int
    recorded_by_then: tuple[str, ...]
    resumed: subprocess.CompletedProcess[str]
    executed_then: tuple[str, ...]
    tables: dict[str, list[tuple[Any, ...]]]

    @property
    def context(self) -> Any:
        """The context the run ended with."""
        return json.loads(self.resumed.stdout)["context"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Where imports are killed: a kind of database, and a file to import."""

    database: Database
    source: Path

    def survivor(self, number: int, kill_at: str) -> Survivor:
        """Kill a run somewhere and resume it."""
        name = f"copy{number}"
        url = self.database.copy(name)
        try:
            killed = self._run(name, url, kill_at)
            recorded = self.database.rows(name, RECORDED)
            self._executed(name).unlink(missing_ok=True)
            resumed = self._manage(name, url, "fluxio_resume", RUN_ID, "--json")
            return Survivor(
                kill_code=killed.returncode,
                recorded_by_then=tuple(step for (step,) in recorded),
                resumed=resumed,
                executed_then=self._steps_executed(name),
                tables=self.tables(name),
            )
        finally:
            self.database.drop(name)

    def undisturbed(self) -> tuple[dict[str, list[tuple[Any, ...]]], Any]:
        """The tables and the final context of a run that nobody kills."""
        name = "undisturbed"
        url = self.database.copy(name)
        try:
            finished = self._run(name, url, "nowhere")
            assert finished.returncode == 0, finished.stderr
            assert self._steps_executed(name) == STEPS
            return self.tables(name), json.loads(finished.stdout)["context"]
        finally:
            self.database.drop(name)

    def migrate(self) -> None:
        """Make the database that is copied."""
        done = self._manage("migrated", self.database.copy("migrated"), "migrate")
        assert done.returncode == 0, done.stderr

    def tables(self, name: str) -> dict[str, list[tuple[Any, ...]]]:
        """Everything an import leaves behind."""
        return {table: self.database.rows(name, query) for table, query in TABLES.items()}

    def _run(self, name: str, url: str, kill_at: str) -> subprocess.CompletedProcess[str]:
        initial = json.dumps({"path": str(self.source), "bulk_from": 10})
        words = ("fluxio_run", "imports.airports", "--input", initial, "--run-id", RUN_ID)
        return self._manage(name, url, *words, "--json", KILL_AT=kill_at)

    def _manage(
        self, name: str, url: str, *words: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.killing_settings",
            "DATABASE_URL": url,
            "EXAMPLE_DATA_DIR": str(self.database.folder),
            "EXECUTED": str(self._executed(name)),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "manage.py", *words, "--skip-checks"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def _executed(self, name: str) -> Path:
        return self.database.folder / f"{name}.executed"

    def _steps_executed(self, name: str) -> tuple[str, ...]:
        file = self._executed(name)
        return tuple(file.read_text().split()) if file.exists() else ()


def write_airports(path: Path) -> None:
    """Write a file with some airports in each part of the world, and bad rows among them."""
    good = [
        {
            "icao": f"{number:04}",
            "name": f"Airport {number}",
            "country": "US" if number % 7 == 6 else "NO",
            "elevation": str(number),
            "lat": str(number / 10),
            "lon": str(-number / 10),
            "tz": AREAS[number % 7 % 6],
        }
        for number in range(AIRPORTS)
    ]
    bad = [
        {**good[0], "icao": f"BAD{number}", "name": f"Bad {number}", **row}
        for number, row in enumerate(BAD_ROWS)
    ]
    columns = ["icao", "iata", "name", "city", "subd", "country", "elevation", "lat", "lon", "tz"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows([*good[:100], *bad, *good[100:]])


@pytest.fixture(
    scope="module",
    params=[Sqlite, pytest.param(Postgresql, marks=pytest.mark.postgresql)],
    ids=["sqlite", "postgresql"],
)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A migrated database and a file."""
    folder = tmp_path_factory.mktemp("imports")
    source = folder / "airports.csv"
    write_airports(source)
    scene = Scene(database=request.param(folder), source=source)
    try:
        scene.migrate()
        yield scene
    finally:
        scene.database.drop("migrated")


@pytest.fixture(scope="module")
def survivors(scene: Scene, size: Size) -> dict[str, Survivor]:
    """A run for each point at which it can be killed; in a pull request, a sample of them."""
    chosen = size.points(len(KILL_POINTS), pull_request=POINTS)
    points = [KILL_POINTS[place - 1] for place in chosen]
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = pool.map(scene.survivor, range(len(points)), points)
        return dict(zip(points, runs, strict=True))


def test_an_import_killed_anywhere_ends_with_the_same_tables(
    scene: Scene, survivors: dict[str, Survivor]
) -> None:
    tables, context = scene.undisturbed()
    assert len(tables["airports"]) == len(tables["ledger"]) == AIRPORTS
    assert len(tables["rejected rows"]) == len(BAD_ROWS)
    assert len(KILL_POINTS) >= 20

    for point, survivor in survivors.items():
        assert survivor.kill_code == -signal.SIGKILL, point
        assert survivor.resumed.returncode == 0, f"{point}: {survivor.resumed.stderr}"
        assert survivor.context == context, point
        for table, rows in tables.items():
            assert survivor.tables[table] == rows, f"{point}: {table}"


def test_what_was_recorded_before_the_kill_never_runs_again(
    survivors: dict[str, Survivor],
) -> None:
    for point, survivor in survivors.items():
        assert not set(survivor.recorded_by_then) & set(survivor.executed_then), point
        assert {*survivor.recorded_by_then, *survivor.executed_then} == set(STEPS), point
        assert len(survivor.executed_then) == len(set(survivor.executed_then)), point


def test_the_step_that_was_in_flight_is_the_one_that_runs_first(
    survivors: dict[str, Survivor],
) -> None:
    for point, survivor in survivors.items():
        moment, _, step = point.partition(":")
        if moment == "end":
            assert survivor.executed_then == ()
        elif step in BRANCHES:
            assert survivor.executed_then[0] in BRANCHES, point
        else:
            assert survivor.executed_then[0] == step, point
