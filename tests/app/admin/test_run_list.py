"""The list of runs: what it shows, finds and refuses to be asked, at a constant price."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio.runtime.owner import own_identity
from fluxio_django.admin.summary import MOST_COUNTED
from fluxio_django.models import Run
from tests.app.admin.desk import SignIn, foreign_runs_are_hidden
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


@pytest.mark.security(17)
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


@pytest.mark.security(17)
def test_only_the_creation_time_can_be_sorted_by(shop: Shop, root: Client) -> None:
    shop.buy("one")
    shop.buy("two")
    columns = root.get(LIST).context["cl"].list_display
    plain = listed(root)
    for number in range(len(columns) + 2):
        expected = plain[::-1] if number < len(columns) and columns[number] == "created" else plain
        assert listed(root, o=str(number)) == expected, number


@pytest.mark.security(19)
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


def walk(client: Client, direction: str, **query: str) -> list[list[str]]:
    """Follow the links of the list from page to page."""
    answer = client.get(LIST, query)
    pages = []
    for _ in range(20):
        changes = answer.context["cl"]
        pages.append([run.run_id for run in changes.result_list])
        following = getattr(changes, f"{direction}_address")
        if not following:
            return pages
        answer = client.get(LIST + following)
    raise AssertionError("the pages never end")


@pytest.fixture
def pages_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(Run), "list_per_page", 3)


@pytest.mark.parametrize("order", ["", "5"])
def test_paging_there_and_back_meets_each_run_once(
    shop: Shop, root: Client, pages_of_three: None, order: str
) -> None:
    for number in range(8):
        shop.buy(f"run-{number}")
    # Runs of one moment are told apart by their keys.
    Run.objects.filter(run_id__in=["run-2", "run-3", "run-4", "run-5"]).update(
        created_at=Run.objects.get(run_id="run-3").created_at
    )
    query = {"o": order} if order else {}
    pages = walk(root, "after", **query)
    assert [len(page) for page in pages] == [3, 3, 2]
    expected = [f"run-{number}" for number in range(8)]
    assert [*chain(*pages)] == (expected if order else expected[::-1])
    changes = root.get(LIST, query).context["cl"]
    last = root.get(LIST + root.get(LIST + changes.after_address).context["cl"].after_address)
    back = last.context["cl"].before_address.removeprefix("?")
    assert walk(root, "before", **parameters(back)) == [pages[1], pages[0]]


def parameters(query: str) -> dict[str, str]:
    return dict(parse_qsl(query))


def test_a_page_keeps_its_place_while_runs_come_and_go(
    shop: Shop, root: Client, pages_of_three: None
) -> None:
    runs = [shop.buy(f"run-{number}") for number in range(6)]
    following = root.get(LIST).context["cl"].after_address
    shop.buy("newer")
    runs[3].delete()
    changes = root.get(LIST + following).context["cl"]
    assert [run.run_id for run in changes.result_list] == ["run-2", "run-1", "run-0"]


def test_paging_keeps_the_filters(shop: Shop, root: Client, pages_of_three: None) -> None:
    for number in range(5):
        shop.fail(f"bad-{number}")
        shop.buy(f"fine-{number}")
    pages = walk(root, "after", status="failed", q="bad")
    assert [*chain(*pages)] == [f"bad-{number}" for number in range(5)][::-1]


@pytest.mark.parametrize(
    "cursor",
    [
        "2",
        "-1",
        "after_",
        "after_1_2026-13-45T99:99:99",
        "after_1_2026-01-01T00:00:00",
        "after_" + "9" * 30 + "_2026-01-01T00:00:00+00:00",
        "after_\u0661_2026-01-01T00:00:00+00:00",
        "' OR 1=1 --",
        "\x00",
    ],
)
def test_a_cursor_that_is_none_leads_to_the_first_page(
    shop: Shop, root: Client, cursor: str
) -> None:
    shop.buy("one")
    assert listed(root, p=cursor) == ["one"]


@pytest.mark.security(19)
def test_nothing_is_counted_but_figures_that_have_a_limit(shop: Shop, root: Client) -> None:
    shop.fail("bad")
    with CaptureQueriesContext(connection) as captured:
        listed(root, q="bad", status="failed")
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == 3
    assert all(f"LIMIT {MOST_COUNTED}" in sql for sql in counts)


def test_runs_are_filtered_by_version_and_type_of_error(shop: Shop, root: Client) -> None:
    shop.buy("fine")
    old = shop.fail("bad")
    Run.objects.filter(pk=old.pk).update(version="0" * 14)
    assert listed(root, version="0" * 14) == ["bad"]
    assert listed(root, pipeline="shop.checkout", version="0" * 14) == ["bad"]
    assert listed(root, error_type="CardDeclinedError") == ["bad"]
    for nonsense in ("' OR 1=1 --", "\x00", "cardDeclinedError", "Card%"):
        assert listed(root, version=nonsense) == []
        assert listed(root, error_type=nonsense) == []


def offered(client: Client, filter_title: str, **query: str) -> list[str]:
    changes = client.get(LIST, query).context["cl"]
    for spec in changes.filter_specs:
        if str(spec.title) == filter_title:
            return [str(choice["display"]) for choice in spec.choices(changes)]
    return []


def test_versions_are_offered_once_a_pipeline_is_chosen(shop: Shop, root: Client) -> None:
    version = shop.buy("fine").version
    assert offered(root, "version") == []
    assert offered(root, "version", pipeline="shop.checkout") == ["All", version]
    assert offered(root, "type of error") == []
    shop.fail("bad")
    assert offered(root, "type of error") == ["All", "CardDeclinedError"]


def test_a_progress_is_shown_while_it_is_worth_something(shop: Shop, root: Client) -> None:
    shop.buy("busy")
    now = timezone.now()
    told = {"progress_done": 30, "progress_total": 120, "progress_note": "pages", "step": "charge"}
    running = {"status": "running", "lease_expires_at": now + timedelta(hours=1), "owner": "e:1::"}
    Run.objects.update(**running, **told, updated_at=now, progress_at=now)
    page = root.get(LIST).content.decode()
    assert 'max="120" value="30"' in page
    assert "30 of 120 pages" in page
    for stale in ({"progress_at": now - timedelta(seconds=1)}, {"status": "failed"}):
        Run.objects.update(**running, progress_at=now)
        Run.objects.update(**stale)
        assert "30 of 120" not in root.get(LIST).content.decode()
    Run.objects.update(**running, progress_at=now, progress_total=None)
    assert "30 pages" in root.get(LIST).content.decode()


def test_the_subject_is_a_link_for_those_who_may_look_at_it(
    shop: Shop, root: Client, sign_in: SignIn
) -> None:
    shop.buy("fine")
    person = User.objects.create_user("grace")
    kind = ContentType.objects.get_for_model(User)
    Run.objects.update(subject_type=kind, subject_id=str(person.pk))
    where = f"/admin/auth/user/{person.pk}/change/"
    assert where in root.get(LIST).content.decode()
    outsider = sign_in("view_run").get(LIST).content.decode()
    assert where not in outsider
    assert f"auth.user {person.pk}" in outsider
    Run.objects.update(subject_type=None)
    assert root.get(LIST).status_code == 200


def figures(client: Client) -> dict[str, str]:
    return {figure.label: figure.text for figure in client.get(LIST).context["figures"]()}


def test_the_figures_above_the_list_say_how_things_stand(shop: Shop, root: Client) -> None:
    assert figures(root) == {
        "running": "0",
        "interrupted": "0",
        "failed today": "0",
        "dead": "0",
        "oldest waiting": "—",
    }
    for name in ("busy", "lost", "dead", "queued", "queued-later", "old"):
        shop.fail(name)
    now = timezone.now()
    hour = timedelta(hours=1)
    changes = {
        "busy": {"status": "running", "owner": "e:1::", "lease_expires_at": now + hour},
        "lost": {"status": "running", "owner": "e:1::", "lease_expires_at": now - hour},
        "dead": {"status": "dead"},
        "queued": {"status": "queued", "created_at": now - 3 * hour},
        "queued-later": {"status": "queued"},
        "old": {"finished_at": now - timedelta(days=2)},
    }
    for name, change in changes.items():
        Run.objects.filter(run_id=name).update(**change)
    shop.fail("bad")
    assert {key: text.replace("\xa0", " ") for key, text in figures(root).items()} == {
        "running": "1",
        "interrupted": "1",
        "failed today": "1",
        "dead": "1",
        "oldest waiting": "3 hours",
    }
    oldest = root.get(LIST).context["figures"]()[-1].address
    assert oldest == f"{LIST}{Run.objects.get(run_id='queued').pk}/change/"


def test_the_figures_count_no_foreign_run(
    shop: Shop, root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fail("theirs")
    foreign_runs_are_hidden(monkeypatch)
    assert figures(root)["failed today"] == "0"
    assert offered(root, "type of error") == []


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
    monkeypatch.setattr("fluxio_django.admin.confirmation.MOST_RUNS", 2)
    for action in ("resume_selected", "replay_selected", "fork_selected"):
        data = {"action": action, "_selected_action": [run.pk for run in runs]}
        assert root.post(LIST, data).headers["Location"] == LIST
    data = {"action": "resume_selected", "_selected_action": [runs[0].pk], "select_across": "1"}
    assert root.post(LIST, data).headers["Location"] == LIST


def test_values_never_reach_the_list(shop: Shop, root: Client) -> None:
    shop.message = "canary"
    shop.fail("bad", note="canary")
    assert "canary" not in root.get(LIST).content.decode()
