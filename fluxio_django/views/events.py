"""A stream of what happens to a run, for pages that show it live: under ASGI and under WSGI."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from django.contrib.auth import SESSION_KEY, get_user
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator

from fluxio.runtime.environment import default_environment
from fluxio.types import RunStatus
from fluxio_django.conf import settings
from fluxio_django.rights import Right, has_right
from fluxio_django.tables import hop, let_go
from fluxio_django.views import bodies, representation, sse
from fluxio_django.views.access import find, signed_in
from fluxio_django.views.endpoint import Endpoint
from fluxio_django.views.problems import Problem
from fluxio_django.views.slots import slots
from fluxio_django.views.tower import Seat, Sighting, Watchtower, look_at, tower

SECONDS_BETWEEN_BEATS = 15.0
SECONDS_BETWEEN_LOOKS_UNDER_WSGI = 1.0
LONGEST_UNDER_WSGI = 25.0
"""Seconds for which a stream keeps one of the few threads of a WSGI server; readers come again."""
SECONDS_BEFORE_COMING_AGAIN = 2.0
ENDED = "ended"
"""The id of the last event. Who comes back with it is told that nothing more will come."""


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Events(Endpoint):
    """The events of one run.

    `step` tells of a row of the run's log; its id is the row's sequence, so that a reader who lost
    the connection gets what it missed. `run` tells how the run is now, and comes first. `end` says
    why nothing more comes: the run has ended, or its reader may look no longer.
    """

    def get(self, request: HttpRequest, run_id: str) -> HttpResponseBase:
        """Open the stream."""
        bodies.read_query(request, ())
        run = find(self.user, run_id)
        last = request.headers.get("Last-Event-ID", "")
        if last == ENDED and not RunStatus(run.status).is_open:
            # The one answer after which an EventSource does not connect again.
            return HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Cache-Control": "no-store"})
        if request.method == "HEAD":
            return sse.response(())
        reader = Reader(request=request, run_id=run_id, user=self.user)
        telling = Telling(after=int(last) if last.isascii() and last.isdigit() else -1)
        give_back = slots.take(self.user.pk)
        kind = AsyncFeed if isinstance(request, ASGIRequest) else SyncFeed
        feed = kind(reader, telling, give_back)
        # A request that is cut off between here and its answer is closed by nobody.
        weakref.finalize(feed, give_back)
        return sse.response(feed)


@dataclass(kw_only=True, slots=True)
class Reader:
    """Who reads, and whether that is still allowed. What it is asked does database work."""

    request: HttpRequest
    run_id: str
    user: Any
    with_values: bool = False

    def check(self) -> bool:
        """Whether the user is still signed in, and may still know of the run."""
        try:
            self.user = self._user_now()
            run = find(self.user, self.run_id)
        except Problem:
            return False
        self.with_values = has_right(self.user, Right.VALUES, run)
        return True

    def _user_now(self) -> Any:
        """The user as the database has it now; rights that it had before are forgotten."""
        session = getattr(self.request, "session", None)
        fresh = HttpRequest()
        if session is None or SESSION_KEY not in session:
            # Signed in by something else than a session.
            found = type(self.user)._default_manager.filter(pk=self.user.pk, is_active=True)
            fresh.user = found.first()
        else:
            fresh.session = type(session)(session.session_key)
            fresh.user = get_user(fresh)
        return signed_in(fresh)


@dataclass(slots=True)
class Telling:
    """What one reader has been told: rows up to a sequence, and whether that was all."""

    after: int
    over: bool = field(default=False, init=False)

    def news(self, reader: Reader, sighting: Sighting) -> Iterator[bytes]:
        """The events for a sighting; reads the rows that the reader has not been told of."""
        run = sighting.run
        if run is None:
            yield self.end("the run is recorded no more")
            return
        if self.after > run.head:  # it has begun anew since
            self.after = -1
        for row in representation.rows_after(run, self.after):
            self.after = row["sequence"]
            yield sse.event(row, name="step", id=str(self.after))
        facts = representation.run_facts(
            run, interrupted=sighting.interrupted, with_values=reader.with_values
        )
        yield sse.event(facts, name="run")
        if not RunStatus(run.status).is_open:
            yield self.end(ENDED, id=ENDED)

    def end(self, reason: str, id: str = "") -> bytes:
        """The last event."""
        self.over = True
        return sse.event({"reason": reason}, name="end", id=id)


class AsyncFeed:
    """The stream under ASGI: it waits in the event loop, and holds no thread and no connection."""

    def __init__(self, reader: Reader, telling: Telling, give_back: Callable[[], None]) -> None:
        self._reader = reader
        self._telling = telling
        self._give_back = give_back
        self._leave: Callable[[], object] = lambda: None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events()

    def close(self) -> None:
        """The reader has left; called from whatever thread."""
        self._give_back()
        self._leave()

    async def _events(self) -> AsyncIterator[bytes]:
        watch, clock = tower(), default_environment().clock
        until = clock.monotonic() + settings().stream_seconds
        # The thread of the request has a connection, which it would keep until the stream ends.
        await hop(let_go)
        yield sse.retry(SECONDS_BEFORE_COMING_AGAIN)
        seen = await watch.ask(partial(look_at, [self._reader.run_id]))
        seat = watch.enter(self._reader.run_id, seen.get(self._reader.run_id, Sighting(None)))
        self._leave = _from_any_thread(watch, seat)
        try:
            checked = float("-inf")
            while not self._telling.over and clock.monotonic() < until:
                if clock.monotonic() - checked >= SECONDS_BETWEEN_BEATS:
                    checked = clock.monotonic()
                    if not await watch.ask(self._reader.check):
                        yield self._telling.end("you may look no longer")
                        return
                left = until - clock.monotonic()
                sighting = await seat.news(max(0.0, min(SECONDS_BETWEEN_BEATS, left)))
                if sighting is None:
                    yield sse.STILL_THERE
                    continue
                yield await watch.ask(partial(self._told, sighting))
        finally:
            watch.leave(seat)
            self._give_back()

    def _told(self, sighting: Sighting) -> bytes:
        return b"".join(self._telling.news(self._reader, sighting))


class SyncFeed:
    """The stream under WSGI: it holds a thread, so it is short, and its reader comes again."""

    pause: Callable[[float], None] = staticmethod(time.sleep)
    """How to wait, for so many seconds."""

    def __init__(self, reader: Reader, telling: Telling, give_back: Callable[[], None]) -> None:
        self._reader = reader
        self._telling = telling
        self._give_back = give_back
        self._looks: tuple[Any, ...] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self._events()

    def close(self) -> None:
        """The reader has left."""
        self._give_back()

    def _events(self) -> Iterator[bytes]:
        clock = default_environment().clock
        until = clock.monotonic() + min(settings().stream_seconds, LONGEST_UNDER_WSGI)
        yield sse.retry(SECONDS_BEFORE_COMING_AGAIN)
        try:
            while not self._telling.over:
                if not self._reader.check():
                    yield self._telling.end("you may look no longer")
                    return
                told = self._told()
                let_go()
                # Something has to be written now and then, or nobody notices that the reader left.
                yield told or sse.STILL_THERE
                if self._telling.over or clock.monotonic() >= until:
                    return
                self.pause(SECONDS_BETWEEN_LOOKS_UNDER_WSGI)
        finally:
            self._give_back()

    def _told(self) -> bytes:
        run_id = self._reader.run_id
        sighting = look_at([run_id]).get(run_id, Sighting(None))
        if sighting.looks == self._looks:
            return b""
        self._looks = sighting.looks
        return b"".join(self._telling.news(self._reader, sighting))


def _from_any_thread(watch: Watchtower, seat: Seat) -> Callable[[], object]:
    loop = asyncio.get_running_loop()

    def leave() -> None:
        with suppress(RuntimeError):  # the loop is gone, and the seat with it
            loop.call_soon_threadsafe(watch.leave, seat)

    return leave
