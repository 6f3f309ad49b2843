"""fluxio_cancel: end runs that nobody wants any more."""

from __future__ import annotations

from django.core.management.base import CommandParser

from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import find_run
from fluxio_django.management.several import each_run


class Command(FluxioCommand):
    """Cancels runs."""

    help = (
        "Cancel runs: at once where nobody executes them, otherwise the worker is asked to stop, "
        "which it does at the next await or between two stages, a few seconds later at most."
    )
    json_help = "Write one JSON object a line for each run."
    closing_words = (
        "What was recorded stays: fluxio_resume and fluxio_requeue go on with a cancelled run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which runs, and why."""
        super().add_arguments(parser)
        parser.add_argument("run_id", nargs="+", metavar="run-id", help=RUN_ID_HELP)
        parser.add_argument(
            "--reason", default="", help="Why; it is kept with the run. At most 500 characters."
        )

    def perform(self, options: Options) -> None:
        """Cancel them, one after the other."""
        each_run(self, options, lambda run_id: self._cancel(run_id, options))

    def _cancel(self, run_id: str, options: Options) -> None:
        run = find_run(run_id)
        status = services.cancel(run.run_id, options["reason"])
        if options["json"]:
            asked = status is RunStatus.RUNNING
            self.terminal.json({"run_id": run.run_id, "status": status.value, "asked": asked})
        elif status is RunStatus.RUNNING:
            self.terminal.line(f"Run {run.run_id} is being executed; its worker is asked to stop.")
        else:
            self.terminal.line(f"Run {run.run_id} is cancelled.")
