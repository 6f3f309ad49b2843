"""The context at any moment, alone or beside another one, for those who may see values."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from fluxio import Secret
from fluxio_django.admin import travel
from fluxio_django.models import Run
from tests.app.admin.desk import (
    Confirm,
    SignIn,
    address,
    everything,
    foreign_runs_are_hidden,
    page_of,
)
from tests.app.admin.shop import Shop


def shown(client: Client, run: Run, **query: Any) -> Any:
    answer = client.get(address("state", run), query | {"run": run.pk})
    assert answer.status_code == 200, answer
    assert answer.context["problem"] == ""
    return answer.context["travel"]


def refused(client: Client, run: Run, **query: Any) -> str:
    answer = client.get(address("state", run), query | {"run": run.pk})
    assert answer.status_code == 200
    assert answer.context["travel"] is None
    return answer.content.decode()


def keys(found: Any) -> list[str]:
    return [item.key for item in found.keys]


def test_the_context_is_shown_as_it_was_after_any_row(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    for row, expected in enumerate(
        (
            ["quantity"],
            ["quantity", "total"],
            ["quantity", "total", "receipt"],
            ["quantity", "total", "receipt", "parcel"],
        )
    ):
        assert keys(shown(root, run, at=row)) == expected
    assert keys(shown(root, run)) == ["quantity", "total", "receipt", "parcel"]


def test_the_context_is_shown_as_it_was_before_a_step(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    found = shown(root, run, at="charge")
    assert keys(found) == ["quantity", "total"]
    assert found.at == "before step charge"


def test_every_key_says_which_row_had_set_it_by_then(
    shop: Shop, root: Client, confirm: Confirm
) -> None:
    run = shop.buy("fine")
    confirm(root, address("replay", run), from_step="charge")
    assert {item.key: item.origin for item in shown(root, run, at=2).keys} == {
        "quantity": 0,
        "total": 1,
        "receipt": 2,
    }
    newest = {item.key: item.origin for item in shown(root, run).keys}
    assert newest["receipt"] == 5
    assert newest["total"] == 1
    both = {item.key: item.origin for item in shown(root, run, at=1, beside=5).keys}
    assert both == {"quantity": 0, "total": 1, "receipt": 5}
    step = {item.key: item.origin for item in shown(root, run, at="charge", beside=5).keys}
    assert step == both


def test_two_moments_stand_side_by_side(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    found = shown(root, run, at="charge", beside="3")
    changes = {item.key: item.change and item.change.text for item in found.keys}
    assert changes == {"quantity": None, "total": None, "receipt": "added", "parcel": "added"}
    assert keys(shown(root, run, at="charge", beside="3", differing="on")) == ["receipt", "parcel"]
    back = {item.key: item.change for item in shown(root, run, at="3", beside="0").keys}
    assert back["total"].text == "removed"


def test_the_ends_of_attempts_are_moments(shop: Shop, root: Client, confirm: Confirm) -> None:
    run = shop.fail("bad")
    confirm(root, address("replay", run))
    found = shown(root, run, at="attempt 1", beside="attempt 2", differing="on")
    assert keys(found) == ["receipt", "parcel"]
    assert "no row of attempt 9" in refused(root, run, at="attempt 9")


def test_keys_are_found_by_a_part_of_their_name(shop: Shop, root: Client) -> None:
    run = shop.buy("fine", **{"odd key": 1, "<b>": 2})
    assert keys(shown(root, run, key="key")) == ["odd key"]
    assert keys(shown(root, run, key="<")) == ["<b>"]
    assert keys(shown(root, run, key="nowhere")) == []


def test_many_keys_are_shown_page_by_page(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "KEYS_PER_PAGE", 10)
    run = shop.buy("fine", **{f"key{number:02}": number for number in range(25)})
    met, where = [], address("state", run) + "&key=key"
    for _ in range(3):
        found = root.get(where).context["travel"]
        met += keys(found)
        where = found.after
    assert where == ""
    assert met == [f"key{number:02}" for number in range(25)]
    for nonsense in ("-1", "x", "9" * 30):
        assert len(shown(root, run, first=nonsense).keys) == 10


def test_a_page_of_a_large_context_costs_a_bounded_number_of_queries(
    shop: Shop, root: Client
) -> None:
    run = shop.buy("fine", large="x" * 1_000_000, many=list(range(5_000)))
    with CaptureQueriesContext(connection) as captured:
        answer = root.get(address("state", run) + "&at=1&beside=3")
    assert len(captured) <= 13
    assert len(answer.content) < 600_000


def test_a_state_that_is_too_large_is_left_to_the_command(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.buy("fine", large="x" * 5_000)
    monkeypatch.setattr(travel, "MOST_BYTES", 1_000)
    assert "fluxio_show" in refused(root, run)


def test_where_reading_all_would_take_long_no_origins_are_told(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.buy("fine")
    monkeypatch.setattr(travel, "MOST_ROWS_FOR_ORIGINS", 1)
    found = shown(root, run)
    assert not found.with_origins
    assert len(found.keys) == 4


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"at": "17"}, "there is no row 17"),
        ({"at": "nonsense"}, "is no step"),
        ({"at": "9" * 200}, "No run has so many rows."),
        ({"beside": "-1"}, "is no step"),
        ({"at": "x" * 501}, "500"),
        ({"at": "\x00"}, "Null"),
        ({"key": "k" * 201}, "200"),
    ],
)
def test_a_moment_that_does_not_exist_is_answered_with_the_reason(
    shop: Shop, root: Client, query: dict[str, str], reason: str
) -> None:
    run = shop.buy("fine")
    assert reason in refused(root, run, **query)


def test_a_damaged_row_is_named(shop: Shop, root: Client) -> None:
    run = shop.buy("fine")
    run.checkpoints.filter(sequence=2).update(payload="1:p:{}")
    assert "Row 2 of run" in refused(root, run)
    assert root.get(address("state", run) + "&at=x").status_code == 200


def test_only_who_may_see_values_gets_there(
    shop: Shop, root: Client, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.buy("fine", token=Secret("canary"), password="canary")
    before = everything()
    for rights in (["view_run"], ["view_context"], ["view_run", "diff_run", "fork_run"]):
        assert sign_in(*rights).get(address("state", run)).status_code == 403
    answer = sign_in("view_run", "view_context").get(address("state", run) + "&beside=0")
    assert answer.status_code == 200
    assert "canary" not in answer.content.decode()
    assert root.post(address("state", run)).status_code == 405
    for nonsense in ("", "?run=x", "?run=999999"):
        assert root.get(f"/admin/fluxio_django/run/state/{nonsense}").status_code == 404
    foreign_runs_are_hidden(monkeypatch)
    assert root.get(address("state", run)).status_code == 404
    assert everything()[:3] == before[:3]


def test_the_pages_of_a_run_lead_there(shop: Shop, root: Client, sign_in: SignIn) -> None:
    run = shop.buy("fine")
    page = root.get(page_of(run)).content.decode()
    assert f'href="{address("state", run)}"' in page
    assert f'href="{address("state", run)}&amp;at=0&amp;beside=1"' in page
    assert address("state", run) not in sign_in("view_run").get(page_of(run)).content.decode()
