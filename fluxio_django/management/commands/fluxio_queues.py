"""fluxio_queues: how the queues stand; pauses and resumes them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from fluxio_django import services
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.runs import iso, local
from fluxio_django.management.table import Column, draw
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.tickets import QueueState

_COLUMNS = [
    Column(title="queue"),
    Column(title="waiting", right=True),
    Column(title="held back", right=True),
    Column(title="running", right=True),
    Column(title="oldest", optional=True),
    Column(title="paused", least=12),
]


class Command(FluxioCommand):
    """Lists, pauses and resumes queues."""

    help = (
        "List the queues: how many runs wait in each, how many of those a worker left where they "
        "were (fluxio_show says why), and since when the oldest one waits. Or pause or resume one."
    )
    json_help = "Write one JSON object a line for each queue."
    closing_words = (
        "While a queue is paused no worker begins with its runs; those that are being executed go "
        "on. Runs can still be enqueued."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """What to do with which queue."""
        super().add_arguments(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--pause", metavar="QUEUE", help="Let no worker begin with its runs.")
        what.add_argument("--resume", metavar="QUEUE", help="Let workers begin with them again.")
        parser.add_argument("--reason", default="", help="Why it is paused; shown in the list.")

    def perform(self, options: Options) -> None:
        """Change what is to be changed, then write the list."""
        if options["pause"]:
            services.pause_queue(options["pause"], options["reason"])
        if options["resume"]:
            services.resume_queue(options["resume"])
        states = services.queues()
        if options["json"]:
            for state in states:
                self.terminal.json(_facts(state))
        elif options["verbosity"] > 0:
            draw(self.terminal, _COLUMNS, [_row(state) for state in states])


def _row(state: QueueState) -> list[str | Text]:
    paused = f"since {local(state.paused_at)}" if state.paused_at else ""
    reason = f": {state.reason}" if state.reason else ""
    return [
        state.name,
        str(state.queued),
        Text(str(state.held_back), Tone.CAREFUL if state.held_back else Tone.PLAIN),
        str(state.running),
        local(state.oldest),
        Text(paused + reason, Tone.CAREFUL),
    ]


def _facts(state: QueueState) -> dict[str, Any]:
    return {
        "queue": state.name,
        "waiting": state.queued,
        "held_back": state.held_back,
        "running": state.running,
        "oldest": iso(state.oldest),
        "paused_at": iso(state.paused_at),
        "reason": state.reason,
    }
