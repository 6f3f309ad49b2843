"""Commands that do the same to several runs: one that is refused does not keep the others back."""

from __future__ import annotations

from collections.abc import Callable

from fluxio.errors import FluxioError, StoreError
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.refusal import refusal


def each_run(command: FluxioCommand, options: Options, act: Callable[[str], None]) -> None:
    """Do something to each run in `run_id`, and refuse in the end if one of them was.

    Raises:
        CommandError: some were refused; why was written to standard error, or is said here where
            there is only one.
    """
    run_ids: list[str] = options["run_id"]
    refused = 0
    for run_id in run_ids:
        try:
            act(run_id)
        except StoreError:
            raise
        except FluxioError as problem:
            if len(run_ids) == 1:
                raise
            refused += 1
            command.terminal.flush()
            command.stderr.write(str(refusal(str(problem))))
    if refused:
        raise refusal(f"{refused:,} of {len(run_ids):,} runs were refused.")
