"""How often each guarantee was tried and how often it was broken, as one table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fluxio.verification import Rule
from tests.durability.harness.actors import Finding
from tests.durability.harness.verdicts import Wrong

GUARANTEES: Mapping[str, str] = {
    Rule.ORDER: "G1",
    Rule.SEAL: "G16",
    Rule.RECORD: "G1",
    Rule.ONCE: "G1",
    Rule.ROUTE: "G10",
    Rule.PROGRAM: "G1",
    Rule.RERUN: "G1",
    Rule.COMMITTER: "G2",
    Rule.EXECUTIONS: "G4",
    Wrong.LOST: "G1",
    Wrong.UNFINISHED: "G1",
    Wrong.RESULT: "G1",
    Wrong.LEDGER: "G3",
    Wrong.ANSWER: "G1",
    Wrong.HANG: "G7",
}
"""Which guarantee a broken rule belongs to, where the trial does not say it better."""


@dataclass
class Count:
    """Trials of one guarantee on one database."""

    trials: int = 0
    violations: int = 0


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
        self, guarantees: Iterable[str], place: str, findings: Iterable[Finding], main: str
    ) -> None:
        """One trial that proves several guarantees; what fits none of them is held against one."""
        broken = {GUARANTEES[rule] for rule, _ in findings}
        known = list(guarantees)
        for guarantee in known:
            self.add(guarantee, place, 1, guarantee in broken)
        if broken - set(known):
            self.add(main, place, 0, 0 if main in broken else 1)

    def lines(self) -> list[str]:
        """The table, sorted by guarantee and database."""
        head = ("guarantee", "database", "trials", "violations")
        body = [
            (guarantee, place, f"{count.trials:,}", f"{count.violations:,}")
            for (guarantee, place), count in sorted(self.counts.items(), key=_by_number)
        ]
        widths = [max(len(line[at]) for line in (head, *body)) for at in range(len(head))]
        return [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}"
            for a, b, c, d in (head, *body)
        ]


def _by_number(item: tuple[tuple[str, str], Count]) -> tuple[int, str, str]:
    guarantee, place = item[0]
    digits = "".join(character for character in guarantee if character.isdigit())
    return int(digits or 0), guarantee, place
