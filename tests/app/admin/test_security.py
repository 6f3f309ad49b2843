"""Rules of security that concern every page: how it is sent, and what it may be asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib.auth.models import User
from django.test import Client

from fluxio_django.models import Checkpoint, PipelineVersion, Run
from tests.app.admin.shop import CHECKOUT, Shop, open_shop
from tests.app.admin.test_rights import pages
from tests.app.views.test_access import CORPUS

LIST = "/admin/fluxio_django/run/"


@pytest.mark.security(9)
def test_no_page_is_kept_guessed_at_or_framed(shop: Shop, root: Client) -> None:
    run = shop.fail("bad")
    shown = 0
    for page in pages(run):
        answer = root.get(page)
        if answer.status_code == 302:
            continue
        assert answer.status_code in (200, 204), page
        assert "no-store" in answer["Cache-Control"], page
        assert answer["X-Content-Type-Options"] == "nosniff", page
        assert answer["X-Frame-Options"] == "DENY", page
        assert "Content-Disposition" not in answer, page
        assert answer["Content-Type"].startswith(("text/html", "application/json")), page
        shown += 1
    assert shown >= 15


# --- whatever is asked


def elsewhere(alias: str, *marks: pytest.MarkDecorator) -> Any:
    both = pytest.mark.django_db(transaction=True, databases={"default", alias})
    return pytest.param(alias, marks=[both, *marks])


@pytest.fixture(
    params=[
        elsewhere("default"),
        elsewhere("postgres", pytest.mark.postgresql),
        elsewhere("mariadb", pytest.mark.mariadb),
    ]
)
def alias(request: pytest.FixtureRequest, settings: Any, transactional_db: None) -> str:
    settings.FLUXIO = {"DISPATCHER": "eager", "DATABASE": request.param}
    name: str = request.param
    return name


@pytest.fixture
def failed(alias: str) -> Iterator[Run]:
    """A failed run in this database, and another one whose id a wildcard would find."""
    with open_shop() as shop:
        shop.fail("order-10")
        yield shop.fail("order_1")


@pytest.fixture
def client(alias: str) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="x"))
    return client


HOSTILE = [
    *CORPUS, "order%", "order_", "ORDER", "9" * 400, "\x00", "order-10\x7f", "\u0661",
]  # fmt: skip

PARAMETERS = {
    LIST: [
        *("q", "status", "pipeline", "version", "error_type", "o", "p", "all", "e", "at"),
        *("created_at__gte", "created_at__lt", "created_at__isnull", "error__contains", "run_id"),
    ],
    f"{LIST}{{key}}/change/": ["row", "_changelist_filters"],
    f"{LIST}state/?run={{key}}": ["at", "beside", "key", "differing", "first"],
    f"{LIST}diff/?run={{key}}": ["a", "b", "at_a", "at_b"],
    f"{LIST}fork/?run={{key}}": ["from_step", "run"],
    f"{LIST}pulse/": ["run"],
    f"{LIST}redrive/?status=failed": ["pipeline"],
    f"{LIST}redrive/?pipeline={CHECKOUT}": ["status"],
    "/admin/fluxio_django/queue/pause/": ["queue"],
    "/admin/fluxio_django/pipelineversion/": ["pipeline", "o", "q", "p"],
    "/admin/fluxio_django/checkpoint/": ["q", "o", "run__id", "payload__contains"],
}


@pytest.mark.security(17)
@pytest.mark.parametrize(
    "of_each",
    [2, pytest.param(len(HOSTILE), marks=[pytest.mark.soak, pytest.mark.timeout(1800)])],
    ids=["some", "all"],
)
def test_nothing_that_is_asked_reaches_the_database_as_sql(
    alias: str, failed: Run, client: Client, of_each: int
) -> None:
    tables = (Run, Checkpoint, PipelineVersion)
    before = [list(model._default_manager.using(alias).values()) for model in tables]
    texts = cycle(HOSTILE)
    for page, names in PARAMETERS.items():
        where, _, given = page.format(key=failed.pk).partition("?")
        for name in names:
            for text in islice(texts, of_each):
                answer = client.get(where, {**dict(parse_qsl(given)), name: text})
                assert answer.status_code in (200, 204, 302, 400, 403, 404), (where, name, text)
    assert [list(model._default_manager.using(alias).values()) for model in tables] == before


@pytest.mark.security(17)
def test_a_search_takes_every_character_for_itself(alias: str, failed: Run, client: Client) -> None:
    found = {
        text: [run.run_id for run in client.get(LIST, {"q": text}).context["cl"].result_list]
        for text in ("order_", "order-", "order%", "ORDER", "order", "rder")
    }
    assert found == {
        "order_": ["order_1"],
        "order-": ["order-10"],
        "order%": [],
        "ORDER": [],
        "order": ["order_1", "order-10"],
        "rder": [],
    }
