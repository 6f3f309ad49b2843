"""fluxio_run: run a pipeline in this process, to its end."""

from __future__ import annotations

from django.core.management.base import CommandError, CommandParser

from fluxio.errors import FluxioError, ForeignRunError, RunIDInUseError
from fluxio.runtime.environment import default_environment
from fluxio.types import OnConflict
from fluxio_django import services
from fluxio_django.management.arguments import STANDARD_INPUT, read_object
from fluxio_django.management.command import Options
from fluxio_django.management.execution import ExecutingCommand, Execution
from fluxio_django.management.refusal import refusal
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.management.watching import watch
from fluxio_django.queueing import Wish
from fluxio_django.registry import pipelines


class Command(ExecutingCommand):
    """Runs a registered pipeline."""

    help = (
        "Run a pipeline in this process, to its end, and show the context it ended with; or have "
        "a worker do that, and look on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The pipeline, its input, and the run's id."""
        super().add_arguments(parser)
        parser.add_argument("pipeline", help="Its registered name; fluxio_list shows all.")
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--input",
            metavar="JSON",
            help="A JSON object with the first values of the context; "
            f"{STANDARD_INPUT} reads it from standard input.",
        )
        source.add_argument(
            "--input-file",
            metavar="FILE",
            help=f"A file with that object; {STANDARD_INPUT} is standard input.",
        )
        parser.add_argument(
            "--run-id",
            help="1 to 128 printable ASCII characters without spaces; random if left out.",
        )
        parser.add_argument(
            "--on-conflict",
            choices=[policy.value for policy in OnConflict],
            default=OnConflict.REJECT.value,
            help="What to do if the run id is recorded and nobody executes the run: start again "
            "and delete its history, go on with it, give its stored result, or refuse (default).",
        )
        parser.add_argument(
            "--watch",
            action="store_true",
            help="Leave the run to a worker, and show its steps as they are recorded, until it has "
            "ended. Ctrl-C ends the watching, not the run.",
        )

    def perform(self, options: Options) -> None:
        """Execute the run here; or queue it, and look on."""
        if not options["watch"]:
            super().perform(options)
            return
        name, initial = options["pipeline"], read_object(options["input"], options["input_file"])
        wish = Wish(on_conflict=OnConflict(options["on_conflict"]))
        handle = services.enqueue(name, initial, run_id=options["run_id"], wish=wish)
        if options["verbosity"] > 0 and not options["json"]:
            self.terminal.line(
                Text(f"Run {handle.run_id}", Tone.TITLE), f" of {name} is left to a worker."
            )
            self.terminal.flush()
        watch(self, handle.run_id, options)

    def refused(
        self, execution: Execution, problem: CommandError | FluxioError, options: Options
    ) -> Exception:
        """Name the policies where one of them could help."""
        if isinstance(problem, ForeignRunError):
            return problem
        if isinstance(problem, RunIDInUseError) and problem.owner is None:
            return refusal(f"{problem}\nOr choose with --on-conflict: restart, resume or return.")
        return problem

    def prepare(self, options: Options) -> Execution:
        """A run from its beginning."""
        pipeline = pipelines[options["pipeline"]]
        initial = read_object(options["input"], options["input_file"])
        # Chosen here, so that it can be told whatever happens to the run.
        asked: str | None = options["run_id"]
        run_id = default_environment().new_run_id() if asked is None else asked
        return Execution(
            run_id=run_id,
            pipeline=pipeline,
            work=lambda watch: services.start(
                options["pipeline"],
                initial,
                run_id=run_id,
                on_conflict=OnConflict(options["on_conflict"]),
                watch=watch,
            ),
        )
