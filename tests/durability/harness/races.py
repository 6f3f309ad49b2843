"""Many who want the same runs at the same moment."""

import mmap
import os
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from asgiref.sync import async_to_sync
from django.db import connections

from fluxio.store.base import Opening
from fluxio.store.lone import open_journal
from fluxio.testing.conformance.samples import opening
from tests.durability.harness.houses import House
from tests.durability.harness.processes import LIMIT_SECONDS, fork

WON = "won"
_PLACE = struct.Struct("q")

Outcomes = list[str]
"""What came of each run, in order: "won", or the type of the error."""


def race_of_processes(house: str, prefix: str, runs: int, processes: int = 2) -> list[Outcomes]:
    """Processes go for the same runs, each of them at the same moment."""
    with mmap.mmap(-1, processes * _PLACE.size) as places:
        start = _SpinBarrier(places, processes)
        racers = [
            fork(partial(_race, house, prefix, runs, partial(start.wait, number)))
            for number in range(processes)
        ]
        return [racer.wait().said for racer in racers]


def race_of_threads(house: str, prefix: str, runs: int, threads: int = 16) -> list[Outcomes]:
    """Threads of one process do the same."""
    return fork(partial(_race_in_threads, house, prefix, runs, threads)).wait().said


def winners(outcomes: list[Outcomes]) -> Counter[int]:
    """How often each run was won."""
    return Counter(
        number for racer in outcomes for number, outcome in enumerate(racer) if outcome == WON
    )


def losers(outcomes: list[Outcomes]) -> Counter[str]:
    """How often each error was the answer."""
    return Counter(outcome for racer in outcomes for outcome in racer if outcome != WON)


def _race_in_threads(house: str, prefix: str, runs: int, threads: int) -> list[Outcomes]:
    start = Barrier(threads)

    def race() -> Outcomes:
        try:
            return _race(house, prefix, runs, lambda number: start.wait(LIMIT_SECONDS))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(race) for _ in range(threads)]]


def _race(house: str, prefix: str, runs: int, wait: Callable[[int], object]) -> Outcomes:
    """Go for each run in turn; everybody waits for everybody before each."""
    journal = open_journal(House(house).store())
    claim = async_to_sync(journal.open)
    outcomes: Outcomes = []
    for number in range(runs):
        wish: Opening = opening(f"{prefix}-{number}", lease_seconds=60.0)
        wait(number)
        try:
            claim(wish)
        except Exception as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append(WON)
    return outcomes


class _SpinBarrier:
    """A barrier of processes in shared memory; it spins, so that they leave it together."""

    def __init__(self, places: mmap.mmap, processes: int) -> None:
        self._places = places
        self._processes = processes

    def wait(self, me: int, number: int) -> None:
        """Wait until everybody is about to go for this run.

        Raises:
            TimeoutError: somebody does not come.
        """
        deadline = time.monotonic() + LIMIT_SECONDS
        _PLACE.pack_into(self._places, me * _PLACE.size, number + 1)
        while any(self._place(other) <= number for other in range(self._processes)):
            os.sched_yield()
            if time.monotonic() > deadline:
                raise TimeoutError("A racer is missing.")

    def _place(self, process: int) -> int:
        return int(_PLACE.unpack_from(self._places, process * _PLACE.size)[0])
