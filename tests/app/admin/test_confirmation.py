"""What happens between a click and a run that goes on: once, with a reason, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from fluxio_django import pipelines, services
from fluxio_django.admin import nonce
from fluxio_django.admin.confirmation import MOST_RUNS
from fluxio_django.models import Checkpoint, Run
from tests.app.admin.desk import Confirm, SignIn, address, everything, page_of
from tests.app.admin.shop import Shop

NAMES = ["resume", "replay", "fork"]


def said(client: Client, page: str) -> str:
    return client.get(page).content.decode()


# --- looking


@pytest.mark.security(4)
@pytest.mark.parametrize("name", [*NAMES, "diff"])
@pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete", "patch"])
def test_only_post_changes_anything(shop: Shop, root: Client, name: str, method: str) -> None:
    run = shop.fail("bad")
    before = everything()
    answer = getattr(root, method)(address(name, run))
    assert answer.status_code == (200 if method in ("get", "head") else 405)
    assert everything() == before


@pytest.mark.security(4)
@pytest.mark.parametrize("name", [*NAMES, "diff"])
def test_a_post_without_the_token_against_forgery_is_refused(shop: Shop, name: str) -> None:
    run = shop.fail("bad")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("ada", password="x"))
    token = client.get(address(name, run)).context["confirmation"]
    before = everything()
    data = {"reason": "x", "confirmation": token, "patch": "{}", "a": "bad", "b": "bad"}
    assert client.post(address(name, run), data).status_code == 403
    assert everything() == before


def test_the_page_says_what_will_happen(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    assert "from its last checkpoint, at step charge" in said(root, address("resume", run))
    assert "as attempt 2" in said(root, address("replay", run))
    assert "This run stays untouched" in said(root, address("fork", run))


# --- acting


def test_a_resumed_run_goes_on_where_it_failed(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    answer = confirm(root, address("resume", run))
    assert answer.headers["Location"] == page_of(run)
    assert shop.done == ["charge", "ship"]
    assert Run.objects.get(pk=run.pk).status == "succeeded"
    assert f'<a href="{page_of(run)}">bad</a>' in said(root, "/admin/")


def test_a_replay_can_begin_at_a_step(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.buy("fine")
    confirm(root, address("replay", run), from_step="ship")
    assert shop.done == ["ship"]
    assert Run.objects.get(pk=run.pk).attempt == 2


def test_only_steps_that_the_run_came_to_can_be_chosen(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    choices = root.get(address("replay", run)).context["form"].fields["from_step"].choices
    assert [key for key, _label in choices] == ["", "price", "charge"]
    before = everything()
    answer = confirm(root, address("replay", run), from_step="ship")
    assert answer.status_code == 200
    assert everything() == before


def test_a_fork_is_a_new_run_with_the_patch_in_its_context(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    rows = list(Checkpoint.objects.filter(run=run).values())
    answer = confirm(
        root,
        address("fork", run),
        from_step="charge",
        as_run_id="second-try",
        patch='{"total": {"$decimal": "9.90"}, "note": "on the house"}',
    )
    assert answer.headers["Location"] == page_of(run)
    forked = Run.objects.get(run_id="second-try")
    assert (forked.status, forked.parent) == ("succeeded", "bad")
    state = services.state("second-try")
    assert state["receipt"] == {"amount": Decimal("9.90"), "paid": True}
    assert state["note"] == "on the house"
    assert list(Checkpoint.objects.filter(run=run).values()) == rows
    assert Run.objects.get(pk=run.pk).status == "failed"
    entry = LogEntry.objects.get()
    assert "Fork as second-try from step charge, setting total, note" in entry.change_message
    assert "on the house" not in entry.change_message


def test_a_fork_without_an_id_gets_a_random_one(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.buy("fine")
    confirm(root, address("fork", run), patch="{}")
    forked = Run.objects.exclude(pk=run.pk).get()
    assert len(forked.run_id) >= 22


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("patch", "[1]", "Write a JSON object"),
        ("patch", '{"a": NaN}', "NaN is no JSON"),
        ("patch", '{"a": 1, "a": 2}', "stands twice"),
        ("patch", '{"a": {"$decimal": "x"}}', "malformed"),
        ("patch", '{"a": {"$pickle": "x"}}', "unknown tag"),
        ("patch", '{"a": [{"$:orders.Order": 7}]}', "built-in types only"),
        ("patch", "[" * 100_000, "nested"),
        ("as_run_id", "with space", "is no run id"),
        ("as_run_id", "fine", "is taken"),
        ("reason", "", "required"),
        ("reason", "x" * 301, "300"),
        ("reason", "nul\x00", "Null"),
    ],
)
def test_a_form_that_is_wrong_says_why_and_starts_nothing(
    shop: Shop, root: Client, confirm: Confirm, field: str, value: str, reason: str
) -> None:
    run = shop.buy("fine")
    before = everything()
    answer = confirm(root, address("fork", run), **{"patch": "{}", field: value})
    assert answer.status_code == 200
    assert reason in answer.content.decode()
    assert everything() == before


def test_several_runs_are_confirmed_at_once(shop: Shop, root: Client, confirm: Confirm) -> None:
    runs = [shop.fail("one"), shop.fail("two"), shop.buy("three")]
    assert "Left out." in said(root, address("resume", *runs))
    confirm(root, address("resume", *runs))
    assert set(Run.objects.values_list("status", flat=True)) == {"succeeded"}
    assert shop.done == ["charge", "ship"] * 2
    assert sorted(LogEntry.objects.values_list("object_repr", flat=True)) == [
        "one (shop.checkout)",
        "two (shop.checkout)",
    ]
    assert "1 run was left out" in said(root, "/admin/")


def test_a_confirmation_covers_a_bounded_number_of_runs(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    keys = "&".join(f"run={number}" for number in range(1, MOST_RUNS + 2))
    assert root.get(f"/admin/fluxio_django/run/resume/?{keys}").status_code == 400
    assert root.get(address("fork", run) + "&run=9999").status_code == 400


# --- once


@pytest.mark.security(4)
@pytest.mark.parametrize("name", NAMES)
def test_a_form_sent_twice_is_carried_out_once(
    shop: Shop, root: Client, confirm: Confirm, name: str
) -> None:
    run = shop.fail("bad")
    token = root.get(address(name, run)).context["confirmation"]
    for _ in range(2):
        confirm.send(root, address(name, run), token, patch="{}")
    assert shop.done.count("ship") == 1
    assert LogEntry.objects.count() == 1
    assert "This was confirmed already" in said(root, "/admin/")


def test_a_form_sent_twice_before_any_worker_began_starts_one_run(
    shop: Shop, root: Client, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    run = shop.buy("fine")
    token = root.get(address("replay", run)).context["confirmation"]
    with django_capture_on_commit_callbacks() as work:
        for _ in range(2):
            root.post(address("replay", run), {"reason": "x", "confirmation": token})
    assert len(work) == 1
    assert LogEntry.objects.count() == 1


@pytest.mark.security(4)
@pytest.mark.django_db(transaction=True)
def test_a_form_sent_twice_at_the_same_moment_is_carried_out_once(shop: Shop) -> None:
    person = User.objects.create_superuser("ada", password="x")
    run = shop.buy("fine")
    page = Client()
    page.force_login(person)
    token = page.get(address("replay", run)).context["confirmation"]
    together = Barrier(2)

    def send(_: int) -> int:
        client = Client()
        client.force_login(person)
        together.wait(10)
        try:
            data = {"reason": "x", "confirmation": token}
            return client.post(address("replay", run), data).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(send, range(2))) == [302, 302]
    assert LogEntry.objects.count() == 1
    assert Run.objects.get(pk=run.pk).attempt == 2


def test_a_confirmation_is_good_for_its_user_its_operation_and_its_runs_only(
    shop: Shop, root: Client, sign_in: SignIn, confirm: Confirm
) -> None:
    run, other = shop.fail("bad"), shop.fail("other")
    token = root.get(address("resume", run)).context["confirmation"]
    before = everything()
    confirm.send(root, address("replay", run), token)
    confirm.send(root, address("resume", other), token)
    confirm.send(sign_in(superuser=True), address("resume", run), token)
    for forged in ("", "x", token[:-1], token + "x"):
        confirm.send(root, address("resume", run), forged)
    assert everything() == before
    assert shop.done == []


def test_an_old_confirmation_is_refused(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.fail("bad")
    token = root.get(address("resume", run)).context["confirmation"]
    monkeypatch.setattr(nonce, "MAXIMUM_AGE_SECONDS", -1)
    before = everything()
    confirm.send(root, address("resume", run), token)
    assert everything() == before
    assert "The page was too old" in said(root, "/admin/")


def test_a_run_that_moved_on_since_the_page_was_shown_is_left_alone(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    token = root.get(address("resume", run)).context["confirmation"]
    shop.declines = True
    with pytest.raises(Exception, match="declined"):
        services.resume("bad")
    before = everything()
    confirm.send(root, address("resume", run), token)
    assert everything() == before
    assert "has moved on" in said(root, "/admin/")


# --- not at all


def test_a_run_that_is_being_executed_is_refused(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    tokens = {name: root.get(address(name, run)).context["confirmation"] for name in NAMES}
    later = timezone.now() + timedelta(hours=1)
    Run.objects.update(status="running", owner="elsewhere:1::", lease_expires_at=later)
    before = everything()
    for name, token in tokens.items():
        assert "being executed by elsewhere:1::" in said(root, address(name, run))
        assert root.get(address(name, run)).context["ready"] == []
        confirm.send(root, address(name, run), token, patch="{}")
    assert everything() == before


def test_an_interrupted_run_can_be_resumed(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    past = timezone.now() - timedelta(hours=1)
    Run.objects.update(status="running", owner="elsewhere:1::", lease_expires_at=past)
    confirm(root, address("resume", run))
    assert Run.objects.get(pk=run.pk).status == "succeeded"


def test_a_finished_run_is_not_resumed(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.buy("fine")
    before = everything()
    confirm(root, address("resume", run))
    assert everything() == before
    assert "there is nothing to resume" in said(root, "/admin/")
    assert "there is nothing to resume" in said(root, address("resume", run))


@pytest.mark.parametrize("name", NAMES)
def test_changed_code_is_shown_and_refused_before_anything_runs(
    shop: Shop, root: Client, confirm: Confirm, name: str
) -> None:
    run = shop.fail("bad")
    token = root.get(address(name, run)).context["confirmation"]
    shop.change_code()
    page = said(root, address(name, run))
    for change in ("removed: charge", "changed: price", run.version):
        assert change in page
    before = everything()
    confirm.send(root, address(name, run), token, patch="{}")
    assert everything() == before
    assert shop.done == []


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_log_is_named_and_nothing_is_started(
    shop: Shop, root: Client, confirm: Confirm, name: str
) -> None:
    run, sound = shop.fail("bad"), shop.fail("sound")
    Checkpoint.objects.filter(run=run, sequence=0).update(payload="1:p:{}")
    before = everything()
    confirm(root, address(name, run), patch="{}")
    assert everything() == before
    assert "Row 0 of run" in said(root, "/admin/")
    if name != "fork":
        confirm(root, address(name, run, sound))
        assert Run.objects.get(pk=run.pk).status == "failed"
        assert Run.objects.get(pk=sound.pk).status == "succeeded"


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_that_is_gone_or_broken_is_named(shop: Shop, root: Client, name: str) -> None:
    run = shop.fail("bad")
    pipelines.remove("shop.checkout")
    assert "No pipeline" in said(root, address(name, run))

    def broken() -> Any:
        raise RuntimeError("<script>secret</script>")

    pipelines.add("shop.checkout", broken)
    page = said(root, address(name, run))
    assert "its factory raised RuntimeError" in page
    assert "secret" not in page


# --- the audit trail


@pytest.mark.security(10)
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_leaves_one_entry_with_who_why_and_from_where(
    shop: Shop, root: Client, confirm: Confirm, name: str
) -> None:
    run = shop.fail("bad")
    confirm(root, address(name, run), patch="{}", reason="ticket 17:  she called\ttwice")
    entry = LogEntry.objects.get()
    assert entry.user.username == "person1"
    assert entry.object_id == str(run.pk)
    assert entry.change_message.startswith(name.capitalize())
    assert entry.change_message.endswith(" from 127.0.0.1: ticket 17: she called twice")
    trail = root.get(page_of(run)).context["page"].trail
    assert [(line.user, line.origin, line.reason) for line in trail] == [
        ("person1", "127.0.0.1", "ticket 17: she called twice")
    ]
    assert "ticket 17" in said(root, f"/admin/fluxio_django/run/{run.pk}/history/")


def test_no_reason_or_name_can_forge_another_entry(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    forged = "x [" + "0" * 32 + "] from 6.6.6.6: y"
    confirm(
        root,
        address("fork", run),
        patch='{"' + forged + '": 1}',
        as_run_id="a[" + "0" * 32 + "]from",
        reason=forged,
    )
    line = root.get(page_of(run)).context["page"].trail[0]
    assert (line.origin, line.reason) == ("127.0.0.1", forged)


def test_headers_cannot_forge_the_address(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    token = root.get(address("resume", run)).context["confirmation"]
    data = {"reason": "x", "confirmation": token}
    root.post(address("resume", run), data, headers={"x-forwarded-for": "6.6.6.6"}, REMOTE_ADDR="")
    assert " from unknown: x" in LogEntry.objects.get().change_message


@pytest.mark.security(10)
@pytest.mark.parametrize("name", NAMES)
def test_work_that_cannot_be_handed_over_leaves_no_entry(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no worker")

    run = shop.fail("bad")
    monkeypatch.setattr(services, "launch", refuse)
    before = everything()
    with pytest.raises(RuntimeError, match="no worker"):
        confirm(root, address(name, run), patch="{}")
    assert everything() == before


@pytest.mark.security(10)
def test_an_entry_that_cannot_be_written_starts_nothing(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no trail")

    runs = [shop.fail("bad"), shop.fail("worse")]
    monkeypatch.setattr("fluxio_django.admin.runs.RunAdmin.log_change", refuse)
    before = everything()
    with pytest.raises(RuntimeError, match="no trail"):
        confirm(root, address("resume", *runs))
    assert everything() == before
    assert shop.done == []


def test_a_failure_of_the_work_is_the_run_s_and_not_the_page_s(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    shop.declines = True
    assert confirm(root, address("resume", run)).status_code == 302
    assert Run.objects.get(pk=run.pk).status == "failed"
    assert LogEntry.objects.count() == 1
