"""A response that is what a run's STREAM stages yield, while they yield it."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from fluxio.runtime.environment import default_environment
from fluxio.runtime.runs import Watchers
from fluxio.runtime.scene import ChunkSink
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.tables import hop, let_go
from fluxio_django.values import json_value
from fluxio_django.views import sse
from fluxio_django.views.problems import Problem
from fluxio_django.views.relay import Leaving, Relay, RunIsOver, Start
from fluxio_django.views.slots import slots

logger = logging.getLogger("fluxio.views")

PLAIN = "text/plain; charset=utf-8"


def stream_response(
    request: HttpRequest,
    pipeline: DjangoPipeline,
    initial: Mapping[str, Any],
    *,
    run_id: str | None = None,
    resume: bool = False,
    leaving: Leaving | str = Leaving.CANCEL,
    plain: bool = False,
) -> HttpResponseBase:
    """Run a pipeline in this process and send the chunks of its STREAM stages as they come.

    The run begins when the response is read. It may be returned by a sync view and by an async one;
    under WSGI it keeps a thread of the server until the run ends.

    Args:
        request: whose streams are counted; see FLUXIO["STREAMS_PER_USER"].
        pipeline: a registered pipeline.
        initial: the first values; ignored when an existing run goes on.
        run_id: 1 to 128 printable ASCII characters; generated where None.
        resume: go on with `run_id` from its last checkpoint.
        leaving: what becomes of the run when the reader leaves: "cancel", or "finish".
        plain: send chunks, which have to be texts, as they are. Otherwise they are server-sent
            events: `run` with the id, one unnamed event for each chunk as JSON, and `end` or
            `failed`, which names the type of the error only.

    Returns the stream, or a problem response where the user has too many open.
    """
    chosen = default_environment().new_run_id() if run_id is None else run_id

    async def start(sink: ChunkSink) -> None:
        await pipeline.invoke(initial, run_id=chosen, resume=resume, watch=Watchers(chunks=sink))

    user = getattr(request, "user", None)
    reader = request.META.get("REMOTE_ADDR") if user is None or user.pk is None else user.pk
    try:
        give_back = slots.take(reader)
    except Problem as problem:
        return problem.response()
    form = _Plain() if plain else _Events(chosen)
    kind = _AsyncChunks if isinstance(request, ASGIRequest) else _SyncChunks
    chunks = kind(start, Leaving(leaving), form, give_back)
    weakref.finalize(chunks, give_back)
    return sse.response(chunks, PLAIN if plain else sse.CONTENT_TYPE)


class _Plain:
    """Chunks as they are; a failure ends the connection before its time."""

    begin: bytes = b""
    end: bytes = b""

    def chunk(self, chunk: Any) -> bytes:
        return chunk if isinstance(chunk, bytes) else str(chunk).encode()

    def failed(self, problem: Exception) -> bytes:
        raise problem


class _Events:
    """Chunks as events."""

    def __init__(self, run_id: str) -> None:
        self.begin = sse.event({"run_id": run_id}, name="run")
        self.end = sse.event({"run_id": run_id}, name="end")
        self._run_id = run_id

    def chunk(self, chunk: Any) -> bytes:
        return sse.event(json_value(chunk))

    def failed(self, problem: Exception) -> bytes:
        logger.warning("Run %s failed while it was streamed: %r", self._run_id, problem)
        facts = {"run_id": self._run_id, "error": type(problem).__qualname__}
        return sse.event(facts, name="failed")


_Form = _Plain | _Events


class _Chunks:
    """What a response reads under either kind of server, and what it does when its reader left."""

    def __init__(
        self, start: Start, leaving: Leaving, form: _Form, give_back: Callable[[], None]
    ) -> None:
        self._start, self._leaving, self._form = start, leaving, form
        self._give_back = give_back
        self._leave: Callable[[], object] = lambda: None

    def close(self) -> None:
        """The reader has left; called from whatever thread."""
        self._give_back()
        self._leave()


class _AsyncChunks(_Chunks):
    """Under ASGI: the run is a task beside the response."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._sent()

    async def _sent(self) -> AsyncIterator[bytes]:
        # The thread of the request has a connection, which it would keep until the stream ends.
        await hop(let_go)
        relay, loop = Relay(self._start, self._leaving), asyncio.get_running_loop()
        self._leave = lambda: _soon(loop, relay.leave)
        try:
            if self._form.begin:
                yield self._form.begin
            while True:
                try:
                    chunk = await relay.next()
                except RunIsOver:
                    break
                except Exception as problem:  # noqa: BLE001 - whatever a stage raised
                    yield self._form.failed(problem)
                    return
                yield self._form.chunk(chunk)
            if self._form.end:
                yield self._form.end
        finally:
            self._give_back()
            await relay.end()


class _SyncChunks(_Chunks):
    """Under WSGI: the run has a thread of its own with an event loop, and the response waits."""

    def __iter__(self) -> Iterator[bytes]:
        return self._sent()

    def _sent(self) -> Iterator[bytes]:
        let_go()
        begun: Future[tuple[Relay, asyncio.AbstractEventLoop]] = Future()
        Thread(target=self._in_thread, args=[begun], name="fluxio-stream", daemon=True).start()
        relay, loop = begun.result()
        self._leave = lambda: _soon(loop, relay.leave)
        try:
            if self._form.begin:
                yield self._form.begin
            while True:
                try:
                    chunk = asyncio.run_coroutine_threadsafe(relay.next(), loop).result()
                except RunIsOver:
                    break
                except Exception as problem:  # noqa: BLE001 - whatever a stage raised
                    yield self._form.failed(problem)
                    return
                yield self._form.chunk(chunk)
            if self._form.end:
                yield self._form.end
        finally:
            self._give_back()
            self._leave()

    def _in_thread(self, begun: Future[tuple[Relay, asyncio.AbstractEventLoop]]) -> None:
        try:
            async_to_sync(self._until_left)(begun)
        finally:
            let_go()

    async def _until_left(self, begun: Future[tuple[Relay, asyncio.AbstractEventLoop]]) -> None:
        relay = Relay(self._start, self._leaving)
        begun.set_result((relay, asyncio.get_running_loop()))
        # The loop has to live as long as somebody reads, and as long as the run goes on.
        await relay.over()


def _soon(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is gone, and the run with it
        loop.call_soon_threadsafe(act)
