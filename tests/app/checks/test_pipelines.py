"""`manage.py check` says when a pipeline cannot be built, or loses its runs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fluxio import Context, InMemoryStore, Pipeline, stage
from fluxio.errors import ConfigurationError
from fluxio_django.registry import pipelines
from tests.app.checks.found import found

NAME = "checks.pipeline"


@stage
def work(ctx: Context) -> Context:
    return ctx


@pytest.fixture
def registered() -> Iterator[Callable[[Callable[[], Pipeline]], None]]:
    yield lambda factory: pipelines.add(NAME, factory)
    pipelines.remove(NAME)


def empty() -> Pipeline:
    return Pipeline([work, {"route": []}], durable=True)


def raising() -> Pipeline:
    raise KeyError("API_URL")


def forgetful() -> Pipeline:
    return Pipeline([work], durable=True, checkpoint_store=InMemoryStore())


def fleeting() -> Pipeline:
    return Pipeline([work])


def unrecorded() -> Pipeline:
    return Pipeline([work], checkpoint_store=InMemoryStore())


def sound() -> Pipeline:
    return Pipeline([work], durable=True)


@pytest.mark.parametrize(("factory", "reason"), [(empty, "CompilationError"), (raising, "API_URL")])
def test_e009_a_pipeline_that_cannot_be_built(registered: Any, factory: Any, reason: str) -> None:
    registered(factory)
    message = found()["fluxio.E009"]
    assert NAME in message.msg
    assert reason in message.msg


def test_w007_runs_that_end_with_their_process(registered: Any, settings: Any) -> None:
    registered(forgetful)
    assert NAME in found()["fluxio.W007"].msg
    settings.DEBUG = True
    assert "fluxio.W007" not in found()
    settings.FLUXIO = {"DISPATCHER": "celery"}
    assert "fluxio.W007" in found()


def test_e010_a_pipeline_that_people_may_start_and_nobody_can_queue(
    registered: Any, settings: Any
) -> None:
    registered(fleeting)
    settings.FLUXIO = {"VIEWS": {NAME: {"START": "signed-in"}}}
    assert "durable=True" in found()["fluxio.E010"].hint
    settings.FLUXIO = {"VIEWS": {NAME: {}}}
    assert "fluxio.E010" not in found()


def test_e011_two_pipelines_of_one_name(registered: Any) -> None:
    registered(sound)
    with pipelines.discovering():
        registered(forgetful)
    message = found()["fluxio.E011"]
    assert "test_pipelines.sound" in message.msg
    assert "test_pipelines.forgetful" in message.msg
    with pytest.raises(ConfigurationError, match="registered twice"):
        pipelines[NAME]
    with pytest.raises(ConfigurationError, match="registered twice"):
        registered(forgetful)


def test_w016_a_store_in_which_nothing_is_recorded(registered: Any) -> None:
    registered(unrecorded)
    assert "durable=True" in found()["fluxio.W016"].hint


def test_w008_an_opening_for_a_pipeline_that_is_not_there(registered: Any, settings: Any) -> None:
    registered(sound)
    settings.FLUXIO = {"VIEWS": {"checks.pipelin": {}}}
    message = found()["fluxio.W008"]
    assert "checks.pipelin" in message.msg
    assert NAME in message.hint
