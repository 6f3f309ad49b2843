"""The list of runs: what it shows, finds and refuses to be asked, at a constant price."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio.runtime.owner import own_identity
from fluxio_django.admin import filters
from fluxio_django.models import Run
from tests.app.admin.shop import Shop

LIST = "/admin/fluxio_django/run/"


def listed(client: Client, **query: str) -> list[str]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200, answer
    return [run.run_id for run in answer.context["cl"].result_list]


def badges(client: Client) -> dict[str, str]:
    runs = client.get(LIST).context["cl"].result_list
    column = admin.site.get_model_admin(Run).state
    return {run.run_id: column(run) for run in runs}


def test_the_newest_runs_come_first(shop: Shop, root: Client) -> None:
    for name in ("one", "two", "three"):
        shop.buy(name)
    assert listed(root) == ["three", "two", "one"]


def test_a_running_run_without_a_worker_is_called_interrupted(shop: Shop, root: Client) -> None:
    hour = timedelta(hours=1)
    owners = {
        "lapsed": ("elsewhere:1::", timezone.now() - hour),
        "alive": ("elsewhere:1::", timezone.now() + hour),
        "mine": (own_identity(), timezone.now() + hour),
        "dead": (own_identity().replace(":", ":9", 1), timezone.now() + hour),
        "put-there": ("", None),
    }
    for name, (owner, lease) in owners.items():
        shop.buy(name)
        Run.objects.filter(run_id=name).update(
            status="running", owner=owner, lease_expires_at=lease
        )
    found = {name: "interrupted" in badge for name, badge in badges(root).items()}
    assert found == {"lapsed": True, "alive": False, "mine": False, "dead": True, "put-there": True}
    assert listed(root, status="interrupted") == ["put-there", "lapsed"]


def test_runs_are_filtered_by_status_and_pipeline(shop: Shop, root: Client) -> None:
    shop.buy("fine")
    shop.fail("bad")
    assert listed(root, status="failed") == ["bad"]
    assert listed(root, status="succeeded", pipeline="shop.checkout") == ["fine"]
    assert listed(root, pipeline="other") == []
    for nonsense in ("' OR 1=1 --", "SUCCEEDED", "\x00", "succeeded,failed"):
        assert listed(root, status=nonsense) == []
        assert listed(root, pipeline=nonsense) == []


def test_runs_are_filtered_by_when_they_were_created(shop: Shop, root: Client) -> None:
    shop.buy("today")
    shop.buy("long-ago")
    Run.objects.filter(run_id="long-ago").update(created_at=timezone.now() - timedelta(days=400))
    choices = root.get(LIST).context["cl"].filter_specs[2].links
    week = {key: str(value) for key, value in dict(choices)["Past 7 days"].items()}
    assert listed(root, **week) == ["today"]


def test_a_search_finds_an_id_or_how_it_begins(shop: Shop, root: Client) -> None:
    for name in ("order-1", "order-10", "Order-1", "other", "a%b", "a_b", "axb", '"quoted"'):
        shop.buy(name)
    assert listed(root, q="order-1") == ["order-10", "order-1"]
    assert listed(root, q="Order") == ["Order-1"]
    assert listed(root, q="rder") == []
    assert listed(root, q="a%") == ["a%b"]
    assert listed(root, q="a_") == ["a_b"]
    assert listed(root, q='"quoted"') == ['"quoted"']
    assert listed(root, q="é") == []
    assert len(listed(root, q=" ")) == 8


@pytest.mark.parametrize(
    "query",
    [
        {"error__contains": "4242"},
        {"error__startswith": "C"},
        {"owner__regex": "(a+)+$"},
        {"checkpoints__payload__contains": "x"},
        {"requested_by__password__startswith": "p"},
        {"subject_id": "1"},
        {"token__gt": "0"},
    ],
)
def test_only_the_filters_of_the_page_can_be_asked(
    shop: Shop, root: Client, query: dict[str, str]
) -> None:
    shop.fail("bad")
    assert root.get(LIST, query).status_code in (302, 400)


def test_only_the_creation_time_can_be_sorted_by(shop: Shop, root: Client) -> None:
    shop.buy("one")
    shop.buy("two")
    columns = root.get(LIST).context["cl"].list_display
    plain = listed(root)
    for number in range(len(columns) + 2):
        expected = plain[::-1] if number < len(columns) and columns[number] == "created" else plain
        assert listed(root, o=str(number)) == expected, number


def test_the_list_costs_the_same_however_many_runs_it_shows(shop: Shop, root: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            listed(root)
        return len(captured)

    shop.buy("first")
    root.get(LIST)
    few = queries()
    for number in range(40):
        shop.buy(f"run-{number}")
    lease = timezone.now() + timedelta(hours=1)
    Run.objects.filter(run_id__endswith="5").update(
        status="running", owner="elsewhere:1::", lease_expires_at=lease
    )
    assert queries() == few <= 12


def test_no_more_runs_are_counted_than_are_listed(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        shop.buy(f"run-{number}")
    monkeypatch.setattr(filters, "MOST_LISTED", 3)
    monkeypatch.setattr("fluxio_django.admin.runs.MOST_LISTED", 3)
    answer = root.get(LIST)
    assert answer.context["cl"].result_count == 3
    assert "Only the first 3 runs are listed" in answer.content.decode()


def test_an_empty_list_says_how_it_fills(root: Client) -> None:
    assert "No run has been recorded yet" in root.get(LIST).content.decode()
    assert "recorded yet" not in root.get(LIST, {"status": "failed"}).content.decode()


def test_two_selected_runs_are_compared_the_older_one_first(shop: Shop, root: Client) -> None:
    older, newer, third = shop.buy("older"), shop.buy("newer"), shop.buy("third")

    def choose(*runs: Run) -> Any:
        keys = [run.pk for run in runs]
        return root.post(LIST, {"action": "diff_selected", "_selected_action": keys})

    found = choose(newer, older).headers["Location"]
    assert found == f"{LIST}diff/?run={older.pk}&run={newer.pk}"
    for wrong in ([older], [older, newer, third]):
        assert choose(*wrong).headers["Location"] == LIST


def test_more_runs_than_an_operation_takes_are_refused(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [shop.fail(f"run-{number}") for number in range(3)]
    monkeypatch.setattr("fluxio_django.admin.runs.MOST_RUNS", 2)
    for action in ("resume_selected", "replay_selected", "fork_selected"):
        data = {"action": action, "_selected_action": [run.pk for run in runs]}
        assert root.post(LIST, data).headers["Location"] == LIST
    data = {"action": "resume_selected", "_selected_action": [runs[0].pk], "select_across": "1"}
    assert root.post(LIST, data).headers["Location"] == LIST


def test_values_never_reach_the_list(shop: Shop, root: Client) -> None:
    shop.message = "canary"
    shop.fail("bad", note="canary")
    assert "canary" not in root.get(LIST).content.decode()
