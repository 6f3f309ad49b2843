"""fluxio_runs: the newest runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from django.core.management.base import CommandParser

from fluxio.types import RunStatus
from fluxio_django.management.arguments import at_least_one
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import (
    INTERRUPTED,
    STATUSES,
    local,
    run_facts,
    status_of,
    status_text,
)
from fluxio_django.management.table import Column, draw
from fluxio_django.models import Run
from fluxio_django.redaction import shown_text
from fluxio_django.tables import Tables

_COLUMNS = [
    Column(title="run"),
    Column(title="status"),
    Column(title="pipeline", least=10),
    Column(title="step", least=10),
    Column(title="rows", right=True, optional=True),
    Column(title="created", optional=True),
    Column(title="error", least=12, optional=True),
]


class Command(FluxioCommand):
    """Lists runs."""

    help = "List the newest runs, the newest first."
    json_help = "Write one JSON object a line for each run."
    closing_words = (
        f"A run that is shown as {INTERRUPTED} counts as running, but its worker is gone: "
        "fluxio_resume goes on with it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which runs, and how many."""
        super().add_arguments(parser)
        parser.add_argument("--status", choices=STATUSES, help="Only runs in this status.")
        parser.add_argument("--pipeline", help="Only runs of this pipeline.")
        parser.add_argument(
            "--limit", type=at_least_one, default=20, metavar="N", help="At most so many (20)."
        )

    def perform(self, options: Options) -> None:
        """Write the runs."""
        found = _matching(options["status"], options["pipeline"])
        runs = list(islice(found, options["limit"]))
        if options["json"]:
            for run, status in runs:
                self.terminal.json(run_facts(run, status))
            return
        if not runs and (options["status"] or options["pipeline"]):
            self.terminal.line("No such runs.")
            return
        if not runs:
            self.terminal.line(
                "No runs. Start one with fluxio_run; fluxio_list shows the pipelines."
            )
            return
        draw(
            self.terminal,
            _COLUMNS,
            [
                [
                    run.run_id,
                    status_text(status),
                    run.pipeline,
                    run.step,
                    str(run.head + 1),
                    local(run.created_at),
                    shown_text(run.error),
                ]
                for run, status in runs
            ],
        )
        if next(found, None) is not None:
            self.terminal.line(
                f"There are more; --limit {options['limit'] * 2} shows twice as many."
            )


def _matching(status: str | None, pipeline: str | None) -> Iterator[tuple[Run, str]]:
    """Runs and their statuses as they are shown, newest first."""
    runs = Tables().runs
    if pipeline is not None:
        # What is no name cannot be asked for in every database.
        runs = runs.filter(pipeline=pipeline) if pipeline.isprintable() else runs.none()
    if status is not None:
        # Whether a running run was interrupted is not in the database.
        runs = runs.filter(status=RunStatus.RUNNING if status == INTERRUPTED else status)
    for run in runs.newest_first():
        shown = status_of(run)
        if status is None or shown == status:
            yield run, shown
