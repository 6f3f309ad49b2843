"""Queues are seen, paused and resumed by those who may, with a reason that is kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from fluxio_django import services
from fluxio_django.models import Queue, Run
from tests.app.admin.desk import Confirm, SignIn
from tests.app.admin.shop import Shop

LIST = "/admin/fluxio_django/queue/"


def switch(name: str, queue: str = "default") -> str:
    return f"{LIST}{name}/?queue={queue}"


def paused() -> dict[str, str]:
    return {state.name: state.reason for state in services.queues() if state.paused_at}


def test_every_queue_is_listed_with_what_waits_in_it(
    shop: Shop, root: Client, settings: Any
) -> None:
    settings.FLUXIO = {"DISPATCHER": "eager", "QUEUES": ["default", "slow"]}
    shop.fail("one")
    shop.fail("two")
    Run.objects.update(status="queued", queue="slow", held_back="")
    Run.objects.filter(run_id="two").update(queue="forgotten")
    found = {queue.name: queue.queued for queue in root.get(LIST).context["queues"]}
    assert found == {"default": 0, "slow": 1, "forgotten": 1}


def test_a_queue_is_paused_and_resumed_with_reasons(root: Client, confirm: Confirm) -> None:
    answer = confirm(root, switch("pause"), reason="the bank is down")
    assert answer.headers["Location"] == LIST
    assert paused() == {"default": "the bank is down"}
    page = root.get(LIST).content.decode()
    assert "the bank is down" in page
    assert "Paused queue default." in page
    confirm(root, switch("resume"), reason="it is back")
    assert paused() == {}
    entries = LogEntry.objects.order_by("pk")
    assert [entry.object_repr for entry in entries] == ["default", "default"]
    assert [entry.change_message.split(" [")[0] for entry in entries] == ["Pause", "Resume"]
    key = Queue.objects.get().pk
    assert "it is back" in root.get(f"{LIST}{key}/history/").content.decode()
    assert root.get(f"{LIST}{key}/change/").headers["Location"] == LIST


def test_what_waits_goes_on_when_its_queue_is_resumed(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.fail("bad")
    services.pause_queue("default", "x")
    services.requeue("bad")
    assert Run.objects.get().status == "queued"
    confirm(root, switch("resume"))
    assert Run.objects.get().status == "succeeded"


def test_a_form_sent_twice_is_carried_out_once(root: Client, confirm: Confirm) -> None:
    token = root.get(switch("pause")).context["confirmation"]
    confirm.send(root, switch("pause"), token)
    services.resume_queue("default")
    confirm.send(root, switch("pause"), token)
    assert paused() == {}
    assert LogEntry.objects.count() == 1


def test_a_confirmation_is_good_for_its_queue_and_its_switch_only(
    root: Client, confirm: Confirm, settings: Any
) -> None:
    settings.FLUXIO = {"DISPATCHER": "eager", "QUEUES": ["default", "slow"]}
    token = root.get(switch("pause")).context["confirmation"]
    confirm.send(root, switch("pause", "slow"), token)
    confirm.send(root, switch("resume"), token)
    confirm.send(root, switch("pause"), "forged")
    assert paused() == {}
    assert LogEntry.objects.count() == 0


def test_only_who_may_change_queues_switches_them(
    root: Client, sign_in: SignIn, confirm: Confirm
) -> None:
    token = root.get(switch("pause")).context["confirmation"]
    client = sign_in("view_queue", "view_run", "resume_run")
    assert "/queue/pause/" not in client.get(LIST).content.decode()
    assert client.get(switch("pause")).status_code == 403
    assert confirm.send(client, switch("pause"), token).status_code == 403
    assert sign_in("view_run").get(LIST).status_code == 403
    assert paused() == {}


@pytest.mark.parametrize("queue", ["", "nowhere", "%00", "default'--"])
def test_a_queue_that_does_not_exist_is_not_found(root: Client, queue: str) -> None:
    assert root.get(switch("pause", queue)).status_code == 404


def test_looking_changes_nothing(root: Client) -> None:
    for page in (LIST, switch("pause"), switch("resume")):
        assert root.get(page).status_code == 200
        assert root.put(page).status_code == 405
    assert root.post(LIST).status_code == 405
    assert not Queue.objects.exists()


def test_an_entry_that_cannot_be_written_pauses_nothing(
    root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no trail")

    monkeypatch.setattr("fluxio_django.admin.queues.QueueAdmin.log_change", refuse)
    with pytest.raises(RuntimeError, match="no trail"):
        confirm(root, switch("pause"))
    assert not Queue.objects.exists()
