"""Looks at runs on behalf of all the streams of an event loop: with one query, not one for each."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.db import Error

from fluxio.runtime.environment import default_environment
from fluxio_django import services
from fluxio_django.models import Run
from fluxio_django.tables import hop, let_go

logger = logging.getLogger("fluxio.views")

Result = TypeVar("Result")

SECONDS_BETWEEN_LOOKS = 0.5
_MOST_IN_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Sighting:
    """A run as it was seen; None where it is recorded no more."""

    run: Run | None
    interrupted: bool = False

    @property
    def looks(self) -> tuple[Any, ...]:
        """What readers are told of: two sightings that look the same are no news."""
        if self.run is None:
            return ()
        run = self.run
        return (
            run.status,
            run.attempt,
            run.head,
            run.updated_at,
            run.progress_at,
            self.interrupted,
        )


def look_at(run_ids: list[str]) -> dict[str, Sighting]:
    """How these runs are; two queries at most for each 500 of them."""
    seen: dict[str, Sighting] = {}
    for first in range(0, len(run_ids), _MOST_IN_A_QUERY):
        part = run_ids[first : first + _MOST_IN_A_QUERY]
        runs = list(Run.objects.using(services.database()).filter(run_id__in=part).order_by())
        left = services.interrupted(runs)
        seen |= {run.run_id: Sighting(run, run.pk in left) for run in runs}
    return seen


class Seat:
    """Where one stream waits for news of one run."""

    def __init__(self, run_id: str, first: Sighting) -> None:
        self.run_id = run_id
        self._newest = first
        self._news = asyncio.Event()
        self._news.set()

    def tell(self, sighting: Sighting) -> None:
        """Wake the stream, if this is news."""
        if sighting.looks != self._newest.looks:
            self._newest = sighting
            self._news.set()

    async def news(self, seconds: float) -> Sighting | None:
        """The newest sighting that was not given before; None where there is none in time."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return None
        self._news.clear()
        return self._newest


class Watchtower:
    """Looks while somebody wants to know. All its database work is done on one thread."""

    def __init__(self) -> None:
        self._seats: defaultdict[str, set[Seat]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    def enter(self, run_id: str, first: Sighting) -> Seat:
        """A seat for a stream that has seen a run like this."""
        seat = Seat(run_id, first)
        self._seats[run_id].add(seat)
        if self._looking is None:
            loop = asyncio.get_running_loop()
            # A request's own context ends with the request, and so does its thread.
            self._looking = loop.create_task(self._look(), context=Context())
        return seat

    def leave(self, seat: Seat) -> None:
        """Give a seat back; may be done twice."""
        self._seats[seat.run_id].discard(seat)
        if not self._seats[seat.run_id]:
            del self._seats[seat.run_id]

    async def ask(self, question: Callable[[], Result]) -> Result:
        """Do blocking work on the thread of the tower, whoever asks."""
        loop = asyncio.get_running_loop()
        return await loop.create_task(hop(question), context=Context())

    async def _look(self) -> None:
        try:
            while self._seats:
                await default_environment().clock.sleep(SECONDS_BETWEEN_LOOKS)
                await self._look_once()
        finally:
            self._looking = None
        await hop(let_go)

    async def _look_once(self) -> None:
        watched = list(self._seats)
        try:
            seen = await hop(partial(look_at, watched))
        except Error as problem:
            logger.warning("Runs could not be looked at, which is tried again: %s", problem)
            await hop(let_go)
            return
        for run_id in watched:
            for seat in list(self._seats.get(run_id, ())):
                seat.tell(seen.get(run_id, Sighting(None)))


_towers: WeakKeyDictionary[asyncio.AbstractEventLoop, Watchtower] = WeakKeyDictionary()


def tower() -> Watchtower:
    """The tower of the running event loop."""
    return _towers.setdefault(asyncio.get_running_loop(), Watchtower())
