"""All failed runs of a pipeline go on at once, exactly those the page has asked about."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fluxio.errors import StoreError
from fluxio_django import services
from fluxio_django.admin import redrive
from fluxio_django.models import Run
from tests.app.admin.desk import Confirm, SignIn, everything, foreign_runs_are_hidden
from tests.app.admin.shop import Shop

LIST = "/admin/fluxio_django/run/"
REDRIVE = f"{LIST}redrive/?pipeline=shop.checkout"


def statuses() -> dict[str, str]:
    return dict(Run.objects.values_list("run_id", "status"))


def test_the_page_says_how_many_and_requeues_them(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    for number in range(3):
        shop.fail(f"bad-{number}")
    shop.buy("fine")
    page = root.get(REDRIVE)
    assert page.context["preview"].found == 3
    assert page.context["preview"].errors == [("CardDeclinedError", 3)]
    assert "3 runs of shop.checkout failed." in page.content.decode()
    answer = confirm(root, REDRIVE, reason="the bank has recovered")
    assert answer.headers["Location"] == f"{LIST}?pipeline=shop.checkout&status=failed"
    assert set(statuses().values()) == {"succeeded"}
    assert shop.done == ["charge", "ship"] * 3
    assert LogEntry.objects.count() == 3
    assert "3 runs were requeued." in root.get(LIST).content.decode()


def test_what_fails_after_the_page_was_shown_is_left_alone(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.fail("bad")
    token = root.get(REDRIVE).context["confirmation"]
    shop.fail("later")
    confirm.send(root, REDRIVE, token)
    assert statuses() == {"bad": "succeeded", "later": "failed"}


def test_a_form_sent_twice_requeues_nothing_twice(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.fail("bad")
    token = root.get(REDRIVE).context["confirmation"]
    shop.declines = True
    confirm.send(root, REDRIVE, token)
    assert statuses() == {"bad": "failed"}
    shop.done.clear()
    confirm.send(root, REDRIVE, token)
    assert shop.done == []
    assert LogEntry.objects.count() == 1


def test_the_oldest_are_taken_where_there_are_too_many(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redrive, "MOST_AT_ONCE", 2)
    for number in range(3):
        shop.fail(f"bad-{number}")
    page = root.get(REDRIVE)
    assert page.context["preview"].found == 3
    assert "They are the oldest ones" in page.content.decode()
    confirm(root, REDRIVE)
    assert statuses() == {"bad-0": "succeeded", "bad-1": "succeeded", "bad-2": "failed"}


def test_runs_of_other_code_are_left_out_with_the_reason(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.fail("old")
    shop.change_last_stage()
    shop.fail("new")
    page = root.get(REDRIVE)
    assert [run.run_id for run in page.context["preview"].runs] == ["new"]
    assert "1 run is left out: The code has changed" in page.content.decode()
    confirm(root, REDRIVE)
    assert statuses() == {"old": "failed", "new": "succeeded"}


def test_the_dead_are_requeued_as_well(shop: Shop, root: Client, confirm: Confirm) -> None:
    shop.fail("dead")
    shop.fail("failed")
    Run.objects.filter(run_id="dead").update(status="dead", takeovers=5)
    confirm(root, f"{REDRIVE}&status=dead")
    assert statuses() == {"dead": "succeeded", "failed": "failed"}


def test_foreign_runs_are_neither_counted_nor_touched(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fail("mine")
    shop.fail("theirs")
    token = root.get(REDRIVE).context["confirmation"]
    foreign_runs_are_hidden(monkeypatch)
    assert root.get(REDRIVE).context["preview"].found == 1
    confirm.send(root, REDRIVE, token)
    assert statuses() == {"mine": "succeeded", "theirs": "failed"}


def test_the_list_leads_there_once_a_pipeline_and_its_failures_are_chosen(
    shop: Shop, root: Client, sign_in: SignIn
) -> None:
    shop.fail("bad")
    chosen = {"pipeline": "shop.checkout", "status": "failed"}
    assert "/run/redrive/" in root.get(LIST, chosen).content.decode()
    assert "/run/redrive/" not in root.get(LIST, {"status": "failed"}).content.decode()
    outsider = sign_in("view_run", "cancel_run")
    assert "/run/redrive/" not in outsider.get(LIST, chosen).content.decode()


@pytest.mark.parametrize(
    "query", ["", "?pipeline=", "?pipeline=%00", "?pipeline=shop.checkout&status=succeeded"]
)
def test_what_cannot_be_redriven_is_not_found(root: Client, query: str) -> None:
    assert root.get(f"{LIST}redrive/{query}").status_code == 404


def test_without_a_reason_or_a_confirmation_nothing_happens(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    shop.fail("bad")
    before = everything()
    assert confirm(root, REDRIVE, reason="").status_code == 200
    assert confirm.send(root, REDRIVE, "forged").status_code == 302
    for method in ("put", "delete", "patch"):
        assert getattr(root, method)(REDRIVE).status_code == 405
    assert everything() == before


def test_a_failure_in_the_middle_requeues_none(
    shop: Shop, root: Client, confirm: Confirm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shop.fail(f"bad-{number}")
    real, asked = services.requeue, []

    def flaky(run_id: str) -> Any:
        asked.append(run_id)
        if len(asked) == 2:
            raise StoreError("The database is tired.")
        return real(run_id)

    monkeypatch.setattr(services, "requeue", flaky)
    before = everything()
    confirm(root, REDRIVE)
    assert everything() == before
    assert "The database is tired." in root.get(LIST).content.decode()


def test_a_preview_costs_the_same_for_one_as_for_many(shop: Shop, root: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert root.get(REDRIVE).status_code == 200
        return len(captured)

    shop.fail("bad")
    few = queries()
    for number in range(20):
        shop.fail(f"bad-{number}")
    assert queries() == few <= 12
