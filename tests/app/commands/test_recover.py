"""fluxio_recover finds what got stuck, says what it did, and watches on whatever happens."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxio.errors import StoreError
from fluxio_django import recovery
from fluxio_django.management.commands.fluxio_recover import Command
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from fluxio_django.recovery import Swept
from tests.app.commands.conftest import Shell
from tests.app.queueing.shop import executed, registered

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def home(every_home: str, settings: Any) -> str:
    settings.FLUXIO = {**settings.FLUXIO, "DISPATCHER": "eager", "SWEEP_SECONDS": 7}
    return every_home


@pytest.fixture
def checkout(home: str) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline


def abandon(home: str, **facts: Any) -> None:
    """What is left when nobody got the message, or its worker is gone."""
    Run.objects.using(home).update(available_at=LONG_AGO, due_at=LONG_AGO, **facts)


def test_nothing_to_do_is_said(home: str, shell: Shell) -> None:
    assert shell("fluxio_recover") == "Nothing got stuck.\n"
    assert shell.json("fluxio_recover") == {
        "taken_over": 0,
        "dispatched": 0,
        "buried": 0,
        "cancelled": 0,
        "pruned": 0,
    }


def test_a_lost_message_and_a_lost_worker_are_made_up_for(
    checkout: DjangoPipeline, home: str, shell: Shell
) -> None:
    checkout.enqueue_sync({"order": 1}, "lost", countdown=3600)
    abandon(home)
    assert shell("fluxio_recover") == "Runs: 1 handed to workers again.\n"
    checkout.enqueue_sync({"order": 2}, "orphan", countdown=3600)
    abandon(home, status="running", owner="gone", lease_expires_at=LONG_AGO)
    Run.objects.using(home).filter(run_id="lost").update(status="succeeded")
    assert shell("fluxio_recover") == "Runs: 1 handed over from workers that are gone.\n"
    assert [order for _, order in executed] == ["1", "1", "2", "2"]


def test_what_lost_too_many_workers_is_given_up_and_what_is_unwanted_ends(
    checkout: DjangoPipeline, home: str, shell: Shell
) -> None:
    lapsed = {"status": "running", "owner": "gone", "lease_expires_at": LONG_AGO}
    checkout.enqueue_sync({"order": 1}, "hopeless", countdown=3600)
    abandon(home, **lapsed, takeovers=5)
    checkout.enqueue_sync({"order": 2}, "unwanted", countdown=3600)
    Run.objects.using(home).filter(run_id="unwanted").update(
        **lapsed, cancel_requested_at=LONG_AGO, cancel_reason="a mistake"
    )
    assert shell.json("fluxio_recover") == {
        "taken_over": 0,
        "dispatched": 0,
        "buried": 1,
        "cancelled": 1,
        "pruned": 0,
    }
    ends = dict(Run.objects.using(home).values_list("run_id", "status"))
    assert ends == {"hopeless": "dead", "unwanted": "cancelled"}
    assert Run.objects.using(home).get(run_id="unwanted").error == "Cancelled: a mistake"


def test_watching_goes_on_after_the_database_failed_and_tells_only_what_it_did(
    home: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[Swept | StoreError] = [
        Swept(),
        StoreError("Database 'default' failed: gone."),
        Swept(dispatched=3),
    ]

    def sweep(using: str) -> Swept:
        result = results.pop(0)
        if isinstance(result, StoreError):
            raise result
        return result

    waits: list[float] = []

    def stopped(seconds: float) -> bool:
        waits.append(seconds)
        return not results

    monkeypatch.setattr(recovery, "sweep", sweep)
    monkeypatch.setattr(Command, "stopped", staticmethod(stopped))
    assert json.loads(shell("fluxio_recover", "--watch", "--json"))["dispatched"] == 3
    assert shell.err == "Database 'default' failed: gone. Trying again.\n"
    assert waits == [7, 7, 7]


def test_sigterm_ends_the_watch_between_two_sweeps(
    home: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: list[str] = []

    def sweep(using: str) -> Swept:
        sweeps.append(using)
        os.kill(os.getpid(), signal.SIGTERM)
        return Swept(dispatched=len(sweeps))

    monkeypatch.setattr(recovery, "sweep", sweep)
    before = signal.getsignal(signal.SIGTERM)
    told = shell("fluxio_recover", "--watch")
    assert told.splitlines()[1:] == ["Runs: 1 handed to workers again."]
    assert sweeps == [home]
    assert signal.getsignal(signal.SIGTERM) is before
