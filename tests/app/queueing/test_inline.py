"""The threads of this process: bounded, in order, drained at the end of the process."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from fluxio import Context, Pipeline, stage
from fluxio_django.dispatch import inline
from fluxio_django.dispatch.inline import InlineDispatcher, TooMuchWaitingError
from fluxio_django.handles import RunHandle
from fluxio_django.registry import pipelines

ROOT = Path(__file__).parents[3]
SECONDS = 20.0


@pytest.fixture
def closed() -> Iterator[threading.Event]:
    """A door that work waits at; it is opened at the end whatever happened."""
    door = threading.Event()
    yield door
    door.set()


def test_no_more_threads_work_than_are_allowed(closed: threading.Event) -> None:
    dispatcher = InlineDispatcher(threads=2)
    at_work, names = threading.Barrier(3), set()

    def work() -> None:
        names.add(threading.current_thread())
        at_work.wait(SECONDS)

    for number in range(4):
        dispatcher.perform(work, str(number))
    at_work.wait(SECONDS)
    at_work.wait(SECONDS)
    dispatcher.drain()
    assert len(names) == 2


def test_too_much_work_is_refused_and_the_rest_is_done(closed: threading.Event) -> None:
    dispatcher, done = InlineDispatcher(threads=1, most_waiting=2), []
    started = threading.Event()

    def first() -> None:
        started.set()
        closed.wait(SECONDS)

    dispatcher.perform(first, "first")
    started.wait(SECONDS)
    for name in ("second", "third"):
        dispatcher.perform(lambda name=name: done.append(name), name)
    with pytest.raises(TooMuchWaitingError, match="'fourth' has to wait"):
        dispatcher.perform(lambda: done.append("fourth"), "fourth")
    closed.set()
    dispatcher.drain()
    assert done == ["second", "third"]


def test_work_that_fails_takes_no_thread_with_it(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, done = InlineDispatcher(threads=1), []
    dispatcher.perform(lambda: 1 / 0, "broken")
    dispatcher.perform(lambda: done.append("next"), "next")
    dispatcher.drain()
    assert done == ["next"]
    assert "Run broken failed." in caplog.text


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_work_that_wants_to_end_everything_ends_nothing_but_itself(
    ending: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, done = InlineDispatcher(threads=1), threading.Event()

    def work() -> None:
        raise ending("enough")

    dispatcher.perform(work, "quitter")
    dispatcher.perform(done.set, "next")
    assert done.wait(SECONDS)
    dispatcher.drain()
    assert "Run quitter failed." in caplog.text


class NoLog(logging.Handler):
    """A log whose disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(record.getMessage())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_makes_room_for_another_one() -> None:
    dispatcher, done, no_log = InlineDispatcher(threads=1), threading.Event(), NoLog()
    died: list[threading.Thread] = []

    def work() -> None:
        died.append(threading.current_thread())
        raise ValueError

    inline.logger.addHandler(no_log)
    try:
        dispatcher.perform(work, "broken")
        dispatcher.perform(done.set, "next")
        assert done.wait(SECONDS)
        dispatcher.drain()
        died[0].join(SECONDS)
    finally:
        inline.logger.removeHandler(no_log)


def test_connections_that_cannot_be_closed_take_no_thread_with_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, done = InlineDispatcher(threads=1), threading.Event()
    unclosed = iter([OSError("the server is gone")])

    def close_all() -> None:
        for problem in unclosed:
            raise problem

    monkeypatch.setattr(connections, "close_all", close_all)
    dispatcher.perform(lambda: None, "first")
    dispatcher.perform(done.set, "next")
    assert done.wait(SECONDS)
    dispatcher.drain()
    assert "the server is gone" in caplog.text


def test_work_that_is_put_off_waits_in_no_thread_of_its_own_and_comes_in_order() -> None:
    dispatcher, done, last = InlineDispatcher(threads=1), [], threading.Event()
    before = threading.active_count()
    dispatcher.perform(lambda: (done.append("late"), last.set()), "late", delay=0.06)
    dispatcher.perform(lambda: done.append("soon"), "soon", delay=0.03)
    dispatcher.perform(lambda: done.append("now"), "now")
    assert threading.active_count() <= before + 1
    assert last.wait(SECONDS)
    assert done == ["now", "soon", "late"]


def test_what_a_thread_waits_for_is_done_by_another_one_when_none_is_free() -> None:
    dispatcher, order, child_done = InlineDispatcher(threads=1), [], threading.Event()

    def child() -> None:
        order.append("child")
        child_done.set()

    def parent() -> None:
        dispatcher.perform(lambda: order.append("other"), "other")
        dispatcher.perform(child, "child")
        dispatcher.hasten("child")
        order.append(child_done.wait(SECONDS))

    dispatcher.perform(parent, "parent")
    dispatcher.drain()
    assert order == ["child", True, "other"]


def test_what_is_put_off_is_done_for_a_thread_that_waits_when_its_time_has_come() -> None:
    dispatcher, child_done = InlineDispatcher(threads=1), threading.Event()
    seen: list[bool] = []

    def parent() -> None:
        dispatcher.perform(child_done.set, "child", delay=0.02)
        while not child_done.wait(0.01) and len(seen) < SECONDS * 100:
            seen.append(False)
            dispatcher.hasten("child")

    dispatcher.perform(parent, "parent")
    dispatcher.drain()
    assert child_done.is_set()


def test_a_thread_that_was_added_for_somebody_who_waited_does_nothing_else() -> None:
    dispatcher, together, names = InlineDispatcher(threads=1), threading.Barrier(2), set()

    def parent() -> None:
        dispatcher.perform(lambda: together.wait(SECONDS), "child")
        dispatcher.hasten("child")
        together.wait(SECONDS)

    dispatcher.perform(parent, "parent")
    dispatcher.drain()
    for number in range(4):
        dispatcher.perform(lambda: names.add(threading.current_thread()), str(number))
    dispatcher.drain()
    assert len(names) == 1


def test_nothing_is_done_earlier_for_somebody_who_is_no_thread_of_the_dispatcher(
    closed: threading.Event,
) -> None:
    dispatcher, order, started = InlineDispatcher(threads=1), [], threading.Event()

    def first() -> None:
        started.set()
        closed.wait(SECONDS)

    dispatcher.perform(first, "first")
    started.wait(SECONDS)
    for name in ("second", "third"):
        dispatcher.perform(lambda name=name: order.append(name), name)
    dispatcher.hasten("third")
    closed.set()
    dispatcher.drain()
    assert order == ["second", "third"]


@pytest.mark.parametrize("is_async", [False, True])
def test_runs_that_wait_for_runs_they_have_enqueued_leave_somebody_to_do_those(
    database: str, settings: Any, is_async: bool
) -> None:
    settings.FLUXIO = {"DATABASE": database, "DISPATCHER": "inline"}
    together = threading.Barrier(2)

    @stage(version="1")
    def child(ctx: Context) -> Context:
        return ctx.set("done", ctx["number"])

    def enqueue(ctx: Context) -> RunHandle:
        handle = pipelines["inline.child"].enqueue_sync({"number": ctx["number"]})
        together.wait(SECONDS)
        return handle

    @stage(version="1")
    def wait(ctx: Context) -> Context:
        return ctx.set("got", enqueue(ctx).result(timeout=SECONDS)["done"])

    @stage(version="1")
    async def await_it(ctx: Context) -> Context:
        handle = await sync_to_async(enqueue)(ctx)
        return ctx.set("got", (await handle.aresult(timeout=SECONDS))["done"])

    parent = await_it if is_async else wait
    pipelines.add("inline.child", lambda: Pipeline([child], durable=True))
    pipelines.add("inline.parent", lambda: Pipeline([parent], durable=True))
    try:
        handles = [pipelines["inline.parent"].enqueue_sync({"number": each}) for each in (1, 2)]
        assert [handle.result(timeout=SECONDS)["got"] for handle in handles] == [1, 2]
    finally:
        inline.inline.drain()
        for name in ("inline.child", "inline.parent"):
            pipelines.remove(name)


# Coroutines need executors, which the interpreter takes away early in its shutdown.
PROGRAM = """
import django, os
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "fluxio_django"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["NAME"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }},
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from fluxio import Pipeline, stage
from fluxio_django import pipelines, register

@stage(version="1")
async def slow(ctx):
    import asyncio
    await asyncio.sleep(0.05)
    print("done", ctx["number"], flush=True)
    return ctx

register("slow", Pipeline([slow], durable=True))
for number in range(5):
    pipelines["slow"].enqueue_sync({"number": number})
"""


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 2),
    reason="this Python starts no threads any more when a process ends (gh-113964)",
)
def test_what_waits_when_the_process_ends_is_still_done(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"NAME": str(tmp_path / "runs.sqlite3"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stderr == ""
    assert sorted(ended.stdout.split("\n")) == ["", *(f"done {number}" for number in range(5))]
