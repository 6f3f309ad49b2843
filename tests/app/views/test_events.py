"""Readers of events learn what happens to a run while they may, and are let go in time."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from fluxio_django.models import Run
from fluxio_django.views import events
from fluxio_django.views.events import SyncFeed
from fluxio_django.views.slots import slots
from tests.app.views.shop import browser, person, run_of

pytestmark = pytest.mark.django_db

EVENTS = "/fluxio/runs/{}/events/"


def parsed(sent: bytes) -> list[tuple[str, str, Any]]:
    """Name, id and data of each event."""
    found = []
    for block in sent.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "data" in lines:
            data = json.loads(lines["data"])
            found.append((lines.get("event", ""), lines.get("id", ""), data))
    return found


def read(client: Client, run_id: str, last: str | None = None) -> list[tuple[str, str, Any]]:
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = client.get(EVENTS.format(run_id), headers=headers)
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    return parsed(answer.getvalue())


def leave(answer: Any) -> None:
    """Do as a reader that goes after the first few bytes."""
    next(answer.streaming_content)
    # The test client wraps the content so that closing it closes the response.
    answer._iterator.close()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something while a stream under WSGI waits for news."""

    def between(act: Callable[[], object]) -> None:
        monkeypatch.setattr(events, "LONGEST_UNDER_WSGI", 60.0)
        monkeypatch.setattr(SyncFeed, "pause", staticmethod(lambda seconds: act()))

    return between


def test_a_run_that_has_ended_is_told_step_by_step_and_then_ends(ada: User) -> None:
    run_of(ada, "mine")
    told = read(browser(ada), "mine")
    assert [(name, id) for name, id, _ in told] == [
        ("step", "0"),
        ("step", "1"),
        ("step", "2"),
        ("run", ""),
        ("end", "ended"),
    ]
    assert told[1][2]["step"] == "price"
    assert told[3][2]["status"] == "succeeded"


def test_who_comes_again_is_told_what_was_missed(ada: User) -> None:
    run_of(ada, "mine")
    assert [id for name, id, _ in read(browser(ada), "mine", "1") if name == "step"] == ["2"]


def test_who_has_seen_the_end_is_told_not_to_come_again(ada: User) -> None:
    run_of(ada, "mine")
    answer = browser(ada).get(EVENTS.format("mine"), headers={"Last-Event-ID": "ended"})
    assert answer.status_code == 204


@pytest.mark.parametrize("last", ["x", "-1", "٣", "999999", "1; DROP TABLE", "1" * 500])
def test_an_id_that_no_event_had_begins_anew(ada: User, last: str) -> None:
    run_of(ada, "mine")
    assert len([name for name, _, _ in read(browser(ada), "mine", last) if name == "step"]) == 3


def test_news_are_told_as_they_come_and_nothing_twice(
    ada: User, between: Callable[..., None]
) -> None:
    run = run_of(ada, "mine")
    Run.objects.update(status="running", owner="elsewhere:1:x", head=1)
    changes = iter([{}, {"head": 2}, {"status": "failed", "error": "ValueError: secret"}])
    between(lambda: Run.objects.filter(pk=run.pk).update(**(next(changes) or {"attempt": 1})))
    told = read(browser(ada), "mine")
    assert [id for name, id, _ in told if name == "step"] == ["0", "1", "2"]
    assert [data["status"] for name, _, data in told if name == "run"] == [
        "running",
        "running",
        "failed",
    ]
    assert told[-2][2]["error"] == {"type": "ValueError"}


@pytest.mark.security(21)
@pytest.mark.parametrize("what", ["signs out", "is deactivated", "loses the run", "new password"])
def test_who_may_look_no_longer_is_let_go(
    ada: User, between: Callable[..., None], what: str
) -> None:
    run_of(ada, "mine")
    Run.objects.update(status="queued", owner="")
    client = browser(ada)

    def lose() -> None:
        match what:
            case "signs out":
                client.session.flush()
            case "is deactivated":
                User.objects.filter(pk=ada.pk).update(is_active=False)
            case "new password":
                User.objects.filter(pk=ada.pk).update(password="another")
            case "loses the run":
                Run.objects.update(requested_by=None)

    between(lose)
    told = read(client, "mine")
    assert told[-1] == ("end", "", {"reason": "you may look no longer"})
    assert [name for name, _, _ in told].count("run") == 1


def test_values_of_an_error_are_told_only_while_the_right_lasts(
    between: Callable[..., None],
) -> None:
    eve = person("eve", "view_context")
    run_of(eve, "mine", card="declined")
    Run.objects.update(status="running", owner="elsewhere:1:x", error="E: told", error_type="E")

    def lose() -> None:
        eve.user_permissions.clear()
        Run.objects.update(status="failed", error="E: not told")

    between(lose)
    told = [data["error"] for name, _, data in read(browser(eve), "mine") if name == "run"]
    assert told == [{"type": "E", "message": "E: told"}, {"type": "E"}]


def test_a_run_that_is_pruned_ends_its_streams(ada: User, between: Callable[..., None]) -> None:
    run_of(ada, "mine")
    Run.objects.update(status="queued")
    between(lambda: Run.objects.all().delete())
    assert read(browser(ada), "mine")[-1][0] == "end"


@pytest.mark.security(21)
def test_a_stream_under_wsgi_gives_its_thread_back_after_a_while(ada: User) -> None:
    run_of(ada, "mine")
    Run.objects.update(status="queued")
    told = read(browser(ada), "mine")
    assert [name for name, _, _ in told][-1] == "run"
    assert len(slots) == 0


@pytest.mark.security(21)
def test_streams_of_one_user_are_counted_and_those_of_others_are_not(
    ada: User, bob: User, settings: Any
) -> None:
    settings.FLUXIO = settings.FLUXIO | {"STREAMS_PER_USER": 2}
    run_of(ada, "mine")
    run_of(bob, "his")
    client = browser(ada)
    open_ones = [client.get(EVENTS.format("mine")) for _ in range(2)]
    refused = client.get(EVENTS.format("mine"))
    assert refused.status_code == 429
    assert refused["Retry-After"] == "10"
    assert browser(bob).get(EVENTS.format("his")).getvalue()
    leave(open_ones[0])
    again = client.get(EVENTS.format("mine"))
    assert again.status_code == 200
    leave(open_ones[1])
    leave(again)
    assert len(slots) == 0


def test_a_stream_that_nobody_closes_is_not_counted_for_ever(ada: User) -> None:
    run_of(ada, "mine")
    answer = browser(ada).get(EVENTS.format("mine"))
    assert len(slots) == 1
    del answer
    gc.collect()
    assert len(slots) == 0


# --- under ASGI


async def opened(user: User, run_id: str) -> tuple[Any, AsyncIterator[bytes]]:
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(EVENTS.format(run_id))
    assert answer.is_async
    return answer, aiter(answer.streaming_content)


async def test_an_async_stream_tells_what_happens_and_ends(ada: User) -> None:
    from asgiref.sync import sync_to_async

    run = await sync_to_async(run_of)(ada, "mine")
    await Run.objects.filter(pk=run.pk).aupdate(status="running", owner="elsewhere:1:x", head=1)
    _, content = await opened(ada, "mine")
    sent = b"".join([await anext(content), await anext(content)])
    assert [name for name, _, _ in parsed(sent)] == ["step", "step", "run"]
    await Run.objects.filter(pk=run.pk).aupdate(status="succeeded", head=2)
    rest = b"".join([part async for part in content])
    assert [(name, id) for name, id, _ in parsed(rest)] == [
        ("step", "2"),
        ("run", ""),
        ("end", "ended"),
    ]
    assert len(slots) == 0


async def test_an_idle_async_stream_sends_comments_and_ends_in_time(
    ada: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asgiref.sync import sync_to_async

    monkeypatch.setattr(events, "SECONDS_BETWEEN_BEATS", 0.02)
    settings.FLUXIO = settings.FLUXIO | {"STREAM_SECONDS": 0.2}
    await sync_to_async(run_of)(ada, "mine")
    await Run.objects.aupdate(status="queued")
    _, content = await opened(ada, "mine")
    sent = [part async for part in content]
    assert sent.count(b": still there\n\n") >= 2
    assert len(slots) == 0


async def test_an_async_stream_checks_rights_again(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asgiref.sync import sync_to_async

    monkeypatch.setattr(events, "SECONDS_BETWEEN_BEATS", 0.02)
    await sync_to_async(run_of)(ada, "mine")
    await Run.objects.aupdate(status="queued")
    _, content = await opened(ada, "mine")
    await anext(content)
    await anext(content)
    await User.objects.aupdate(is_active=False)
    rest = b"".join([part async for part in content])
    assert parsed(rest)[-1][2] == {"reason": "you may look no longer"}


def test_slots_are_given_back_once(settings: Any) -> None:
    give_back: Iterator[Callable[[], None]] = iter([slots.take("x"), slots.take("x")])
    first = next(give_back)
    first()
    first()
    assert len(slots) == 1
    next(give_back)()
    assert len(slots) == 0
