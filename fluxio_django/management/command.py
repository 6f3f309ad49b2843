"""What all commands have in common: --json, exit codes, and one place where errors are told."""

from __future__ import annotations

import shlex
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import PurePath
from textwrap import fill
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.db import Error as DatabaseFailure

from fluxio.errors import FluxioError
from fluxio_django import services
from fluxio_django.management.refusal import EXIT_INTERRUPTED, refusal
from fluxio_django.management.terminal import Terminal

Options = Mapping[str, Any]

_EXIT_CODES = "exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted (Ctrl-C)"


class _HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of options; what stands after them keeps its lines."""


class FluxioCommand(BaseCommand):
    """Base of the commands: `perform` parses, calls one service and renders."""

    json_help = "Write JSON for scripts."
    closing_words = ""
    """Said at the end of --help, before the exit codes."""

    terminal: Terminal
    program = "manage.py"
    owns_process = False
    """Whether the process was started for this command, and ends with it."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's parser, with the exit codes at the end of its help."""
        paragraphs = [fill(self.closing_words, 78)] if self.closing_words else []
        kwargs.setdefault("epilog", "\n\n".join([*paragraphs, _EXIT_CODES]))
        kwargs.setdefault("formatter_class", _HelpFormatter)
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """What every command takes."""
        parser.add_argument("--json", action="store_true", help=self.json_help)

    def run_from_argv(self, argv: list[str]) -> None:
        """Do as Django does; Ctrl-C ends with the exit code that shells expect."""
        self.program, self.owns_process = argv[0], True
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)

    def handle(self, *args: Any, **options: Any) -> None:
        """Perform, and tell every error of ours with what it says itself.

        Raises:
            CommandError: the command was refused, or the run it executed failed.
        """
        force = bool(options["force_color"])
        self.terminal = Terminal(self.stdout, self.style, force_color=force)
        try:
            self.perform(options)
        except FluxioError as problem:
            raise refusal(str(problem)) from problem
        except DatabaseFailure as problem:
            raise refusal(
                f"Database {services.database()!r} failed: {problem}. "
                "Is it running, and has `migrate` been run?"
            ) from problem
        finally:
            self.terminal.flush()

    def perform(self, options: Options) -> None:
        """Do what the command is for.

        Raises:
            FluxioError: it cannot be done.
            CommandError: the same, in words of our own.
        """
        raise NotImplementedError

    def invitation(self, command: str, run_id: str, options: Options) -> str:
        """A command line about a run, which can be pasted into a shell as it is."""
        words = [*_launcher(self.program), command]
        words += [
            f"--{name}={options[name]}" for name in ("settings", "pythonpath") if options[name]
        ]
        words += ["--", run_id] if run_id.startswith("-") else [run_id]
        return shlex.join(words)


def _launcher(program: str) -> list[str]:
    match PurePath(program).name:
        case "__main__.py":
            return ["python", "-m", "django"]
        case name if name.endswith(".py"):
            return ["python", program]
        case name:
            return [name]
