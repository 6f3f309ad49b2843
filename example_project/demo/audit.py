"""Counts for itself what an import should have left behind, and what it did leave.

Nothing of the import is used but its tables: not its reader, its rules or its own counts.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from example_project.imports.models import Airport, LedgerEntry, RejectedRow


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Rows of a file, and where they are now.

    `double` counts rows that one run wrote more often than once, `lost` the rows of the file that
    are neither in the table nor kept aside, `foreign` the rows of the table that are not in the
    file, `garbled` those that say something else there.
    """

    in_file: int
    kept_aside: int
    in_table: int
    double: int
    lost: int
    foreign: int
    garbled: int

    @property
    def is_clean(self) -> bool:
        """Whether every row is where it belongs, once."""
        nothing_wrong = not (self.double or self.lost or self.foreign or self.garbled)
        return nothing_wrong and self.in_table + self.kept_aside == self.in_file


def audit(path: Path, run_id: str) -> Audit:
    """Compare a file with the tables, after a run."""
    in_file = dict(_numbered_rows(path))
    aside = set(RejectedRow.objects.values_list("line", flat=True))
    wanted = {
        row["icao"]: (row["country"], row["tz"], float(row["lat"]), float(row["lon"]))
        for line, row in in_file.items()
        if line not in aside
    }
    columns = ("country_id", "time_zone_id", "latitude", "longitude")
    found = {code: facts for code, *facts in Airport.objects.values_list("code", *columns)}
    entries = LedgerEntry.objects.filter(run_id=run_id).values_list("airport_id", flat=True)
    written = Counter(entries)
    return Audit(
        in_file=len(in_file),
        kept_aside=len(aside),
        in_table=len(found),
        double=written.total() - len(written),
        lost=len(wanted.keys() - (found.keys() & written.keys())),
        foreign=len(found.keys() - wanted.keys()),
        garbled=sum(tuple(found[code]) != wanted[code] for code in found.keys() & wanted.keys()),
    )


def _numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row
