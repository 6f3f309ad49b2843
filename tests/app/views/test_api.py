"""The JSON API: runs are started, watched, cancelled and resumed, each refusal with a reason."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from fluxio_django import Limits, services
from fluxio_django.models import Run
from fluxio_django.registry import pipelines
from tests.app.views.shop import CLOSED, OPEN, browser, checkout, person, post, run_of

pytestmark = pytest.mark.django_db

Commit = Callable[..., Any]
RUNS = "/fluxio/runs/"


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Commit) -> Callable[..., Any]:
    """Do something, and then what waits for the end of its transaction."""

    def commit(act: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return act(*args, **options)

    return commit


def start(client: Client, name: str = OPEN, **options: Any) -> Any:
    return post(client, RUNS, {"pipeline": name, "input": {"quantity": 3}}, **options)


def problem(answer: Any) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    facts = answer.json()
    assert facts["status"] == answer.status_code
    assert facts["detail"]
    return answer.status_code, facts["type"].removeprefix("urn:fluxio:problem:")


def test_a_started_run_is_found_under_its_address_and_gives_its_result(
    ada: User, commit: Callable[..., Any]
) -> None:
    client = browser(ada)
    answer = commit(start, client)
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer["Location"] == answer.json()["links"]["self"]
    status = client.get(answer["Location"]).json()
    assert (status["status"], status["head"]) == ("succeeded", 2)
    assert Run.objects.get().requested_by == ada
    result = client.get(status["links"]["result"]).json()
    assert result == {
        "run_id": status["run_id"],
        "status": "succeeded",
        "complete": False,
        "result": {"total": 15},
    }


def test_a_start_that_is_sent_twice_with_one_key_makes_one_run(
    ada: User, bob: User, commit: Callable[..., Any]
) -> None:
    first = commit(start, browser(ada), headers={"Idempotency-Key": "order-1"})
    again = commit(start, browser(ada), headers={"Idempotency-Key": "order-1"})
    other = commit(start, browser(bob), headers={"Idempotency-Key": "order-1"})
    assert (first.status_code, again.status_code, other.status_code) == (202, 200, 202)
    assert first.json()["run_id"] == again.json()["run_id"] != other.json()["run_id"]
    assert Run.objects.count() == 2


@pytest.fixture
def deduplicated() -> None:
    """While an order is open, no other one of so many is enqueued."""
    pipelines.remove(OPEN)
    pipelines.add(OPEN, checkout, Limits(deduplicate_by=("quantity",)))


@pytest.mark.security(5)
def test_a_start_that_meets_the_open_run_of_somebody_else_tells_nothing_of_it(
    ada: User, bob: User, deduplicated: None
) -> None:
    run_id = start(browser(ada)).json()["run_id"]
    answer = start(browser(bob))
    assert problem(answer) == (409, "duplicate")
    assert run_id not in answer.content.decode()
    assert [entry.user for entry in LogEntry.objects.all()] == [ada]
    assert Run.objects.get().requested_by == ada


def test_a_start_that_meets_an_open_run_of_ones_own_leads_to_it_and_starts_nothing(
    ada: User, deduplicated: None
) -> None:
    client = browser(ada)
    first, again = start(client), start(client)
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json()["run_id"] == again.json()["run_id"]
    assert LogEntry.objects.count() == 1


def test_a_key_leads_to_ones_own_run_also_where_a_rule_hides_it(ada: User, settings: Any) -> None:
    settings.FLUXIO = settings.FLUXIO | {"VISIBLE_TO": lambda user, runs: runs.none()}
    client, key = browser(ada), {"Idempotency-Key": "order-1"}
    answers = [start(client, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 200]


@pytest.mark.security(7)
def test_generated_ids_cannot_be_guessed(ada: User, commit: Callable[..., Any]) -> None:
    ids = {commit(start, browser(ada)).json()["run_id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) >= 32 for each in ids)


@pytest.mark.security(23)
@pytest.mark.parametrize("name", ["os.system", CLOSED, "views.nothing", "", "../x", "\x00"])
def test_only_open_pipelines_can_be_started(ada: User, name: str) -> None:
    assert problem(start(browser(ada), name)) == (404, "unknown-pipeline")
    assert Run.objects.count() == 0


def test_a_pipeline_that_is_open_but_not_registered_is_unknown(ada: User) -> None:
    pipelines.remove(OPEN)
    assert problem(start(browser(ada))) == (404, "unknown-pipeline")


def test_a_permission_can_be_asked_for_before_a_run_is_started(ada: User, settings: Any) -> None:
    settings.FLUXIO = {"VIEWS": {OPEN: {"START": "fluxio_django.add_run"}}, "DISPATCHER": "eager"}
    assert problem(start(browser(ada))) == (403, "forbidden")
    assert start(browser(person("eve", "add_run"))).status_code == 202


def test_a_pipeline_that_is_only_shown_is_started_by_nobody(ada: User, settings: Any) -> None:
    settings.FLUXIO = {"VIEWS": {OPEN: {}}}
    assert problem(start(browser(ada))) == (403, "forbidden")
    assert browser(ada).get("/fluxio/pipelines/").json() == {"pipelines": []}


def test_the_pipelines_one_may_start_are_listed(ada: User) -> None:
    assert browser(ada).get("/fluxio/pipelines/").json() == {"pipelines": [OPEN]}


def test_a_list_is_read_page_by_page_without_gaps_or_repetitions(ada: User, bob: User) -> None:
    for number in range(7):
        run_of(ada if number % 3 else bob, f"run-{number}")
    moment = Run.objects.first().created_at
    Run.objects.update(created_at=moment)
    client, seen, address = browser(ada), [], f"{RUNS}?limit=2"
    while address:
        page = client.get(address).json()
        seen += [run["run_id"] for run in page["runs"]]
        address = f"{RUNS}?limit=2&after={page['next']}" if page["next"] else ""
    assert seen == ["run-5", "run-4", "run-2", "run-1"]


def test_a_list_is_narrowed_by_status_and_pipeline(ada: User) -> None:
    run_of(ada, "good")
    run_of(ada, "bad", card="declined")
    client = browser(ada)
    failed = client.get(f"{RUNS}?status=failed&pipeline={OPEN}").json()["runs"]
    assert [(run["run_id"], run["error"]) for run in failed] == [("bad", {"type": "ValueError"})]
    assert problem(client.get(f"{RUNS}?pipeline={CLOSED}")) == (404, "unknown-pipeline")


def test_a_page_of_the_list_asks_the_database_as_often_for_many_runs_as_for_one(
    ada: User, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        run_of(ada, f"run-{number}")
    Run.objects.update(status="running", owner="elsewhere:1:x")
    client = browser(ada)
    with django_assert_max_num_queries(8):
        page = client.get(f"{RUNS}?limit=20").json()
    assert [run["interrupted"] for run in page["runs"]] == [True] * 20


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "after=!!", "after=", "after=MSAy",
     "status=open", "after=" + "A" * 5000],
)  # fmt: skip
def test_a_parameter_that_cannot_be_understood_is_refused(ada: User, query: str) -> None:
    assert problem(browser(ada).get(f"{RUNS}?{query}")) == (400, "malformed")


@pytest.mark.parametrize(
    "place",
    ["0001-01-01T00:00:00+14:00 1", "9999-12-31T23:59:59-14:00 1", "2026-01-01T00:00:00 1",
     "2026-01-01T00:00:00+00:00 ٣", "2026-01-01T00:00:00+00:00 9223372036854775808"],
)  # fmt: skip
def test_a_place_that_no_list_gave_is_refused(ada: User, place: str) -> None:
    text = urlsafe_b64encode(place.encode()).decode()
    assert problem(browser(ada).get(f"{RUNS}?after={text}")) == (400, "malformed")


def test_a_parameter_that_means_nothing_is_refused_rather_than_passed_over(ada: User) -> None:
    assert problem(browser(ada).get(f"{RUNS}?stauts=failed")) == (422, "unfit")


def test_history_shows_which_keys_were_written_and_values_to_those_who_may(ada: User) -> None:
    run_of(ada, "order-1")
    address = f"{RUNS}order-1/history/"
    rows = browser(ada).get(address).json()["rows"]
    assert [(row["kind"], row["step"], row["wrote"]) for row in rows] == [
        ("start", None, ["quantity"]),
        ("step", "price", ["internal", "total"]),
        ("step", "charge", ["api_key", "pin", "receipt"]),
    ]
    insider = person("eve", "view_run", "view_context")
    shown = browser(insider).get(f"{address}?from=1").json()["rows"]
    assert shown[0]["wrote"] == {"total": 10, "internal": {"margin": 3}}
    assert browser(ada).get(f"{address}?from=99").json() == {"rows": [], "next": None}


def test_a_result_without_the_right_is_what_the_project_publishes(ada: User, settings: Any) -> None:
    run_of(ada, "order-1")
    address = f"{RUNS}order-1/result/"
    whole = browser(person("eve", "view_run", "view_context")).get(address).json()
    assert whole["complete"] is True
    assert whole["result"]["internal"] == {"margin": 3}
    settings.FLUXIO = {"VIEWS": {OPEN: {}}}
    assert problem(browser(ada).get(address)) == (403, "forbidden")


def test_a_run_that_has_not_succeeded_has_no_result(ada: User) -> None:
    run_of(ada, "bad", card="declined")
    assert problem(browser(ada).get(f"{RUNS}bad/result/")) == (409, "no-result")


def test_a_failed_run_is_resumed_and_a_queued_one_is_cancelled(
    commit: Callable[..., Any], settings: Any
) -> None:
    eve = person("eve", "resume_run", "cancel_run")
    run_of(eve, "bad", card="declined")
    client = browser(eve)
    settings.FLUXIO = settings.FLUXIO | {"DISPATCHER": "inline"}
    assert post(client, f"{RUNS}bad/resume/", {"reason": "a new card"}).status_code == 202
    assert client.get(f"{RUNS}bad/").json()["status"] == "queued"
    answer = post(client, f"{RUNS}bad/cancel/", {"reason": "never mind"})
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert problem(post(client, f"{RUNS}bad/cancel/")) == (409, "ended")
    assert services.find_run("bad").error == "Cancelled: never mind"


def test_a_run_that_has_succeeded_cannot_be_resumed() -> None:
    eve = person("eve", "resume_run")
    run_of(eve, "good")
    assert problem(post(browser(eve), f"{RUNS}good/resume/")) == (409, "ended")


@pytest.mark.security(10)
def test_every_operation_is_written_into_the_trail_and_a_refused_one_is_not() -> None:
    eve = person("eve", "resume_run", "cancel_run")
    client = browser(eve)
    start(client)
    run_of(eve, "bad", card="declined")
    post(client, f"{RUNS}bad/resume/", {"reason": "why not"})
    post(client, f"{RUNS}bad/cancel/")
    assert post(client, f"{RUNS}bad/cancel/").status_code == 409
    entries = LogEntry.objects.order_by("pk").values_list("user", "change_message")
    assert [user for user, _ in entries] == [eve.pk] * 3
    assert [message.split(" ")[0] for _, message in entries] == ["Start", "Resume", "Cancel"]
    assert entries[1][1].endswith("from 127.0.0.1: why not")


def test_two_runs_are_compared_by_key_and_with_values_by_those_who_may() -> None:
    eve = person("eve", "diff_run")
    run_of(eve, "a", quantity=1)
    run_of(eve, "b", quantity=2)
    address = f"{RUNS}a/diff/b/"
    found = browser(eve).get(address).json()
    assert found == {"a": "a", "b": "b", "keys": ["quantity", "total"], "truncated": False}
    insider = person("zoe", "diff_run", "view_run", "view_context")
    changes = browser(insider).get(address).json()["changes"]
    assert changes[0] == {"path": '["quantity"]', "kind": "changed", "a": 1, "b": 2}


def test_a_run_id_with_a_slash_has_an_address(ada: User) -> None:
    run = run_of(ada, "orders/17~a?b=#%41")
    client = browser(ada)
    address = client.get(RUNS).json()["runs"][0]["links"]["self"]
    assert client.get(address).json()["run_id"] == run.run_id
    assert client.get(f"{address}history/").status_code == 200


@pytest.mark.security(9)
def test_every_answer_is_kept_by_nobody_and_sniffed_by_nobody(ada: User) -> None:
    run_of(ada, "order-1")
    client = browser(ada)
    for address in (RUNS, f"{RUNS}order-1/", f"{RUNS}nothing/", f"{RUNS}order-1/result/"):
        answer = client.get(address)
        assert answer["Cache-Control"] == "no-store"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "Cookie" in answer["Vary"]


def test_a_database_that_does_not_answer_is_told_as_such(ada: User, monkeypatch: Any) -> None:
    from fluxio.errors import StoreError

    def down(*args: Any, **options: Any) -> None:
        raise StoreError("Database 'default' failed: password=hunter2")

    monkeypatch.setattr(services, "enqueue", down)
    answer = start(browser(ada))
    assert problem(answer) == (503, "database")
    assert answer["Retry-After"] == "5"
    assert "hunter2" not in answer.content.decode()


def test_methods_that_an_endpoint_lacks_are_refused_with_those_it_has(ada: User) -> None:
    answer = browser(ada).delete(RUNS)
    assert problem(answer) == (405, "method")
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"
