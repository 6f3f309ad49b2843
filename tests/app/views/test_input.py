"""What clients send is bounded before it is parsed, and a flood of starts is slowed down."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from fluxio_django import Limits
from fluxio_django.models import Run
from fluxio_django.registry import pipelines
from fluxio_django.views.problems import Problem
from fluxio_django.views.throttle import count_start
from tests.app.views.shop import OPEN, browser, checkout, person, post, run_of

pytestmark = pytest.mark.django_db

RUNS = "/fluxio/runs/"


def send(client: Client, body: str | bytes, content_type: str = "application/json") -> Any:
    return client.post(RUNS, data=body, content_type=content_type)


def started(values: str) -> str:
    return f'{{"pipeline": "{OPEN}", "input": {values}}}'


BOMBS = {
    "deep arrays": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "many nodes": started('{"a": [' + "0," * 100_001 + "0]}"),
    "a number of a million digits": started('{"a": ' + "9" * 1_000_000 + "}"),
    "an exponent": started('{"a": 1e999999}'),
    "NaN": started('{"a": NaN}'),
    "infinity": started('{"a": -Infinity}'),
    "a key twice": started('{"a": 1, "a": 2}'),
    "no JSON": "{",
    "nothing": " ",
    "no UTF-8": b"\xff\xfe{}",
}


@pytest.mark.security(18)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_starts_nothing(ada: User, name: str) -> None:
    answer = send(browser(ada), BOMBS[name])
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:fluxio:problem:malformed"
    assert Run.objects.count() == 0


@pytest.mark.security(18)
def test_what_is_too_large_is_refused_before_it_is_parsed(ada: User, monkeypatch: Any) -> None:
    monkeypatch.setattr("fluxio_django.views.bodies.parse_json", lambda *a: pytest.fail("parsed"))
    client, body = browser(ada), started('{"a": "' + "x" * 1_100_000 + '"}')
    tracemalloc.start()
    answer = send(client, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 413
    assert peak < 10 * len(body)


def test_what_django_itself_refuses_to_read_is_told_as_too_large(ada: User, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert send(browser(ada), started("{}")).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[]", 422),
        ("null", 422),
        ('{"pipeline": 1}', 422),
        (started("[]"), 422),
        (f'{{"pipeline": "{OPEN}", "inputs": {{}}}}', 422),
        ("{}", 404),
    ],
)
def test_an_object_of_another_shape_is_refused(ada: User, body: str, status: int) -> None:
    assert send(browser(ada), body).status_code == status
    assert Run.objects.count() == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "a/b; json"])
def test_a_body_of_another_type_is_refused(ada: User, kind: str) -> None:
    assert send(browser(ada), started("{}"), kind).status_code == 415


def test_values_that_look_like_the_tags_of_our_codec_stay_plain(ada: User) -> None:
    given = {"$decimal": "1.20", "$type": "os.system", "$secret": "x"}
    answer = post(browser(ada), RUNS, {"pipeline": OPEN, "input": {"note": given}})
    assert answer.status_code == 202
    assert dict(pipelines[OPEN].state_sync(answer.json()["run_id"]))["note"] == given


@pytest.mark.parametrize("values", ["{}", '{"order": [1]}', '{"order": {}}'])
def test_a_value_that_tells_no_duplicates_apart_is_refused_with_its_name(
    ada: User, values: str
) -> None:
    pipelines.remove(OPEN)
    pipelines.add(OPEN, checkout, Limits(deduplicate_by=("order",)))
    answer = send(browser(ada), started(values))
    assert answer.status_code == 422
    assert "'order'" in answer.json()["detail"]
    assert Run.objects.count() == 0


@pytest.mark.parametrize(("deed", "card"), [("cancel", "x"), ("resume", "declined")])
def test_a_reason_may_hold_what_no_text_column_takes(deed: str, card: str, settings: Any) -> None:
    settings.FLUXIO = settings.FLUXIO | {"DISPATCHER": "inline"}
    eve = person("eve", "cancel_run", "resume_run")
    run_of(eve, "mine", card=card)
    if deed == "cancel":
        Run.objects.update(status="queued")
    answer = post(browser(eve), f"{RUNS}mine/{deed}/", {"reason": "\ud800\x00\u202e"})
    assert answer.status_code == 202
    assert LogEntry.objects.get().change_message.endswith(": \\ud800\\x00\u202e")


def test_a_reason_is_bounded(ada: User) -> None:
    eve = person("eve", "cancel_run")
    run_of(eve, "mine")
    answer = post(browser(eve), f"{RUNS}mine/cancel/", {"reason": "x" * 501})
    assert answer.status_code == 422


@pytest.mark.security(20)
def test_a_flood_of_starts_is_answered_with_when_to_come_again(
    ada: User, bob: User, settings: Any
) -> None:
    settings.FLUXIO = settings.FLUXIO | {"START_RATE": "3/d"}
    body = {"pipeline": OPEN, "input": {}}
    client = browser(ada)
    answers = [post(client, RUNS, body) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert 1 <= int(answers[-1]["Retry-After"]) <= 86_400
    assert json.loads(answers[-1].content)["type"].endswith(":too-many")
    assert Run.objects.count() == 3
    assert post(browser(bob), RUNS, body).status_code == 202


def test_reading_is_not_counted(ada: User, settings: Any) -> None:
    settings.FLUXIO = settings.FLUXIO | {"START_RATE": "1/d"}
    assert [browser(ada).get(RUNS).status_code for _ in range(3)] == [200] * 3


def test_a_window_that_is_over_counts_no_more(ada: User, settings: Any) -> None:
    settings.FLUXIO = settings.FLUXIO | {"START_RATE": "2/m"}
    now = [6_000_000.0]
    for _ in range(2):
        count_start(str(ada.pk), lambda: now[0])
    now[0] += 45
    with pytest.raises(Problem) as refused:
        count_start(str(ada.pk), lambda: now[0])
    assert refused.value.headers == {"Retry-After": "15"}
    now[0] += 15
    count_start(str(ada.pk), lambda: now[0])
