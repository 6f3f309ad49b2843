"""Runs may live in another database, and another kind of it, than the people who look at them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from fluxio_django.models import Checkpoint, Run
from tests.app.admin.desk import address, page_of
from tests.app.admin.shop import Shop, open_shop


def elsewhere(alias: str, mark: pytest.MarkDecorator) -> Any:
    both = pytest.mark.django_db(transaction=True, databases=["default", alias])
    return pytest.param(alias, marks=[both, mark])


@pytest.fixture(
    params=[
        elsewhere("postgres", pytest.mark.postgresql),
        elsewhere("mariadb", pytest.mark.mariadb),
    ]
)
def alias(request: pytest.FixtureRequest, settings: Any, transactional_db: None) -> str:
    settings.FLUXIO = {"DISPATCHER": "eager", "DATABASE": request.param}
    name: str = request.param
    return name


@pytest.fixture
def shop(alias: str) -> Iterator[Shop]:
    with open_shop() as opened:
        yield opened


@pytest.fixture
def person(alias: str) -> User:
    return User.objects.create_superuser("ada", password="x")


@pytest.fixture
def client(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def confirm(client: Client, where: str, **fields: str) -> Any:
    token = client.get(where).context["confirmation"]
    return client.post(where, {"reason": "x", "confirmation": token, **fields})


def test_everything_works_where_runs_live_in_another_database(
    alias: str, shop: Shop, client: Client, person: User
) -> None:
    run, fine = shop.fail("bad/1"), shop.buy("fine")
    runs = Run.objects.using(alias)
    runs.filter(pk=fine.pk).update(requested_by=person.pk)
    listed = client.get("/admin/fluxio_django/run/", {"q": "bad/", "status": "failed"})
    assert [each.run_id for each in listed.context["cl"].result_list] == ["bad/1"]
    assert client.get("/admin/fluxio_django/run/", {"status": "interrupted"}).status_code == 200
    confirm(client, address("fork", run), as_run_id="bad/2", patch="{}", from_step="charge")
    confirm(client, address("resume", run))
    confirm(client, address("replay", fine))
    assert {each.run_id: (each.status, each.attempt) for each in runs.all()} == {
        "bad/1": ("succeeded", 1),
        "bad/2": ("succeeded", 1),
        "fine": ("succeeded", 2),
    }
    answer = confirm(client, address("diff"), a="bad/1", b="fine")
    assert "Both are the same" in answer.content.decode()
    assert LogEntry.objects.count() == 5
    page = client.get(page_of(fine)).context["page"]
    assert ("Requested by", "ada") in [(fact.label, fact.text) for fact in page.facts]
    assert len(page.trail) == 2
    row = Checkpoint.objects.using(alias).filter(run=run.pk).first()
    assert row is not None
    assert client.get(f"/admin/fluxio_django/checkpoint/{row.pk}/change/").status_code == 200
    assert client.get("/admin/fluxio_django/pipelineversion/").status_code == 200


class AllTogether:
    """Keeps people, their sessions and the audit trail where the runs are."""

    def db_for_read(self, model: object, **hints: object) -> str:
        alias: str = django_settings.FLUXIO["DATABASE"]
        return alias

    db_for_write = db_for_read


def test_a_form_sent_twice_at_the_same_moment_is_carried_out_once(
    alias: str, shop: Shop, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = ["tests.app.admin.test_databases.AllTogether"]
    person = User.objects.create_superuser("ada", password="x")
    client = Client()
    client.force_login(person)
    for number in range(5):
        run = shop.buy(f"fine-{number}")
        token = client.get(address("replay", run)).context["confirmation"]
        together = Barrier(2)

        def send(_: int, run: Run = run, token: str = token, start: Barrier = together) -> int:
            browser = Client()
            browser.force_login(person)
            start.wait(10)
            try:
                data = {"reason": "x", "confirmation": token}
                return browser.post(address("replay", run), data).status_code
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as threads:
            assert list(threads.map(send, range(2))) == [302, 302]
        assert LogEntry.objects.filter(object_id=str(run.pk)).count() == 1
        assert Run.objects.using(alias).get(pk=run.pk).attempt == 2
