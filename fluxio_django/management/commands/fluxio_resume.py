"""fluxio_resume: go on with a run from its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.core.management.base import CommandError, CommandParser

from fluxio.errors import FluxioError, ForeignRunError, RunIDInUseError
from fluxio.types import RunStatus
from fluxio_django import services
from fluxio_django.management.arguments import RUN_ID_HELP
from fluxio_django.management.command import Options
from fluxio_django.management.execution import ExecutingCommand, Execution
from fluxio_django.management.forcing import add_forcing, force_of
from fluxio_django.management.refusal import refusal
from fluxio_django.management.runs import find_run, local
from fluxio_django.models import Run

_SECONDS_BETWEEN_LOOKS = 1.0


class Command(ExecutingCommand):
    """Resumes a run."""

    help = (
        "Go on with a run from its last checkpoint, in this process. Steps that are recorded do "
        "not run again; a run that has succeeded gives its stored result."
    )
    pause: Callable[[float], None] = staticmethod(time.sleep)
    """How to wait, for so many seconds."""

    def add_arguments(self, parser: CommandParser) -> None:
        """The run, and whether to wait for it."""
        super().add_arguments(parser)
        parser.add_argument("run_id", metavar="run-id", help=RUN_ID_HELP)
        parser.add_argument(
            "--wait",
            action="store_true",
            help="If a worker held the run and was killed, wait until its lease expires.",
        )
        add_forcing(parser)

    def prepare(self, options: Options) -> Execution:
        """The run, once it is free where --wait was given."""
        force = force_of(options)
        run = find_run(options["run_id"])
        pipeline = services.pipeline_of(run)
        if options["wait"]:
            self._await_lease(run, quiet=options["json"] or options["verbosity"] == 0)
        return Execution(
            run_id=run.run_id,
            pipeline=pipeline,
            work=lambda watch: services.resume(run.run_id, watch=watch, force=force),
        )

    def refused(
        self, execution: Execution, problem: CommandError | FluxioError, options: Options
    ) -> Exception:
        """Point to --wait where that could help."""
        in_use = isinstance(problem, RunIDInUseError) and not isinstance(problem, ForeignRunError)
        if in_use and not options["wait"]:
            return refusal(
                f"{problem}\nIf that worker was killed, --wait waits for its lease to end."
            )
        return problem

    def _await_lease(self, run: Run, *, quiet: bool) -> None:
        """Return when nobody executes the run any more.

        Raises:
            CommandError: its worker is alive: the lease was renewed in the meantime.
        """
        lease = run.lease_expires_at
        if not quiet and _is_held(run):
            self.terminal.line(
                f"Run {run.run_id} is held by {run.owner}. Waiting for its lease to end, at the "
                f"latest at {local(lease)}."
            )
            self.terminal.flush()
        while _is_held(run):
            self.pause(_SECONDS_BETWEEN_LOOKS)
            run = services.find_run(run.run_id)
            if _is_held(run) and run.lease_expires_at != lease:
                raise refusal(
                    f"Run {run.run_id!r} is being executed by {run.owner}, which is alive: it "
                    f"renewed its lease, to {local(run.lease_expires_at)}. Wait for it to end."
                )


def _is_held(run: Run) -> bool:
    return run.status == RunStatus.RUNNING and not services.is_interrupted(run)
