"""fluxio_fork: run a copy of a run under an id of its own, with other values where wanted."""

from __future__ import annotations

from django.core.management.base import CommandParser

from fluxio.runtime.environment import default_environment
from fluxio.runtime.runs import ForkOrder
from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP, parse_object, parse_pairs
from fluxio_django.management.command import Options
from fluxio_django.management.execution import ExecutingCommand, Execution
from fluxio_django.management.forcing import add_forcing, force_of
from fluxio_django.management.runs import find_run, step_key


class Command(ExecutingCommand):
    """Forks a run."""

    help = (
        "Run a copy of a run under a new id, linked to its source: an unfinished run from its last "
        "checkpoint, a finished one from its beginning. The source is never touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The source, where to begin, and what to set."""
        super().add_arguments(parser)
        parser.add_argument("run_id", metavar="run-id", help=RUN_ID_HELP)
        parser.add_argument(
            "--from-step",
            metavar="STEP",
            help="Begin with the state recorded before this step (a step key or a stage's name).",
        )
        parser.add_argument("--as-run-id", help="The id of the new run; random if left out.")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=JSON",
            dest="pairs",
            help="Set a key of the context before the first step; may be repeated.",
        )
        parser.add_argument(
            "--patch", metavar="JSON", help="Set all keys of a JSON object; --set goes before it."
        )
        add_forcing(parser)

    def prepare(self, options: Options) -> Execution:
        """The new run."""
        force = force_of(options)
        run = find_run(options["run_id"])
        pipeline = services.pipeline_of(run)
        patch = {} if options["patch"] is None else parse_object(options["patch"], "--patch")
        # Chosen here, so that it can be told whatever happens to the run.
        asked: str | None = options["as_run_id"]
        as_run_id = default_environment().new_run_id() if asked is None else asked
        step = options["from_step"]
        order = ForkOrder(
            run_id=run.run_id,
            from_step=None if step is None else step_key(pipeline, step),
            as_run_id=as_run_id,
            patch={**patch, **parse_pairs(options["pairs"], "--set")},
            force=force,
        )
        return Execution(
            run_id=as_run_id,
            pipeline=pipeline,
            work=lambda watch: services.fork(order, watch=watch),
            facts={"source": run.run_id},
        )
