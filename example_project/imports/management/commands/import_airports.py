"""import_airports: how a command of one's own starts a pipeline and tells its progress."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from fluxio import BaseCallback, Watchers
from fluxio.events import StepEnded, StepStarted
from fluxio.runtime.step import Step
from fluxio_django import services


class Command(BaseCommand):
    """Imports airports; writes a line whenever a step begins, gets ahead or is done."""

    help = "Import airports from a CSV file; fluxio_resume goes on with an import that was killed."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and the id of the run."""
        parser.add_argument("path", nargs="?", help="A CSV file; that of airportsdata if left out.")
        parser.add_argument("--run-id", help="Random if left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the pipeline in this process."""
        initial = {"path": options["path"]} if options["path"] else {}
        watch = Watchers(callbacks=[_Lines(self)], report=self._report)
        final = services.start("imports.airports", initial, run_id=options["run_id"], watch=watch)
        summary = ", ".join(f"{count:,} {what}" for what, count in final["summary"].items())
        self.stdout.write(f"Run {final.run_id}: {summary}")

    def tell(self, step: str, words: str) -> None:
        """Write a line, now."""
        self.stdout.write(f"{step} {words}")
        self.stdout.flush()

    def _report(self, step: Step, done: int, total: int | None, note: str) -> None:
        self.tell(step.key, f"{done}/{total} {note}")


class _Lines(BaseCallback):
    def __init__(self, command: Command) -> None:
        self._command = command

    async def on_step_start(self, event: StepStarted) -> None:
        self._command.tell(event.step, "begins")

    async def on_step_end(self, event: StepEnded) -> None:
        self._command.tell(event.step, "done")
