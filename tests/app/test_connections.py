"""The package calls nobody: what it connects to is what the project configured."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from fluxio_django.registry import pipelines
from tests.app.admin.desk import address, page_of
from tests.app.admin.shop import CHECKOUT, Shop, open_shop

pytestmark = pytest.mark.django_db(transaction=True)

COMMANDS = [
    ("fluxio_check",),
    ("fluxio_list",),
    ("fluxio_runs",),
    ("fluxio_queues",),
    ("fluxio_recover",),
    ("fluxio_prune", "--dry-run"),
    ("fluxio_explain", CHECKOUT),
    ("fluxio_show", "bad"),
    ("fluxio_resume", "bad"),
    ("check",),
]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whom anything tried to connect to, or asked a name server about; it is kept from both."""
    asked: list[Any] = []

    def refuse(*given: Any, **_: Any) -> Any:
        asked.append(given)
        raise OSError("no connection is opened here")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    return asked


@pytest.fixture
def shop(settings: Any) -> Iterator[Shop]:
    settings.FLUXIO = {"DISPATCHER": "eager"}
    with open_shop() as opened:
        yield opened


@pytest.mark.security(22)
def test_no_connection_is_opened_that_was_not_configured(shop: Shop, called: list[Any]) -> None:
    shop.buy("fine")
    run = shop.fail("bad")
    pipelines[CHECKOUT].enqueue_sync({"quantity": 1}, run_id="queued")
    for command in COMMANDS:
        call_command(*command, stdout=StringIO(), stderr=StringIO())
    root = Client()
    root.force_login(User.objects.create_superuser("ada", password="x"))
    names = ("resume", "replay", "fork", "cancel", "diff", "state")
    for page in (
        *("/admin/fluxio_django/run/", page_of(run), *(address(name, run) for name in names)),
        *("/admin/fluxio_django/queue/", "/fluxio/openapi.json", "/fluxio/runs/"),
    ):
        assert root.get(page).status_code in (200, 404), page
    assert called == []


def test_the_guard_would_see_a_connection(called: list[Any]) -> None:
    from urllib.request import urlopen

    with pytest.raises(OSError, match="no connection"):
        urlopen("http://127.0.0.1:9/")
    assert called
