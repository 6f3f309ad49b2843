"""Why a command could not do what it was asked: the one way to say so."""

from __future__ import annotations

from django.core.management.base import CommandError

from fluxio_django.management.terminal import clean_lines

EXIT_REFUSED = 1
"""The exit code of a command that was refused or whose run failed."""

EXIT_INTERRUPTED = 130
"""The exit code of a command that was stopped with Ctrl-C, as shells have it."""


def refusal(message: str) -> CommandError:
    """The error that ends a command with exit code 1. It is shown on standard error, cleaned."""
    return CommandError(clean_lines(message), returncode=EXIT_REFUSED)
