"""Cancelling, requeueing and deleting: done in the transaction of the entry that tells of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from fluxio.errors import StoreError
from fluxio_django import services
from fluxio_django.models import Checkpoint, Run
from tests.app.admin.desk import Confirm, SignIn, address, everything, page_of
from tests.app.admin.shop import Shop

LIST = "/admin/fluxio_django/run/"


def said(client: Client, page: str) -> str:
    return client.get(page).content.decode()


def busy(run: Run, **changes: Any) -> Run:
    lease = timezone.now() + timedelta(hours=1)
    facts = {"status": "running", "owner": "elsewhere:1::", "lease_expires_at": lease}
    Run.objects.filter(pk=run.pk).update(**facts, **changes)
    run.refresh_from_db()
    return run


# --- cancelling


def test_a_queued_run_ends_at_once(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    Run.objects.update(status="queued")
    assert "It ends at once" in said(root, address("cancel", run))
    answer = confirm(root, address("cancel", run), reason="ordered twice")
    assert answer.headers["Location"] == page_of(run)
    run.refresh_from_db()
    assert (run.status, run.error) == ("cancelled", "Cancelled: ordered twice")
    assert LogEntry.objects.get().change_message.startswith("Cancel")


def test_the_worker_of_a_running_run_is_asked_to_stop(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = busy(shop.fail("bad"))
    assert "Its worker is asked to stop" in said(root, address("cancel", run))
    confirm(root, address("cancel", run), reason="ordered twice")
    run.refresh_from_db()
    assert run.status == "running"
    assert run.cancel_reason == "ordered twice"
    page = said(root, page_of(run))
    assert "Asked to stop, at step charge" in page
    assert f'href="{address("cancel", run)}"' not in page
    assert "was asked to stop already" in said(root, address("cancel", run))


def test_a_run_that_has_ended_is_not_cancelled(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.buy("fine")
    before = everything()
    confirm(root, address("cancel", run))
    assert everything() == before
    assert f'href="{address("cancel", run)}"' not in said(root, page_of(run))


# --- requeueing


@pytest.mark.parametrize("status", ["failed", "dead", "cancelled"])
def test_a_run_that_was_given_up_goes_on_when_it_is_requeued(
    shop: Shop, root: Client, confirm: Confirm, status: str
) -> None:
    run = shop.fail("bad")
    Run.objects.update(status=status, takeovers=5)
    confirm(root, address("requeue", run))
    run.refresh_from_db()
    assert run.status == "succeeded"
    assert shop.done == ["charge", "ship"]
    assert LogEntry.objects.get().change_message.startswith("Requeue")


def test_a_run_that_succeeded_or_is_executed_is_not_requeued(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    fine, other = shop.buy("fine"), busy(shop.fail("bad"))
    before = everything()
    assert "nothing to go on with" in said(root, address("requeue", fine))
    assert "being executed" in said(root, address("requeue", other))
    for run in (fine, other):
        confirm(root, address("requeue", run))
    assert everything() == before


def test_what_other_code_recorded_is_not_requeued(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    shop.change_code()
    before = everything()
    confirm(root, address("requeue", run))
    assert everything() == before


# --- deleting


def test_a_run_is_deleted_with_its_log_and_the_trail_stays(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run, other = shop.fail("bad"), shop.buy("fine")
    assert "all 3 rows of its log are deleted" in said(root, address("prune", run))
    answer = confirm(root, address("prune", run), reason="asked by the customer")
    assert answer.headers["Location"] == LIST
    assert [each.pk for each in Run.objects.all()] == [other.pk]
    assert not Checkpoint.objects.exclude(run=other.pk).exists()
    entry = LogEntry.objects.get()
    assert entry.object_repr == "bad (shop.checkout)"
    assert "asked by the customer" in entry.change_message
    page = said(root, LIST)
    assert "Deleted bad." in page
    assert f"/run/{run.pk}/change/" not in page


def test_several_runs_are_deleted_at_once_but_none_that_is_open(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    runs = [shop.fail("one"), shop.buy("two"), busy(shop.fail("three"))]
    confirm(root, address("prune", *runs))
    assert [run.run_id for run in Run.objects.all()] == ["three"]
    assert LogEntry.objects.count() == 2


def test_deleting_takes_the_right_to_delete(
    shop: Shop, sign_in: SignIn, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    token = root.get(address("prune", run)).context["confirmation"]
    client = sign_in("view_run", "resume_run", "cancel_run", "force_version", "view_context")
    before = everything()
    assert confirm.send(client, address("prune", run), token).status_code == 403
    assert address("prune", run) not in said(client, page_of(run))
    assert everything() == before


# --- all of them


@pytest.mark.parametrize("name", ["cancel", "requeue", "prune"])
def test_a_failure_undoes_the_entry_and_is_told(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("The database is tired.")

    run = shop.fail("bad")
    if name == "cancel":
        Run.objects.update(status="queued")
    before = everything()
    monkeypatch.setattr(services, "cancel", refuse)
    monkeypatch.setattr(services, "requeue", refuse)
    monkeypatch.setattr("fluxio_django.querysets.RunQuerySet.forget", refuse)
    answer = confirm(root, address(name, run))
    assert answer.headers["Location"] == page_of(run)
    assert everything() == before
    assert "The database is tired." in said(root, page_of(run))


@pytest.mark.parametrize("name", ["cancel", "requeue", "prune"])
def test_a_form_sent_twice_is_carried_out_once(
    shop: Shop, root: Client, confirm: Confirm, name: str
) -> None:
    run = shop.fail("bad")
    if name == "cancel":
        Run.objects.update(status="queued")
    token = root.get(address(name, run)).context["confirmation"]
    confirm.send(root, address(name, run), token)
    again = confirm.send(root, address(name, run), token)
    assert again.status_code == (404 if name == "prune" else 302)
    assert LogEntry.objects.count() == 1


# --- code that has changed


def test_who_may_force_a_version_goes_on_where_nothing_has_changed_before(
    shop: Shop, root: Client, sign_in: SignIn, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    shop.change_last_stage()
    page = said(root, page_of(run))
    assert "Nothing before step <code>charge</code> has changed" in page
    client = sign_in("view_run", "resume_run")
    before = everything()
    confirm(client, address("resume", run), force="on")
    assert everything() == before
    where = address("resume", run)
    assert "Go on although the code has changed" in said(root, where)
    unticked = confirm(root, where)
    assert unticked.status_code == 200
    assert everything() == before
    confirm(root, where, force="on", reason="only shipping changed")
    run.refresh_from_db()
    assert run.status == "succeeded"
    assert services.state("bad")["parcel"] == "another parcel"
    assert "though the code has changed" in LogEntry.objects.get().change_message


def test_a_fork_can_be_forced_from_the_step_up_to_which_nothing_has_changed(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    shop.change_last_stage()
    steps = root.get(address("fork", run)).context["form"].fields["from_step"].choices
    assert [key for key, _label in steps] == ["", "charge"]
    confirm(
        root, address("fork", run), from_step="charge", force="on", patch="{}", as_run_id="again"
    )
    assert services.state("again")["parcel"] == "another parcel"
    run.refresh_from_db()
    assert run.status == "failed"


def test_a_run_whose_code_is_declared_compatible_needs_no_force(
    shop: Shop, root: Client, sign_in: SignIn, confirm: Confirm
) -> None:
    run = shop.fail("bad")
    shop.change_last_stage(compatible_with=[run.version])
    client = sign_in("view_run", "resume_run")
    assert "says that it is compatible with it" in said(client, page_of(run))
    confirm(client, address("resume", run))
    run.refresh_from_db()
    assert run.status == "succeeded"
