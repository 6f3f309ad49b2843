"""How often each guarantee was tried and how often it was broken, as one table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

HEAD = ("guarantee", "database", "trials", "violations")


@dataclass(kw_only=True)
class Count:
    """Trials of one guarantee on one database."""

    trials: int = 0
    violations: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table."""

    guarantee: str
    database: str
    trials: int
    violations: int

    @property
    def rank(self) -> tuple[int, str, str]:
        """Where it stands: by the number of the guarantee, then by database."""
        digits = "".join(character for character in self.guarantee if character.isdigit())
        return int(digits or 0), self.guarantee, self.database


@dataclass
class Tally:
    """Counts of a test run."""

    counts: dict[tuple[str, str], Count] = field(default_factory=dict)

    def add(self, guarantee: str, place: str, trials: int = 1, violations: int = 0) -> None:
        """Some more trials."""
        count = self.counts.setdefault((guarantee, place), Count())
        count.trials += trials
        count.violations += violations

    def add_trial(
        self, guarantees: Iterable[str], place: str, broken: Iterable[str], main: str
    ) -> None:
        """One trial that proves several guarantees; if it broke another one, `main` counts it."""
        known, broken = list(guarantees), set(broken)
        for guarantee in known:
            self.add(guarantee, place, 1, guarantee in broken)
        if broken - set(known):
            self.add(main, place, 0, 0 if main in broken else 1)

    def told(self) -> list[tuple[str, str, int, int]]:
        """All counts, as `add` takes them, in plain values that another process can be sent."""
        return [(*at, count.trials, count.violations) for at, count in self.counts.items()]

    def lines(self) -> list[Line]:
        """The table, sorted by guarantee and database."""
        lines = [
            Line(
                guarantee=guarantee,
                database=place,
                trials=count.trials,
                violations=count.violations,
            )
            for (guarantee, place), count in self.counts.items()
        ]
        return sorted(lines, key=lambda line: line.rank)

    def text(self) -> list[str]:
        """The table as lines of text, its head first."""
        body = [
            (line.guarantee, line.database, f"{line.trials:,}", f"{line.violations:,}")
            for line in self.lines()
        ]
        widths = [max(len(row[at]) for row in (HEAD, *body)) for at in range(len(HEAD))]
        return [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in (HEAD, *body)
        ]


TALLY = pytest.StashKey[Tally]()
"""Where a test run keeps its tally."""
