"""`make demo` shows what it promises, and cannot end well when a figure is wrong."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from example_project.demo import story
from example_project.demo.audit import audit
from example_project.demo.management.commands.demo import Command
from example_project.imports.files import COLUMNS
from example_project.imports.models import Airport, Country, LedgerEntry, TimeZone

ROOT = Path(__file__).resolve().parents[2]
CODES = ("AAAA", "BBBB", "CCCC")


def environment(folder: Path) -> dict[str, str]:
    """What a process of the example project needs to keep its data in a folder."""
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_DATA_DIR": str(folder),
        "COLUMNS": "100",
    }


@pytest.mark.durability
def test_the_demo_kills_an_import_and_accounts_for_every_row(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert re.findall(r"^([1-4])\. ", shown.stdout, re.MULTILINE) == ["1", "2", "3", "4"]
    assert re.search(r"SIGKILL to process \d+, when 5,000 of the", shown.stdout)
    assert re.search(r"^airports-1 +interrupted ", shown.stdout, re.MULTILINE)
    assert re.search(r"^ +1  stage ran again", shown.stdout, re.MULTILINE)
    assert re.search(r"^ +0  double rows", shown.stdout, re.MULTILINE)
    assert re.search(r"^ +0  rows lost", shown.stdout, re.MULTILINE)
    assert re.search(r"^bulk_from +5000 +50000$", shown.stdout, re.MULTILINE)
    assert "make serve" in shown.stdout


class UnkillableImport:
    """An import that is over before anybody can kill it."""

    pid = 1

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def progress(self) -> Iterator[Any]:
        return iter(())

    def exit_code(self) -> int:
        return 0


@pytest.mark.django_db
def test_the_demo_fails_when_the_import_was_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "Import", UnkillableImport)

    with pytest.raises(CommandError, match="ended with exit code 0 instead of being killed"):
        call_command(Command())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with three airports."""
    path = tmp_path / "airports.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for code in CODES:
            writer.writerow([code, "", code, "", "", "NO", "1", "2.5", "3.5", "Europe/Oslo"])
    return path


@pytest.fixture
def imported(db: None) -> None:
    """The same three, as an import leaves them."""
    Country.objects.create(code="NO", airports=3, highest_feet=1)
    TimeZone.objects.create(name="Europe/Oslo", airports=3, countries=1)
    for code in CODES:
        Airport.objects.create(
            code=code,
            name=code,
            country_id="NO",
            time_zone_id="Europe/Oslo",
            elevation_feet=1,
            latitude=2.5,
            longitude=3.5,
        )
        LedgerEntry.objects.create(run_id="r", step="s", airport_id=code)


@pytest.mark.usefixtures("imported")
def test_the_audit_is_clean_when_every_row_is_there_once(source: Path) -> None:
    found = audit(source, "r")

    assert (found.in_file, found.in_table, found.kept_aside) == (3, 3, 0)
    assert found.is_clean


@pytest.mark.usefixtures("imported")
def test_the_audit_sees_a_row_that_was_written_twice(source: Path) -> None:
    LedgerEntry.objects.create(run_id="r", step="s", airport_id="AAAA")

    found = audit(source, "r")

    assert (found.double, found.is_clean) == (1, False)


@pytest.mark.usefixtures("imported")
def test_the_audit_sees_a_row_that_was_lost(source: Path) -> None:
    Airport.objects.get(code="BBBB").delete()

    found = audit(source, "r")

    assert (found.lost, found.is_clean) == (1, False)


@pytest.mark.usefixtures("imported")
def test_the_audit_sees_a_row_that_this_run_never_wrote(source: Path) -> None:
    LedgerEntry.objects.filter(airport_id="BBBB").update(run_id="another")

    found = audit(source, "r")

    assert (found.lost, found.is_clean) == (1, False)


@pytest.mark.usefixtures("imported")
def test_the_audit_sees_a_row_that_is_not_in_the_file_and_one_that_differs(source: Path) -> None:
    Airport.objects.filter(code="CCCC").update(latitude=9)
    Airport.objects.create(
        code="DDDD",
        country_id="NO",
        time_zone_id="Europe/Oslo",
        elevation_feet=1,
        latitude=1,
        longitude=1,
    )

    found = audit(source, "r")

    assert (found.foreign, found.garbled, found.is_clean) == (1, 1, False)
