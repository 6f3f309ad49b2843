"""fluxio_requeue: have a worker go on with runs that failed, were cancelled or were given up."""

from __future__ import annotations

from django.core.management.base import CommandParser

from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import find_run
from fluxio_django.management.several import each_run
from fluxio_django.management.terminal import Text, Tone


class Command(FluxioCommand):
    """Queues runs again."""

    help = (
        "Have a worker go on with runs from their last checkpoint: with runs that failed, were "
        "cancelled or given up. A queued one is dispatched again."
    )
    json_help = "Write one JSON object a line for each run."
    closing_words = (
        "A run that was given up gets as many takeovers as a new one. With the dispatcher 'inline' "
        "the runs are executed in this process, before it ends."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which runs."""
        super().add_arguments(parser)
        parser.add_argument("run_id", nargs="+", metavar="run-id", help=RUN_ID_HELP)

    def perform(self, options: Options) -> None:
        """Queue them, one after the other."""
        each_run(self, options, lambda run_id: self._requeue(run_id, options))

    def _requeue(self, run_id: str, options: Options) -> None:
        run = find_run(run_id)
        problem = services.requeue(run.run_id).problem
        if options["json"]:
            facts = {"run_id": run.run_id, "queue": run.queue, "problem": problem or None}
            self.terminal.json(facts)
            return
        self.terminal.line(f"Run {run.run_id} waits for a worker in queue {run.queue}.")
        if problem:
            words = f"  It could not be dispatched ({problem}); the next sweep does that."
            self.terminal.line(Text(words, Tone.CAREFUL))
