"""Who may do what at which endpoint: the whole matrix, and what a stranger can learn."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.test import Client, override_settings
from django.urls import get_resolver

from fluxio_django import services
from fluxio_django.models import Run
from fluxio_django.registry import pipelines
from fluxio_django.rights import Right
from tests.app.views.shop import CANARY, CLOSED, OPEN, browser, everything, person, post, run_of

pytestmark = pytest.mark.django_db

RUNS = "/fluxio/runs/"

READS = {
    "pipelines": "/fluxio/pipelines/",
    "openapi": "/fluxio/openapi.json",
    "runs": RUNS,
    "run": f"{RUNS}{{id}}/",
    "history": f"{RUNS}{{id}}/history/",
    "result": f"{RUNS}{{id}}/result/",
    "events": f"{RUNS}{{id}}/events/",
    "diff": f"{RUNS}{{id}}/diff/{{id}}/",
}
WRITES = {"cancel": f"{RUNS}{{id}}/cancel/", "resume": f"{RUNS}{{id}}/resume/"}
ENDPOINTS = READS | WRITES
OF_A_RUN = [name for name, address in ENDPOINTS.items() if "{id}" in address]

NEEDED = {"diff": Right.DIFF, "cancel": Right.CANCEL, "resume": Right.RESUME}
"""What an owner needs beside owning; the result is published in part."""


def ask(client: Client, name: str, run_id: str = "mine") -> Any:
    address = ENDPOINTS[name].format(id=run_id)
    return post(client, address) if name in WRITES else client.get(address)


def test_the_matrix_covers_every_endpoint() -> None:
    (included,) = [each for each in get_resolver().url_patterns if str(each.pattern) == "fluxio/"]
    # The health view has a token instead of users, and tests of its own.
    assert {pattern.name for pattern in included.url_patterns} == {*ENDPOINTS, "health"}


@pytest.mark.security(6)
@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("who", ["anonymous", "user", "staff", "superuser"])
def test_with_empty_settings_every_endpoint_is_closed_to_everybody(name: str, who: str) -> None:
    run_of(None, "mine")
    user = (
        None
        if who == "anonymous"
        else person("x", is_staff=who != "user", is_superuser=who == "superuser")
    )
    before = everything()
    with override_settings(FLUXIO={}):
        answers = [ask(browser(user), name), post(browser(user), ENDPOINTS[name].format(id="mine"))]
    assert {answer.status_code for answer in answers} <= {401, 403, 404}
    assert everything() == before


@pytest.mark.parametrize("name", ENDPOINTS)
def test_nobody_gets_anything_before_signing_in(name: str) -> None:
    run_of(None, "mine")
    answer = ask(browser(None), name)
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer


@pytest.mark.security(5, 7)
@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("rights", [[], [right.value for right in Right]], ids=["no rights", "all"])
@pytest.mark.parametrize("is_staff", [False, True])
def test_the_run_of_somebody_else_is_answered_as_one_that_does_not_exist(
    ada: User, name: str, rights: list[str], is_staff: bool
) -> None:
    run_of(ada, "hers", card="declined")
    stranger = browser(person("eve", *rights, is_staff=is_staff))
    before = everything()
    foreign, unknown = ask(stranger, name, "hers"), ask(stranger, name, "nothing")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.content == unknown.content
    assert everything() == before


@pytest.mark.security(5)
def test_a_comparison_with_one_foreign_run_is_answered_as_with_one_that_does_not_exist(
    ada: User,
) -> None:
    eve = person("eve", "diff_run", "view_context")
    run_of(ada, "hers")
    run_of(eve, "mine")
    for address in (f"{RUNS}mine/diff/hers/", f"{RUNS}hers/diff/mine/"):
        answer = browser(eve).get(address)
        assert answer.status_code == 404
        assert answer.content == browser(eve).get(f"{RUNS}mine/diff/nothing/").content


@pytest.mark.security(2)
@pytest.mark.parametrize("name", OF_A_RUN)
@pytest.mark.parametrize("right", list(Right))
def test_an_owner_does_with_each_right_what_it_allows_and_nothing_else(
    name: str, right: Right
) -> None:
    eve = person("eve", right.value)
    run_of(eve, "mine", card="declined")
    answer = ask(browser(eve), name)
    allowed = NEEDED.get(name) in (None, right)
    assert (answer.status_code == 403) is not allowed
    assert answer.status_code != 404


@pytest.mark.security(3)
@pytest.mark.parametrize("name", OF_A_RUN)
def test_staff_alone_is_no_right(ada: User, name: str) -> None:
    run_of(ada, "hers")
    assert ask(browser(person("staff", is_staff=True)), name, "hers").status_code == 404


@pytest.mark.security(2)
def test_those_who_may_view_runs_see_those_of_others_but_no_values(ada: User) -> None:
    run_of(ada, "hers")
    viewer = browser(person("viewer", "view_run"))
    assert [run["run_id"] for run in viewer.get(RUNS).json()["runs"]] == ["hers"]
    assert viewer.get(f"{RUNS}hers/history/").json()["rows"][1]["wrote"] == ["internal", "total"]


def test_a_rule_of_the_project_decides_alone(ada: User, bob: User) -> None:
    run_of(ada, "hers")
    run_of(bob, "his")
    rule = "tests.app.views.test_access.beginning_with_h"
    with override_settings(FLUXIO={"VIEWS": {OPEN: {}}, "VISIBLE_TO": rule}):
        seen = browser(ada).get(RUNS).json()["runs"]
        assert {run["run_id"] for run in seen} == {"hers", "his"}
        superuser = browser(person("root", is_superuser=True))
        assert superuser.get(RUNS).json()["runs"] == []


def beginning_with_h(user: Any, runs: Any) -> Any:
    return runs.filter(run_id__startswith="h") if not user.is_superuser else runs.none()


@pytest.mark.parametrize("name", OF_A_RUN)
def test_runs_of_pipelines_that_are_not_open_do_not_exist(name: str) -> None:
    run_of(None, "mine", name=CLOSED)
    assert ask(browser(person("root", is_superuser=True)), name).status_code == 404


@pytest.mark.security(4)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_reading_changes_nothing(name: str) -> None:
    root = browser(person("root", is_superuser=True))
    run_of(None, "mine", card="declined")
    before = everything()
    for method in (root.get, root.head, root.options):
        assert method(ENDPOINTS[name].format(id="mine")).status_code < 500
    assert everything() == before


@pytest.mark.security(4)
@pytest.mark.parametrize("name", ["runs", *WRITES])
def test_a_change_needs_the_csrf_token(name: str) -> None:
    user = person("root", is_superuser=True)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    run_of(user, "mine", card="declined")
    before = everything()
    body = {"pipeline": OPEN} if name == "runs" else {}
    assert post(client, ENDPOINTS[name].format(id="mine"), body).status_code == 403
    assert everything() == before


@pytest.mark.parametrize("guard", ["middleware", "view"])
def test_a_program_without_the_csrf_token_is_told_in_json(
    settings: Any, ada: User, guard: str
) -> None:
    settings.CSRF_FAILURE_VIEW = "fluxio_django.views.csrf_failure"
    if guard == "view":
        settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "csrf" not in each.lower()]
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    answer = post(client, RUNS, {"pipeline": OPEN})
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert answer.json()["type"] == "urn:fluxio:problem:csrf"
    assert answer["Cache-Control"] == "no-store"
    page = client.post("/admin/login/", {})
    assert (page.status_code, page["Content-Type"][:9]) == (403, "text/html")


def test_the_csrf_token_is_asked_for_without_the_middleware(settings: Any, ada: User) -> None:
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "csrf" not in each.lower()]
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert post(client, RUNS, {"pipeline": OPEN}).status_code == 403
    assert Run.objects.count() == 0


@pytest.mark.security(15)
@pytest.mark.parametrize("who", ["owner", "viewer", "insider", "superuser"])
def test_no_answer_holds_what_is_redacted(who: str) -> None:
    rights = {
        "owner": [],
        "viewer": ["view_run", "diff_run", "cancel_run"],
        "insider": ["view_run", *(right.value for right in Right)],
        "superuser": [],
    }[who]
    user = person(who, *rights, is_superuser=who == "superuser")
    run_of(user, "mine")
    run_of(user, "bad", card="declined")
    client = browser(user)
    answers = [ask(client, name, each) for each in ("mine", "bad") for name in ENDPOINTS]
    answers += [
        client.get(f"{RUNS}mine/diff/bad/"),
        client.get(f"{RUNS}bad/"),
        post(client, RUNS, {"pipeline": OPEN, "input": {"password": CANARY, "card": "declined"}}),
        client.get(RUNS),
    ]
    assert not any(CANARY.encode() in answer.getvalue() for answer in answers)
    assert not any(CANARY in str(answer.headers) for answer in answers)
    assert services.state("mine")["api_key"] is not None


CORPUS = [
    "'", '"', "' OR 1=1 --", "1;DROP TABLE fluxio_django_run", "mine' OR '1'='1", "%", "_", "m_ne",
    "min%", "\\", "mine\\", "mine%00", "mine%20", "MINE", "mine\u0301", "__class__", "run_id__gt",
    "{}", "$ne", "../../etc/passwd", "%2e%2e%2f", "\u202emine",
    "' UNION SELECT * FROM auth_user --",
]  # fmt: skip


@pytest.mark.security(17)
@pytest.mark.parametrize("text", CORPUS)
def test_nothing_in_an_address_or_a_parameter_reaches_the_database_as_sql(
    ada: User, text: str
) -> None:
    run_of(ada, "mine")
    client = browser(ada)
    before = everything()
    for name in OF_A_RUN:
        answer = ask(client, name, text.replace("/", "~1"))
        assert answer.status_code in (404, 405)
    for parameter in ("status", "pipeline", "after", "limit", text):
        answer = client.get(RUNS, {parameter: text})
        assert answer.status_code in (400, 404, 422)
    assert client.get(f"{RUNS}mine/history/", {"from": text}).status_code == 400
    body = {"pipeline": text, "input": {}}
    assert post(client, RUNS, body).status_code == 404
    assert everything() == before


def elsewhere(alias: str, mark: pytest.MarkDecorator) -> Any:
    both = pytest.mark.django_db(transaction=True, databases={"default", alias})
    return pytest.param(alias, marks=[both, mark])


@pytest.mark.security(17)
@pytest.mark.parametrize(
    "alias",
    [
        elsewhere("postgres", pytest.mark.postgresql),
        elsewhere("mariadb", pytest.mark.mariadb),
    ],
)
def test_nothing_in_an_address_reaches_another_database_as_sql(ada: User, alias: str) -> None:
    with override_settings(FLUXIO={**settings.FLUXIO, "DATABASE": alias}):
        pipelines[OPEN].invoke_sync({"quantity": 2}, run_id="mine")
        Run.objects.using(alias).update(requested_by=ada.pk)
        client = browser(ada)
        assert ask(client, "run").status_code == 200
        before = everything(alias)
        for name, text in zip(cycle(OF_A_RUN), CORPUS, strict=False):
            assert ask(client, name, text.replace("/", "~1")).status_code in (404, 405), text
        for text in CORPUS:
            assert ask(client, "history", text.replace("/", "~1")).status_code == 404, text
            assert client.get(RUNS, {"pipeline": text}).status_code in (400, 404, 422), text
        assert everything(alias) == before


def test_an_anonymous_user_owns_no_runs_that_nobody_asked_for() -> None:
    from fluxio_django.views.access import seen_by

    run_of(None, "nobodys")
    assert not seen_by(AnonymousUser()).exists()
