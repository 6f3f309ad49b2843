"""The demo: a real import is killed in the middle, goes on where it stopped, and is forked."""

import signal
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from example_project.demo.audit import Audit, audit
from example_project.demo.bars import Bars
from example_project.demo.child import Import, run_command
from example_project.imports.files import installed_file
from example_project.imports.models import (
    Airport,
    Country,
    LedgerEntry,
    RejectedRow,
    SourceFile,
    TimeZone,
)
from fluxio_django import services
from fluxio_django.models import Run

VICTIM = "choose_route/bulk/upsert_united_states"
"""The step to be killed in: the longest transaction, with others before and after it."""
KILL_AT = 5_000
"""After how many rows of it; more are still to come than have been, so there is time to kill."""
FORK_FROM, CHANGED_KEY, CHANGED_VALUE = "choose_route", "bulk_from", 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wreck:
    """What is left of a run whose process was killed: the step in flight, and its newest row.

    `begun` are the steps that the process had begun, by its own account.
    """

    step: str
    head: int
    begun: frozenset[str]


@dataclass(slots=True)
class Story:
    """Tells the demo on a terminal; `faults` are the figures that are not what they should be."""

    console: Console
    faults: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """Show the four parts."""
        started = time.monotonic()
        _clear_tables()
        run_id = _free_run_id()
        wreck = self._kill(run_id)
        if wreck is not None:
            self._resume(run_id, wreck)
            self._fork(run_id)
        self._point_to_the_admin()
        self.console.print(f"\nThe demo took {time.monotonic() - started:.0f} seconds.")

    # --- the four parts

    def _kill(self, run_id: str) -> Wreck | None:
        self._title("1. An import is killed in the middle")
        self._say(
            "The pipeline imports.airports reads every airport of the airportsdata package. It "
            "runs in a process of its own, which gets SIGKILL in the middle of a transaction."
        )
        self._command("import_airports", "--run-id", run_id)
        child, begun, last = Import(run_id), set(), None
        with Bars(self.console) as bars:
            for progress in child.progress():
                bars.show(progress)
                begun.add(progress.step)
                if last is None and progress.step == VICTIM and progress.done >= KILL_AT:
                    child.kill()
                    last = progress
        code = child.exit_code()
        if last is None or code != -signal.SIGKILL:
            self._fault(f"the import ended with exit code {code} instead of being killed")
            return None
        self.console.print(
            f"[bold red]SIGKILL[/] to process {child.pid}, when {last.done:,} of the "
            f"{last.total:,} rows of {last.step} were written, and none of them committed."
        )
        run = services.find_run(run_id)
        if run.step != last.step:
            self._say(
                f"The kill came late, on this busy machine: {run.step} was in flight by then."
            )
        return Wreck(step=run.step, head=run.head, begun=frozenset(begun))

    def _resume(self, run_id: str, wreck: Wreck) -> None:
        self._title("2. It goes on at the stage that was in flight")
        self._run_command("fluxio_runs")
        run = services.find_run(run_id)
        self._expect("the run is interrupted", services.is_interrupted(run), True)
        left = LedgerEntry.objects.filter(run_id=run_id, step=wreck.step).count()
        self._expect("rows left behind by the killed transaction", left, 0)
        self._run_command("fluxio_resume", run_id)
        again = [
            entry.step
            for entry in services.history(run_id)
            if entry.sequence > wreck.head and entry.step in wreck.begun
        ]
        found = audit(installed_file(), run_id)
        self._show_figures(again, found)
        in_flight = [wreck.step] if wreck.step in wreck.begun else []
        self._expect("stages that ran again", again, in_flight)
        self._expect("the books balance", found.is_clean, True)

    def _fork(self, run_id: str) -> None:
        self._title("3. The run is forked with one changed value, and the two are compared")
        fork_id = f"{run_id}-fork"
        self._say(
            f"What if {CHANGED_KEY} had been {CHANGED_VALUE:,}? The fork starts at {FORK_FROM} "
            "with what was recorded there, takes the other route and writes all in one transaction."
        )
        value = f"{CHANGED_KEY}={CHANGED_VALUE}"
        self._run_command(
            "fluxio_fork", run_id, "--from-step", FORK_FROM, "--set", value, "--as-run-id", fork_id
        )
        self._run_command("fluxio_diff", run_id, fork_id)
        differing = sorted(services.diff(run_id, fork_id))
        self._expect("what differs", differing, [CHANGED_KEY, "summary", "upserted"])
        self._expect("the books balance", audit(installed_file(), fork_id).is_clean, True)

    def _point_to_the_admin(self) -> None:
        self._title("4. The same in the admin")
        self._say(
            "[bold]make serve[/] prints an address and a login. There: both runs with their steps "
            "and values, and the actions resume, replay, fork and diff."
        )

    # --- how it is told

    def _title(self, text: str) -> None:
        self.console.print()
        self.console.print(Rule(f"[bold]{text}", align="left", style="dim"))

    def _say(self, text: str) -> None:
        self.console.print(text, width=min(self.console.width, 100))

    def _command(self, *words: str) -> None:
        self.console.print(f"\n[dim]$[/] [bold]manage.py {' '.join(words)}", soft_wrap=True)

    def _run_command(self, *words: str) -> None:
        self._command(*words)
        self.console.file.flush()
        code = run_command(*words)
        self._expect(f"exit code of {words[0]}", code, 0)

    def _show_figures(self, again: list[str], found: Audit) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(justify="right")
        table.add_column()
        table.add_row(f"{len(again)}", f"stage ran again, the one in flight: {', '.join(again)}")
        table.add_row(f"{found.in_file:,}", "rows in the file")
        table.add_row(
            f"{found.kept_aside:,}", f"rows kept aside, such as {RejectedRow.objects.first()}"
        )
        table.add_row(f"{found.in_table:,}", "rows in the table")
        table.add_row(f"{found.double:,}", "double rows")
        table.add_row(f"{found.lost:,}", "rows lost")
        table.add_row(f"{found.garbled + found.foreign:,}", "rows that differ from the file")
        self.console.print("\nCounted afterwards, from the file and the tables alone:")
        self.console.print(table)

    def _expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self._fault(f"{what}: {found!r}, should be {wanted!r}")

    def _fault(self, text: str) -> None:
        self.faults.append(text)
        self.console.print(f"[bold red]WRONG[/] {text}")


def _clear_tables() -> None:
    """Begin with empty tables; the runs of earlier demos stay."""
    for model in (Airport, Country, TimeZone, SourceFile):
        model.objects.all().delete()


def _free_run_id() -> str:
    taken = set(Run.objects.values_list("run_id", flat=True))
    number = 1
    while f"airports-{number}" in taken:
        number += 1
    return f"airports-{number}"
