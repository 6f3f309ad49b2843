"""Reads the file of airports: one row at a time, and proof that it is still the same file."""

import csv
import hashlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

Row = dict[str, str]

COLUMNS = (
    "icao",
    "iata",
    "name",
    "city",
    "subd",
    "country",
    "elevation",
    "lat",
    "lon",
    "tz",
)


class FileRefusedError(Exception):
    """The file is not what an import can work on."""


def installed_file() -> Path:
    """The file inside the `airportsdata` package.

    Raises:
        FileRefusedError: the package is not installed.
    """
    try:
        return Path(str(resources.files("airportsdata") / "airports.csv"))
    except ModuleNotFoundError:
        raise FileRefusedError(
            "The airportsdata package is not installed. Install it, or give the path of a CSV file."
        ) from None


def sha256_of(path: Path) -> str:
    """What identifies the file's content, as 64 hexadecimal digits.

    Raises:
        FileRefusedError: there is no such file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise FileRefusedError(f"{path} cannot be read ({problem.strerror}).") from problem


def numbered_rows(path: Path, *, sha256: str) -> Iterator[tuple[int, Row]]:
    """The rows of a file that is still the one with this content, with their line numbers.

    A stage comes back to the file after a crash, perhaps days later and on another machine.

    Raises:
        FileRefusedError: the file is gone, has changed, or has other columns.
    """
    if sha256_of(path) != sha256:
        raise FileRefusedError(
            f"{path} has changed since the run read it. Bring the old file back, or start anew."
        )
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise FileRefusedError(f"{path} has no column {', '.join(missing)}.")
        for row in reader:
            yield reader.line_num, row
