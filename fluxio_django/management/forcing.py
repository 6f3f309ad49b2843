"""The options by which commands go on with a run though other code recorded it."""

from __future__ import annotations

import getpass
import socket

from django.core.management.base import CommandParser

from fluxio.passages import Force
from fluxio_django.management.command import Options
from fluxio_django.management.refusal import refusal


def add_forcing(parser: CommandParser) -> None:
    """--force-version and --reason."""
    parser.add_argument(
        "--force-version",
        action="store_true",
        help="Go on though other code recorded the run; fluxio_check says what to expect.",
    )
    parser.add_argument(
        "--reason", default="", metavar="TEXT", help="Why; kept in the history of the run."
    )


def force_of(options: Options) -> Force | None:
    """The decision that the options express, None where there is none.

    Raises:
        CommandError: no reason was given.
    """
    if not options["force_version"]:
        return None
    if not options["reason"].strip():
        raise refusal("--force-version needs a --reason, which is kept in the run's history.")
    return Force(by=own_name(), reason=options["reason"].strip())


def own_name() -> str:
    """Who calls a command, as far as the machine knows: user and host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
