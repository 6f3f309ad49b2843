"""fluxio_replay: run again under the same id, as a new attempt."""

from __future__ import annotations

from django.core.management.base import CommandParser

from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP
from fluxio_django.management.command import Options
from fluxio_django.management.execution import ExecutingCommand, Execution
from fluxio_django.management.forcing import add_forcing, force_of
from fluxio_django.management.runs import find_run, step_key


class Command(ExecutingCommand):
    """Replays a run."""

    help = (
        "Run again under the same id, as a new attempt: an unfinished run from its last "
        "checkpoint, a finished one from its beginning. Earlier rows of its history are never "
        "altered."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The run, and where to begin."""
        super().add_arguments(parser)
        parser.add_argument("run_id", metavar="run-id", help=RUN_ID_HELP)
        parser.add_argument(
            "--from-step",
            metavar="STEP",
            help="Begin with the state recorded before this step (a step key or a stage's name).",
        )
        add_forcing(parser)

    def prepare(self, options: Options) -> Execution:
        """The run, from the step asked for."""
        force = force_of(options)
        run = find_run(options["run_id"])
        pipeline = services.pipeline_of(run)
        step = options["from_step"]
        from_step = None if step is None else step_key(pipeline, step)
        return Execution(
            run_id=run.run_id,
            pipeline=pipeline,
            work=lambda watch: services.replay(
                run.run_id, from_step=from_step, watch=watch, force=force
            ),
        )
