"""What STREAM stages yield reaches the reader while they yield it, and a reader may leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncRequestFactory, RequestFactory

from fluxio import Context, Pipeline, stage
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.views import Leaving, stream_response
from fluxio_django.views.slots import slots
from tests.app.views.shop import CANARY
from tests.app.views.test_events import parsed

NAME = "views.story"


class Story:
    """What the stages did, and what they wait for."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.words = 3
        self.fails = False
        self.endless = False
        self.finished = Event()

    def pipeline(self) -> Pipeline:
        @stage(version="1")
        async def tell(ctx: Context) -> Any:
            for number in range(self.words):
                self.told.append(f"word {number}")
                yield f"word {number}"
            if self.fails:
                raise ValueError(f"password={CANARY}")
            while self.endless:
                yield "and"

        @stage(version="1")
        async def close(ctx: Context) -> Context:
            self.finished.set()
            return ctx.set("closed", True)

        return Pipeline([tell, close], durable=True)


@pytest.fixture
def story() -> Iterator[Story]:
    story = Story()
    pipelines.add(NAME, story.pipeline)
    yield story
    pipelines.remove(NAME)
    assert len(slots) == 0


@pytest.fixture
def registered(story: Story) -> DjangoPipeline:
    return pipelines[NAME]


def asked(factory: Any) -> Any:
    request = factory.get("/")
    request.user = AnonymousUser()
    return request


# --- under WSGI


@pytest.mark.django_db(transaction=True)
def test_chunks_are_sent_as_events_between_the_id_of_the_run_and_its_end(
    story: Story, registered: DjangoPipeline
) -> None:
    answer = stream_response(asked(RequestFactory()), registered, {}, run_id="s-1")
    assert answer["Content-Type"] == "text/event-stream"
    told = parsed(b"".join(answer))
    assert [(name, data) for name, _, data in told] == [
        ("run", {"run_id": "s-1"}),
        ("", "word 0"),
        ("", "word 1"),
        ("", "word 2"),
        ("end", {"run_id": "s-1"}),
    ]
    assert Run.objects.get(run_id="s-1").status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_chunks_are_sent_as_plain_text_where_that_is_wanted(
    story: Story, registered: DjangoPipeline
) -> None:
    answer = stream_response(asked(RequestFactory()), registered, {}, plain=True)
    assert answer["Content-Type"].startswith("text/plain")
    assert b"".join(answer) == b"word 0word 1word 2"


@pytest.mark.django_db(transaction=True)
def test_a_failure_is_told_by_its_type_and_recorded(
    story: Story, registered: DjangoPipeline
) -> None:
    story.fails = True
    answer = stream_response(asked(RequestFactory()), registered, {}, run_id="s-1")
    sent = b"".join(answer)
    assert parsed(sent)[-1] == ("failed", "", {"run_id": "s-1", "error": "ValueError"})
    assert CANARY.encode() not in sent
    assert Run.objects.get(run_id="s-1").status == "failed"


@pytest.mark.django_db(transaction=True)
def test_a_plain_stream_of_a_run_that_fails_does_not_look_complete(
    story: Story, registered: DjangoPipeline
) -> None:
    story.fails = True
    with pytest.raises(ValueError, match="password"):
        list(stream_response(asked(RequestFactory()), registered, {}, plain=True))


@pytest.mark.django_db(transaction=True)
def test_a_reader_under_wsgi_who_leaves_ends_the_run(
    story: Story, registered: DjangoPipeline
) -> None:
    story.endless = True
    answer: Any = stream_response(asked(RequestFactory()), registered, {}, run_id="s-1")
    content = iter(answer)
    assert next(content)
    assert next(content)
    answer.close()
    ended(lambda: Run.objects.get(run_id="s-1").status == "cancelled")
    assert not story.finished.is_set()


@pytest.mark.django_db(transaction=True)
def test_a_run_under_wsgi_goes_on_without_its_reader_where_that_is_wanted(
    story: Story, registered: DjangoPipeline
) -> None:
    story.words = 200
    answer: Any = stream_response(
        asked(RequestFactory()), registered, {}, run_id="s-1", leaving="finish"
    )
    content = iter(answer)
    assert next(content)
    assert next(content)
    answer.close()
    assert story.finished.wait(20)
    ended(lambda: Run.objects.get(run_id="s-1").status == "succeeded")
    assert len(story.told) == 200


def ended(reached: Callable[[], bool]) -> None:
    """Wait until another thread has come so far."""
    import time

    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until
        Event().wait(0.01)


# --- under ASGI


def content_of(answer: Any) -> Any:
    assert answer.is_async
    return aiter(answer)


async def left(answer: Any, content: Any) -> None:
    """Do as Django does when the client is gone."""
    await content.aclose()
    await sync_to_async(answer.close)()


@pytest.mark.django_db(transaction=True)
async def test_an_async_view_sends_the_same(story: Story, registered: DjangoPipeline) -> None:
    request = asked(AsyncRequestFactory())
    assert isinstance(request, ASGIRequest)
    answer = stream_response(request, registered, {}, run_id="s-1")
    told = parsed(b"".join([part async for part in content_of(answer)]))
    assert [data for name, _, data in told if not name] == ["word 0", "word 1", "word 2"]
    assert [name for name, _, _ in told][-1] == "end"


@pytest.mark.django_db(transaction=True)
async def test_a_reader_who_leaves_ends_the_run(story: Story, registered: DjangoPipeline) -> None:
    story.endless = True
    answer: Any = stream_response(asked(AsyncRequestFactory()), registered, {}, run_id="s-1")
    content = content_of(answer)
    await anext(content)
    await anext(content)
    await left(answer, content)
    await until_true(lambda: Run.objects.filter(run_id="s-1", status="cancelled").aexists())
    assert not story.finished.is_set()


@pytest.mark.django_db(transaction=True)
async def test_a_run_goes_on_without_its_reader_where_that_is_wanted(
    story: Story, registered: DjangoPipeline
) -> None:
    story.words = 200
    answer: Any = stream_response(
        asked(AsyncRequestFactory()), registered, {}, run_id="s-1", leaving=Leaving.FINISH
    )
    content = content_of(answer)
    await anext(content)
    await anext(content)
    await left(answer, content)
    await until_true(lambda: Run.objects.filter(run_id="s-1", status="succeeded").aexists())
    assert len(story.told) == 200


@pytest.mark.django_db(transaction=True)
async def test_a_slow_reader_slows_the_run_down(story: Story, registered: DjangoPipeline) -> None:
    story.words = 1_000
    answer: Any = stream_response(asked(AsyncRequestFactory()), registered, {})
    content = content_of(answer)
    await anext(content)
    await anext(content)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(story.told) < 30
    await left(answer, content)


async def until_true(reached: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await reached():
            await asyncio.sleep(0.01)


@pytest.mark.django_db
def test_too_many_streams_are_refused(
    story: Story, registered: DjangoPipeline, settings: Any
) -> None:
    settings.FLUXIO = {"STREAMS_PER_USER": 1}
    kept = stream_response(asked(RequestFactory()), registered, {})
    refused = stream_response(asked(RequestFactory()), registered, {})
    assert refused.status_code == 429
    assert json.loads(refused.content)["type"].endswith(":too-many")
    kept.close()
