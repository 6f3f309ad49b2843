"""What a stage says of itself stands beside its run, for as long as it is worth something."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from fluxio import Context, Parallel, Pipeline, current_step, stage
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, services
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.progress import Board, Progress, board

seen: list[Progress | None] = []


def look(alias: str) -> None:
    """What others see now, from a thread that may ask the database."""
    board.flush()
    seen.append(services.progress(Run.objects.using(alias).get()))


@stage(version="1")
def count(ctx: Context) -> Context:
    current_step().progress(3, 12, f"line 3, password={ctx['password']}")
    look(ctx["alias"])
    return ctx.set("counted", True)


@stage(version="1")
def rest(ctx: Context) -> Context:
    look(ctx["alias"])
    return ctx


@pytest.fixture
def pipeline(database: str, settings: Any) -> Iterator[DjangoPipeline]:
    settings.FLUXIO = {"DATABASE": database}
    seen.clear()
    made = Pipeline([count, rest], durable=True, checkpoint_store=DjangoStore(database))
    yield made.bound_to(DjangoPipeline, name="progress", store=DjangoStore)
    board.flush()


def test_progress_is_seen_while_the_step_runs_and_not_after_it(
    pipeline: DjangoPipeline, database: str
) -> None:
    pipeline.invoke_sync({"alias": database, "password": "hunter2"})
    told, later = seen
    assert told is not None
    assert (told.done, told.total, told.share) == (3, 12, 0.25)
    assert "hunter2" not in told.note
    assert later is None
    run = Run.objects.using(database).get()
    assert run.status == RunStatus.SUCCEEDED
    assert services.progress(run) is None


async def test_a_stage_in_an_event_loop_may_speak_too(database: str, settings: Any) -> None:
    settings.FLUXIO = {"DATABASE": database}
    seen.clear()

    @stage(version="1")
    async def speak(ctx: Context) -> Context:
        current_step().progress(1, note="in a branch")
        return ctx

    nodes = [Parallel([speak, rest], name="both"), rest]
    made = Pipeline(nodes, durable=True, checkpoint_store=DjangoStore(database))
    await made.bound_to(DjangoPipeline, name="progress", store=DjangoStore).invoke(
        {"alias": database}
    )
    assert [told and told.note for told in seen] == ["in a branch", None]


@pytest.mark.django_db(transaction=True)
def test_a_stage_that_never_stops_talking_writes_once_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    from fluxio_django.querysets import RunQuerySet

    monkeypatch.setattr(
        RunQuerySet, "tell_progress", lambda self, run_id, step, words: written.append(words[0])
    )
    chatty = Board(seconds=0.2)
    began = time.monotonic()
    for done in range(1000):
        chatty.tell(("default", "run"), "step", (done, None, ""))
    spent = time.monotonic() - began
    chatty.flush()
    assert written[-1] == 999
    assert len(written) <= 3 + spent / 0.2


def test_numbers_and_notes_of_any_size_are_taken(pipeline: DjangoPipeline, database: str) -> None:
    runs = Run.objects.using(database)
    runs.create(run_id="r", pipeline="p", version="v", status="running", step="s")
    board.tell((database, "r"), "s", (10**30, -(10**30), "x" * 500 + "\x00"))
    board.flush()
    told = services.progress(runs.get())
    assert told is not None
    assert (told.done, told.total, len(told.note)) == (2**63 - 1, -(2**63 - 1), 200)
    assert told.share is None


def test_a_run_nobody_knows_is_no_reason_to_fail(pipeline: DjangoPipeline, database: str) -> None:
    board.tell((database, "unheard-of"), "s", (1, 2, ""))
    board.flush()
    assert not Run.objects.using(database).exists()
