"""fluxio_prune: delete ended runs that are kept no longer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from django.core.management.base import CommandParser

from fluxio_django import services
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.table import Column, draw
from fluxio_django.retention import Due, Pruned

_COLUMNS = [
    Column(title="pipeline"),
    Column(title="status"),
    Column(title="runs", right=True),
    Column(title="rows", right=True),
]
_SECONDS_BETWEEN_REPORTS = 1.0


class Command(FluxioCommand):
    """Prunes runs."""

    help = (
        "Delete ended runs that FLUXIO['RETENTION'] keeps no longer, with their rows, in small "
        "transactions. Open runs are never touched."
    )
    json_help = "Write one JSON object."
    closing_words = (
        "It can be interrupted at any time, run by several processes at once, and run again: each "
        "transaction is complete in itself. The sweep does the same, little by little."
    )
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether to do it."""
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="Only say what would be deleted."
        )

    def perform(self, options: Options) -> None:
        """Say what is due, then delete it."""
        waiting = services.due_to_be_pruned()
        if options["dry_run"]:
            self._tell(waiting, options)
            return
        done = self._prune(_total(waiting), quiet=options["json"])
        if options["json"]:
            facts = {"dry_run": False, "runs": done.runs, "rows": done.rows, "kept": done.kept}
            self.terminal.json(facts)
            return
        self.terminal.line(f"Deleted {_amount(done)}.")
        if done.kept:
            self.terminal.line(f"Kept, since other tables need them: {done.kept:,}.")

    def _tell(self, waiting: Sequence[Due], options: Options) -> None:
        total = _total(waiting)
        if options["json"]:
            items = [
                {
                    "pipeline": item.pipeline,
                    "status": item.status,
                    "runs": item.runs,
                    "rows": item.rows,
                }
                for item in waiting
            ]
            facts = {"dry_run": True, "runs": total.runs, "rows": total.rows, "items": items}
            self.terminal.json(facts)
            return
        if waiting:
            cells = [
                [item.pipeline, item.status, f"{item.runs:,}", f"{item.rows:,}"] for item in waiting
            ]
            draw(self.terminal, _COLUMNS, cells)
        self.terminal.line(f"{_amount(total)} would be deleted.")

    def _prune(self, total: Pruned, *, quiet: bool) -> Pruned:
        done, told = Pruned(), self.clock()
        for batch in services.prune():
            done += batch
            if not quiet and self.clock() - told >= _SECONDS_BETWEEN_REPORTS:
                told = self.clock()
                share = min(100 * done.rows // max(total.rows, 1), 100)
                self.terminal.line(f"{share:3d} %: {_amount(done)} deleted")
                self.terminal.flush()
        return done


def _total(waiting: Sequence[Due]) -> Pruned:
    return Pruned(runs=sum(item.runs for item in waiting), rows=sum(item.rows for item in waiting))


def _amount(pruned: Pruned) -> str:
    runs = "1 run" if pruned.runs == 1 else f"{pruned.runs:,} runs"
    return f"{runs} with {pruned.rows:,} rows"
