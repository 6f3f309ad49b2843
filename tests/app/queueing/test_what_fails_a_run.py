"""A value that can never be stored fails its run; an outage of the database counts against none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from fluxio import Context, Pipeline, RunStatus, StoreError, StoreUnavailableError, stage
from fluxio_django import Limits, faults
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.registry import pipelines
from fluxio_django.runner import Executed, execute
from tests.durability.harness.statements import each_statement

PIPELINE = "queueing.what_fails"
ROOM = 40_000
"""Bytes of the largest row; less than two of these values need."""
HALF = "x" * 25_000
STEPS = 5
MAX_TAKEOVERS = 2


class Stages:
    """Makes stages that count their executions."""

    def __init__(self) -> None:
        self.executed: list[str] = []

    def make(self, name: str, kind: str, act: Callable[[Context], Context]) -> Any:
        def plain(ctx: Context) -> Context:
            self.executed.append(name)
            return act(ctx)

        async def coroutine(ctx: Context) -> Context:
            return plain(ctx)

        transactional = kind == "transactional"
        body = coroutine if kind == "async" else plain
        return stage(name=name, version="1", transactional=transactional)(body)


@pytest.fixture
def stages() -> Stages:
    """None yet."""
    return Stages()


Register = Callable[[list[Any]], DjangoPipeline]


@pytest.fixture
def register(database: str, settings: Any) -> Iterator[Register]:
    """Registers a pipeline whose runs are in this database."""
    settings.FLUXIO = {
        "DISPATCHER": "eager",
        "DATABASE": database,
        "MAX_PAYLOAD_BYTES": ROOM,
        "MAX_TAKEOVERS": MAX_TAKEOVERS,
    }

    def add(nodes: list[Any]) -> DjangoPipeline:
        pipelines.add(PIPELINE, lambda: Pipeline(nodes, durable=True), Limits())
        return pipelines[PIPELINE]

    yield add
    pipelines.remove(PIPELINE)


@pytest.mark.parametrize("kind", ["plain", "async", "transactional"])
def test_a_value_that_can_never_be_stored_fails_the_run_with_its_step_still_due(
    database: str, settings: Any, register: Register, stages: Stages, kind: str
) -> None:
    pipeline = register(
        [
            stages.make("small", kind, lambda ctx: ctx.set("small", 1)),
            stages.make("large", kind, lambda ctx: ctx.set("one", HALF).set("two", HALF)),
            stages.make("last", kind, lambda ctx: ctx.set("last", 1)),
        ]
    )
    with pytest.raises(StoreError, match=r"Step .large. .*MAX_PAYLOAD_BYTES"):
        pipeline.invoke_sync({}, run_id="r")
    run = Run.objects.using(database).get()
    assert (run.status, run.step, run.owner) == (RunStatus.FAILED, "large", "")
    assert "MAX_PAYLOAD_BYTES" in run.error
    assert run.error_type == "StoreError"
    assert execute("r") is Executed.NOTHING, "nobody takes over what has failed"
    assert stages.executed == ["small", "large"]
    settings.FLUXIO = {**settings.FLUXIO, "MAX_PAYLOAD_BYTES": 2 * ROOM}
    assert set(pipeline.resume_sync("r")) == {"small", "one", "two", "last"}
    assert stages.executed == ["small", "large", "large", "last"]


class Outages:
    """The database is gone for this thread from some moment on, until it is back."""

    def __init__(self) -> None:
        self.is_away = False

    def meet(self, carry_out: Callable[[], Any], commits: bool) -> Any:
        if self.is_away:
            raise OperationalError("the connection is gone, by way of a test")
        return carry_out()


@pytest.fixture
def outages(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outages]:
    """None yet; nobody waits for one to end."""
    monkeypatch.setattr(faults, "wait", lambda seconds: None)
    outages = Outages()
    with each_statement(database, outages.meet):
        yield outages


@pytest.mark.parametrize("kind", ["plain", "async", "transactional"])
def test_a_run_that_goes_on_after_each_outage_is_never_given_up(
    database: str, register: Register, stages: Stages, outages: Outages, kind: str
) -> None:
    def once_away(name: str) -> Callable[[Context], Context]:
        def act(ctx: Context) -> Context:
            outages.is_away = stages.executed.count(name) == 1
            return ctx.set(name, 1)

        return act

    names = [f"step {number}" for number in range(STEPS)]
    pipeline = register([stages.make(name, kind, once_away(name)) for name in names])
    with pytest.raises(StoreUnavailableError):
        pipeline.invoke_sync({}, run_id="r")
    runs = Run.objects.using(database)
    for taken in names:
        outages.is_away = False
        assert runs.get().step == taken
        assert runs.update(lease_expires_at="2020-01-01T00:00Z") == 1
        assert execute("r") is Executed.DONE
    assert STEPS > MAX_TAKEOVERS
    assert runs.get().status == RunStatus.SUCCEEDED
    assert stages.executed == [name for name in names for _ in range(2)]


def test_a_run_that_does_not_go_on_is_given_up_whatever_it_is_that_stops_it(
    database: str, register: Register, stages: Stages, outages: Outages
) -> None:
    def act(ctx: Context) -> Context:
        outages.is_away = True
        return ctx

    pipeline = register([stages.make("kills its database", "plain", act)])
    with pytest.raises(StoreUnavailableError):
        pipeline.invoke_sync({}, run_id="r")
    runs = Run.objects.using(database)
    became = []
    for _ in range(MAX_TAKEOVERS + 1):
        outages.is_away = False
        runs.update(lease_expires_at="2020-01-01T00:00Z")
        became.append(execute("r"))
    assert became == [Executed.DONE] * MAX_TAKEOVERS + [Executed.BURIED]
    assert runs.get().status == RunStatus.DEAD
