"""What an open page asks: whether its run has moved on, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio_django.models import Run
from tests.app.admin.desk import SignIn, address, everything, foreign_runs_are_hidden, page_of
from tests.app.admin.shop import Shop


def pulse(client: Client, run: Run) -> Any:
    answer = client.get(address("pulse", run))
    assert answer.status_code == 200, answer
    return answer.json()


@pytest.fixture
def busy(shop: Shop) -> Run:
    run = shop.buy("busy")
    lease = timezone.now() + timedelta(hours=1)
    Run.objects.update(status="running", owner="elsewhere:1::", lease_expires_at=lease)
    run.refresh_from_db()
    return run


def test_the_page_of_an_open_run_says_where_to_ask(shop: Shop, root: Client, busy: Run) -> None:
    page = root.get(page_of(busy))
    assert page.context["page"].pulse.address == address("pulse", busy)
    assert f'data-mark="{pulse(root, busy)["mark"]}"' in page.content.decode()
    Run.objects.update(status="failed")
    assert "data-pulse" not in root.get(page_of(busy)).content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"head": 7},
        {"status": "failed"},
        {"attempt": 2},
        {"step": "ship"},
        {"updated_at": timezone.now() + timedelta(days=1)},
        {"progress_done": 3},
        {"progress_at": timezone.now()},
        {"lease_expires_at": None},
        {"cancel_requested_at": timezone.now()},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_mark_changes_with_the_run_and_not_by_itself(
    root: Client, busy: Run, changes: dict[str, Any]
) -> None:
    mark = pulse(root, busy)
    assert pulse(root, busy) == mark
    Run.objects.update(**changes)
    assert pulse(root, busy) != mark


def test_the_answer_holds_a_mark_only_and_is_kept_nowhere(root: Client, busy: Run) -> None:
    answer = root.get(address("pulse", busy))
    assert list(answer.json()) == ["mark"]
    assert len(answer.json()["mark"]) == 16
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Type"] == "application/json"


def test_only_who_may_see_a_run_hears_its_pulse(
    root: Client, busy: Run, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sign_in("view_run").get(address("pulse", busy)).status_code == 200
    assert sign_in("resume_run").get(address("pulse", busy)).status_code == 403
    assert Client().get(address("pulse", busy)).status_code == 302
    foreign_runs_are_hidden(monkeypatch)
    assert root.get(address("pulse", busy)).status_code == 404


def test_asking_costs_little_and_changes_nothing(root: Client, busy: Run) -> None:
    before = everything()
    with CaptureQueriesContext(connection) as captured:
        pulse(root, busy)
    assert len(captured) <= 4
    assert root.post(address("pulse", busy)).status_code == 405
    for nonsense in ("", "?run=x", "?run=999999"):
        assert root.get(f"/admin/fluxio_django/run/pulse/{nonsense}").status_code == 404
    assert root.get(address("pulse", busy) + "&run=999").status_code == 400
    assert everything() == before
