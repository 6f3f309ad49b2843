"""fluxio_cancel, fluxio_requeue and fluxio_queues: what they change, and what they say of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fluxio.testing.conformance.samples import opening
from fluxio_django import DjangoStore
from fluxio_django.dispatch import delivery
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.app.commands.conftest import Shell
from tests.app.queueing.shop import executed, registered


@pytest.fixture
def home(every_home: str, settings: Any) -> str:
    settings.FLUXIO = {
        **settings.FLUXIO,
        "DISPATCHER": "eager",
        "QUEUES": ["default", "slow"],
    }
    return every_home


@pytest.fixture
def checkout(home: str) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline


def statuses(home: str) -> dict[str, str]:
    return dict(Run.objects.using(home).values_list("run_id", "status"))


def test_a_queued_run_is_cancelled_at_once_with_the_reason(
    checkout: DjangoPipeline, home: str, shell: Shell
) -> None:
    checkout.enqueue_sync({"order": 1}, "one", countdown=3600)
    assert shell("fluxio_cancel", "one", "--reason", "a mistake") == "Run one is cancelled.\n"
    assert Run.objects.using(home).get().error == "Cancelled: a mistake"
    refused = shell.refused("fluxio_cancel", "one")
    assert "cancelled already" in refused


def test_a_running_run_is_asked_to_stop(checkout: DjangoPipeline, home: str, shell: Shell) -> None:
    DjangoStore(home).journal().open_blocking(opening("one", pipeline=checkout.name))
    assert "its worker is asked to stop" in shell("fluxio_cancel", "one")
    assert shell.json("fluxio_cancel", "one") == {
        "run_id": "one",
        "status": "running",
        "asked": True,
    }
    assert Run.objects.using(home).get().cancel_requested_at is not None
    assert "executed" in shell.refused("fluxio_requeue", "one")


def test_one_run_that_is_refused_does_not_keep_the_others_back(
    checkout: DjangoPipeline, home: str, shell: Shell
) -> None:
    for run_id in ("one", "two"):
        checkout.enqueue_sync({"order": 1}, run_id, countdown=3600)
    assert shell.refused("fluxio_cancel", "one", "nobody", "two") == "1 of 3 runs were refused."
    assert "No run 'nobody' is recorded" in shell.err
    assert statuses(home) == {"one": "cancelled", "two": "cancelled"}


def test_a_requeued_run_goes_on_where_it_was(
    checkout: DjangoPipeline, home: str, shell: Shell
) -> None:
    checkout.enqueue_sync({"order": 1, "card": "refused"}, "one")
    assert statuses(home) == {"one": "failed"}
    assert shell("fluxio_requeue", "one") == "Run one waits for a worker in queue default.\n"
    assert [name for name, _ in executed] == ["reserve", "charge", "charge"]
    Run.objects.using(home).update(status="succeeded")
    assert "Replay it" in shell.refused("fluxio_requeue", "one")


def test_a_requeued_run_that_no_broker_takes_is_stored_and_that_is_said(
    checkout: DjangoPipeline, home: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        def dispatch(self, ticket: object) -> None:
            raise ConnectionError("no broker")

    checkout.enqueue_sync({"order": 1}, "one", countdown=3600)
    monkeypatch.setattr(delivery, "dispatcher_named", lambda name: Down())
    assert "ConnectionError: no broker" in shell("fluxio_requeue", "one")
    assert shell.json("fluxio_requeue", "one")["problem"] == "ConnectionError: no broker"
    assert statuses(home) == {"one": "queued"}


def test_a_queue_is_paused_and_resumed(checkout: DjangoPipeline, home: str, shell: Shell) -> None:
    shell("fluxio_queues", "--pause", "slow", "--reason", "no paper")
    checkout.enqueue_sync({"order": 1}, "one", queue="slow")
    checkout.enqueue_sync({"order": 2}, "two")
    assert statuses(home) == {"one": "queued", "two": "succeeded"}
    usual, slow = (json.loads(line) for line in shell("fluxio_queues", "--json").splitlines())
    assert (usual["waiting"], usual["paused_at"]) == (0, None)
    assert (slow["waiting"], slow["held_back"], slow["reason"]) == (1, 1, "no paper")
    title, first, second = shell("fluxio_queues").splitlines()
    assert title.split()[:2] == ["queue", "waiting"]
    assert first.split()[0] == "default"
    assert second.endswith(": no paper")
    assert "Queue 'slow' is paused" in shell("fluxio_show", "one")
    shell("fluxio_queues", "--resume", "slow")
    assert statuses(home) == {"one": "succeeded", "two": "succeeded"}


def test_a_queue_that_is_none_is_refused(home: str, shell: Shell) -> None:
    assert "names: default, slow" in shell.refused("fluxio_queues", "--pause", "nowhere")
