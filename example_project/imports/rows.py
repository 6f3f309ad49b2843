"""What a row means: what is wrong with it, the airport it describes, and its part of the world."""

import math
import re
from collections.abc import Iterator

from example_project.imports.files import Row
from example_project.imports.models import Airport

PARTS = ("africa", "asia", "europe", "americas", "united_states", "oceania", "islands_and_ice")
"""Parts of the world that are written one after the other; a row belongs to exactly one."""

_PART_BY_AREA = {
    "Africa": "africa",
    "America": "americas",
    "Asia": "asia",
    "Australia": "oceania",
    "Europe": "europe",
    "Pacific": "oceania",
}

_SHAPES = {
    "icao": re.compile(r"[A-Z0-9]{4}"),
    "iata": re.compile(r"([A-Z]{3})?"),
    "country": re.compile(r"[A-Z]{2}"),
    "tz": re.compile(r"[A-Z][A-Za-z]+(/[A-Za-z0-9_+\-]+){1,2}"),
}
_BOUNDS = {"lat": 90.0, "lon": 180.0, "elevation": 30_000.0}
_LONGEST = {"name": 100, "city": 100, "subd": 100, "tz": 64}


def part_of(row: Row) -> str:
    """The part of the world a row belongs to, one of `PARTS`."""
    if row["country"] == "US":
        return "united_states"
    area = row["tz"].partition("/")[0]
    return _PART_BY_AREA.get(area, "islands_and_ice")


def airport_of(row: Row) -> Airport:
    """The airport that a sound row describes; it is not saved."""
    return Airport(
        code=row["icao"],
        iata=row["iata"],
        name=row["name"].strip(),
        city=row["city"].strip(),
        region=row["subd"].strip(),
        country_id=row["country"],
        time_zone_id=row["tz"],
        elevation_feet=float(row["elevation"]),
        latitude=float(row["lat"]),
        longitude=float(row["lon"]),
    )


class Inspector:
    """Looks at the rows of one file in their order, and remembers them to find repetitions."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, ...], int] = {}

    def reasons(self, line: int, row: Row) -> list[str]:
        """Why a row is refused; empty when it is sound."""
        return [*_wrong_values(row), *self._repeated(line, row)]

    def _repeated(self, line: int, row: Row) -> Iterator[str]:
        for what, columns in (
            ("code", ("icao",)),
            ("name and place", ("name", "lat", "lon")),
        ):
            key = (what, *(row[column] for column in columns))
            first = self._lines.setdefault(key, line)
            if first != line:
                yield f"{what} as in line {first}"


def _wrong_values(row: Row) -> Iterator[str]:
    for column, shape in _SHAPES.items():
        if shape.fullmatch(row[column]) is None:
            yield f"{column} {row[column]!r} is malformed"
    for column, bound in _BOUNDS.items():
        if not abs(_number(row[column])) <= bound:
            yield f"{column} {row[column]!r} is no number from {-bound:g} to {bound:g}"
    for column, limit in _LONGEST.items():
        if len(row[column]) > limit:
            yield f"{column} is longer than {limit} characters"
    if not row["name"].strip():
        yield "name is empty"
    # Somebody before us lost letters that their encoding did not have.
    if "?" in row["name"] + row["city"]:
        yield "name or city has lost letters"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
