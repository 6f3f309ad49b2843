"""Django's own tasks as the way to the workers, on the versions of Django that have them."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django.tasks", reason="Django has tasks from 6.0 on")

from django.tasks import default_task_backend

from fluxio.types import RunStatus
from fluxio_django import recovery
from fluxio_django.checks.dispatch import check_dispatcher
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.app.queueing.shop import executed, registered

CANARY = "canary-4711-secret"
QUEUES = ["default", "slow"]


@pytest.fixture(params=["dummy.DummyBackend", "immediate.ImmediateBackend"])
def backend(request: pytest.FixtureRequest, database: str, settings: Any) -> str:
    """Tasks are kept in memory, or executed at once; runs are kept in one database."""
    settings.FLUXIO = {"DISPATCHER": "tasks", "DATABASE": database, "QUEUES": QUEUES}
    path = f"django.tasks.backends.{request.param}"
    settings.TASKS = {"default": {"BACKEND": path, "QUEUES": QUEUES}}
    return str(request.param)


@pytest.fixture
def checkout(backend: str) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline


dummy = pytest.mark.parametrize("backend", ["dummy.DummyBackend"], indirect=True)
immediate = pytest.mark.parametrize("backend", ["immediate.ImmediateBackend"], indirect=True)


@dummy
def test_a_task_carries_the_id_of_the_run_and_nothing_of_its_context(
    checkout: DjangoPipeline,
) -> None:
    checkout.enqueue_sync({"order": 7, "note": CANARY}, "order")
    (result,) = default_task_backend.results
    assert (result.args, result.kwargs, result.task.queue_name) == (["order"], {}, "default")
    assert CANARY not in repr(result)


@dummy
def test_other_queues_go_to_the_queue_of_their_name(checkout: DjangoPipeline) -> None:
    checkout.enqueue_sync({"order": 7}, "order", queue="slow")
    (result,) = default_task_backend.results
    assert result.task.queue_name == "slow"


@dummy
def test_a_countdown_is_left_to_a_backend_that_can_put_off(checkout: DjangoPipeline) -> None:
    checkout.enqueue_sync({"order": 1}, "soon", countdown=60)
    (result,) = default_task_backend.results
    assert result.task.run_after is not None


@immediate
def test_a_countdown_is_left_to_the_sweep_where_the_backend_cannot_put_off(
    checkout: DjangoPipeline, database: str
) -> None:
    assert checkout.enqueue_sync({"order": 1}, "soon", countdown=60).problem == ""
    assert executed == []
    Run.objects.using(database).update(
        available_at="2000-01-01T00:00:00+00:00", due_at="2000-01-01T00:00:00+00:00"
    )
    assert recovery.sweep(database).dispatched == 1
    assert len(executed) == 2


@immediate
def test_the_task_executes_the_run(checkout: DjangoPipeline) -> None:
    handle = checkout.enqueue_sync({"order": 7}, "order")
    assert handle.status() is RunStatus.SUCCEEDED
    assert len(executed) == 2


@immediate
def test_a_stage_that_fails_fails_its_run_and_not_the_task(checkout: DjangoPipeline) -> None:
    handle = checkout.enqueue_sync({"order": 7, "card": "refused"}, "order")
    assert (handle.status(), handle.problem) == (RunStatus.FAILED, "")


@dummy
def test_a_queue_that_the_backend_does_not_have_leaves_the_run_stored(
    checkout: DjangoPipeline, settings: Any
) -> None:
    settings.TASKS = {"default": {"BACKEND": settings.TASKS["default"]["BACKEND"]}}
    handle = checkout.enqueue_sync({"order": 7}, "order", queue="slow")
    assert "slow" in handle.problem
    assert handle.status() is RunStatus.QUEUED


@dummy
def test_a_django_that_has_tasks_has_nothing_to_be_told(backend: str) -> None:
    assert check_dispatcher(None) == []
