"""fluxio_recover: get going what got stuck, once or from now on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

from django.core.management.base import CommandParser
from django.db import close_old_connections

from fluxio.errors import StoreError
from fluxio_django import recovery, services
from fluxio_django.conf import settings
from fluxio_django.management.command import FluxioCommand, Options
from fluxio_django.management.terminal import Text, Tone
from fluxio_django.recovery import Swept


class Command(FluxioCommand):
    """Sweeps."""

    help = (
        "Look for what got stuck, and get it going: queued runs whose message was lost are handed "
        "to a worker again, runs whose worker is gone are taken over, those that lost too many "
        "workers are given up, and those that were to be cancelled are."
    )
    json_help = "Write one JSON object a sweep; with --watch only for those that found something."
    closing_words = (
        "Any number of processes may sweep at the same time. With the dispatcher 'inline' the runs "
        "are executed in this process, before it ends."
    )
    stopped: Callable[[float], bool] | None = None
    """Waits so many seconds, and says whether to stop; None listens to SIGTERM meanwhile."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Once, or again and again."""
        super().add_arguments(parser)
        parser.add_argument(
            "--watch",
            action="store_true",
            help="Sweep every FLUXIO['SWEEP_SECONDS'] until SIGTERM or Ctrl-C.",
        )

    def perform(self, options: Options) -> None:
        """Sweep."""
        if options["watch"]:
            self._watch(options)
            return
        swept = recovery.sweep(services.database())
        if options["json"]:
            self.terminal.json(asdict(swept))
        elif options["verbosity"] > 0:
            self.terminal.line(_words(swept) if swept else "Nothing got stuck.")

    def _watch(self, options: Options) -> None:
        quiet = options["json"] or options["verbosity"] == 0
        if not quiet:
            pause = f"{settings().sweep_seconds:g}"
            self._tell(f"Sweeping every {pause} s. Ctrl-C ends it.")
        with _until_terminated() as told_to_stop:
            stopped = self.stopped or told_to_stop
            while True:
                self._sweep(options)
                close_old_connections()
                if stopped(settings().sweep_seconds):
                    return

    def _sweep(self, options: Options) -> None:
        try:
            swept = recovery.sweep(services.database())
        except StoreError as problem:
            # What is there to watch over will be there when the database is back.
            self.stderr.write(f"{problem} Trying again.")
            return
        if swept and options["json"]:
            self.terminal.json(asdict(swept))
            self.terminal.flush()
        elif swept and options["verbosity"] > 0:
            self._tell(_words(swept))

    def _tell(self, words: str | Text) -> None:
        self.terminal.line(words)
        self.terminal.flush()


def _words(swept: Swept) -> Text:
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (swept.dispatched, "handed to workers again"),
            (swept.taken_over, "handed over from workers that are gone"),
            (swept.buried, "given up"),
            (swept.cancelled, "cancelled"),
            (swept.pruned, "deleted for their age"),
        )
        if number
    ]
    return Text(f"Runs: {', '.join(parts)}.", Tone.CAREFUL if swept.buried else Tone.PLAIN)


@contextmanager
def _until_terminated() -> Iterator[Callable[[float], bool]]:
    """A way to wait that SIGTERM ends; it ends nothing in the middle of a sweep."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event.wait
        return

    def end(number: int, frame: FrameType | None) -> None:
        event.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield event.wait
    finally:
        signal.signal(signal.SIGTERM, before)
