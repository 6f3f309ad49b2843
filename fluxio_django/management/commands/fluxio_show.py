"""fluxio_show: one run, its history and its context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from fluxio.context import Context
from fluxio.runtime.history import HistoryEntry
from fluxio.runtime.reading import Moment
from fluxio.store.base import RowKind
from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP, moment
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import (
    INTERRUPTED,
    elapsed,
    entry_facts,
    find_run,
    local,
    moment_of_run,
    outcome_of,
    progress_words,
    run_facts,
    status_of,
    status_text,
)
from fluxio_django.management.table import Column, draw
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.management.watching import watch
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text
from fluxio_django.values import JSON_RULE, json_values, short

_COLUMNS = [
    Column(title="row", right=True),
    Column(title="step", least=12),
    Column(title="outcome", least=16),
    Column(title="took", right=True, optional=True),
    Column(title="tries", right=True, optional=True),
    Column(title="bytes", right=True, optional=True),
    Column(title="attempt", right=True, optional=True),
]


class Command(FluxioCommand):
    """Shows a run."""

    help = "Show a run: where it stands, what each step wrote, its context and its error."
    json_help = "Write one JSON object."
    closing_words = JSON_RULE

    def add_arguments(self, parser: CommandParser) -> None:
        """The run, the moment, and how much of it."""
        super().add_arguments(parser)
        parser.add_argument("run_id", metavar="run-id", help=RUN_ID_HELP)
        parser.add_argument(
            "--at",
            type=moment,
            metavar="MOMENT",
            help="Show the context as it was after the row of this number, or before the step of "
            "this key; the newest one if left out.",
        )
        parser.add_argument(
            "--values", action="store_true", help="Show the values too; else only the keys."
        )
        parser.add_argument(
            "--watch",
            action="store_true",
            help="Show its steps as they are recorded, until the run has ended; exit code 1 where "
            "it did not succeed.",
        )

    def perform(self, options: Options) -> None:
        """Write the run, or what happens to it."""
        run = find_run(options["run_id"])
        if options["watch"]:
            watch(self, run.run_id, options)
            return
        status, at = status_of(run), moment_of_run(run.run_id, options["at"])
        if not options["json"]:
            # Before anything is decoded: of a damaged run, this much can be shown.
            self._head(run, status, options)
        entries, context = services.history(run.run_id), services.state(run.run_id, at)
        if options["json"]:
            self.terminal.json(_facts(run_facts(run, status), entries, context, options))
            return
        self._steps(entries)
        self._context(context, at, options)
        self._error(entries, options)

    def _head(self, run: Run, status: str, options: Options) -> None:
        self.terminal.line(Text(f"Run {run.run_id}", Tone.TITLE), f" of {run.pipeline}")
        facts: dict[str, str | Text] = {"status": status_text(status)}
        if status == INTERRUPTED:
            resume = self.invitation("fluxio_resume", run.run_id, options)
            facts["worker"] = f"{run.owner} is gone; go on with: {resume}"
        elif run.owner:
            facts["worker"] = f"{run.owner}, lease until {local(run.lease_expires_at)}"
        if run.held_back:
            facts["held back"] = Text(run.held_back, Tone.CAREFUL)
        facts |= {
            "step": run.step,
            "progress": progress_words(services.progress(run)),
            "version": run.version,
            "attempt": str(run.attempt),
        }
        if run.parent:
            facts["forked from"] = f"{run.parent}, row {run.parent_sequence}"
        facts |= {"created": local(run.created_at), "finished": local(run.finished_at)}
        if run.error and status != RunStatus.CANCELLED:
            facts["error"] = Text(shown_text(run.error), Tone.BAD)
        for name, fact in facts.items():
            if fact:
                self.terminal.line(f"  {name:<12}", fact)

    def _steps(self, entries: Sequence[HistoryEntry]) -> None:
        self.terminal.line()
        draw(self.terminal, _COLUMNS, [_row(entry) for entry in entries])

    def _context(self, context: Context, at: Moment, options: Options) -> None:
        self.terminal.line()
        title = f"Context {_moment_words(at)}"
        if not options["values"]:
            keys = ", ".join(context) or "empty"
            self.terminal.line(Text(title, Tone.TITLE), f": {keys}  (--values shows the values)")
            return
        self.terminal.line(Text(title, Tone.TITLE))
        if at is not None:
            columns = [Column(title="key", least=10), Column(title="value", least=16)]
            draw(self.terminal, columns, [[key, short(value)] for key, value in context.items()])
            return
        origin = services.provenance(options["run_id"])
        columns = [
            Column(title="key", least=10),
            Column(title="set by row", right=True, optional=True),
            Column(title="value", least=16),
        ]
        rows = [[key, str(origin.get(key, "")), short(value)] for key, value in context.items()]
        draw(self.terminal, columns, rows)

    def _error(self, entries: Sequence[HistoryEntry], options: Options) -> None:
        last = entries[-1]
        if last.kind is not RowKind.ERROR or last.error is None:
            return
        self.terminal.line()
        where = f" at step {last.step}" if last.step else ""
        self.terminal.line(Text(f"{last.error.type}{where}", Tone.BAD))
        for line in last.error.message.splitlines():
            self.terminal.line(f"  {line}")
        if options["verbosity"] > 1:
            self.terminal.lines(last.error.traceback)
        else:
            self.terminal.line("  (-v 2 shows the traceback)")


def _facts(
    run: dict[str, Any], entries: Sequence[HistoryEntry], context: Context, options: Options
) -> dict[str, Any]:
    values = options["values"]
    return {
        **run,
        "rows": [entry_facts(entry, values=values) for entry in entries],
        "at": options["at"],
        "context": json_values(context) if values else list(context),
    }


def _row(entry: HistoryEntry) -> list[str | Text]:
    failed = entry.kind is RowKind.ERROR
    is_step = entry.kind is RowKind.STEP
    return [
        str(entry.sequence),
        entry.step or entry.kind.value,
        Text(outcome_of(entry), Tone.BAD if failed else Tone.PLAIN),
        elapsed(entry.duration) if is_step else "",
        str(entry.tries) if entry.tries else "",
        f"{entry.size:,}",
        str(entry.attempt),
    ]


def _moment_words(at: Moment) -> str:
    match at:
        case None:
            return "now"
        case int():
            return f"after row {at}"
        case str():
            return f"before step {at}"
