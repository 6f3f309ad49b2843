"""What the browser's tests share: one Chromium, a server, a strict policy, a shop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client, override_settings

from tests.app.admin.shop import Shop, open_shop
from tests.browser.tab import TIMEOUT_SECONDS, Tab, open_tab

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]

OpenTab = Callable[..., Tab]

on_both_databases = pytest.mark.parametrize(
    "alias",
    [
        "default",
        pytest.param(
            "postgres",
            marks=[
                pytest.mark.postgresql,
                pytest.mark.django_db(transaction=True, databases=["default", "postgres"]),
            ],
        ),
    ],
    indirect=True,
)
"""People and their sessions live in SQLite either way; runs in SQLite or in PostgreSQL."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[ThreadPoolExecutor, Any]]:
    """A running browser, and the one thread it may be used from."""
    from playwright.sync_api import sync_playwright

    with ThreadPoolExecutor(1, "chromium") as thread:
        playwright = thread.submit(sync_playwright().start).result(TIMEOUT_SECONDS)
        start = playwright.chromium.launch
        browser = thread.submit(start, executable_path=django_settings.CHROMIUM, args=FLAGS).result(
            TIMEOUT_SECONDS
        )
        yield thread, browser
        thread.submit(browser.close).result(TIMEOUT_SECONDS)
        thread.submit(playwright.stop).result(TIMEOUT_SECONDS)


@pytest.fixture(scope="session")
def live_server(request: pytest.FixtureRequest) -> Any:
    """Serve under the strict policy; middleware is read once, while the server starts."""
    with override_settings(MIDDLEWARE=["tests.browser.csp.strict", *django_settings.MIDDLEWARE]):
        return request.getfixturevalue("live_server")


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    """The database that runs live in; see `on_both_databases`."""
    alias: str = getattr(request, "param", "default")
    return alias


@pytest.fixture
def shop(alias: str, settings: Any, transactional_db: None) -> Iterator[Shop]:
    settings.FLUXIO = {"DISPATCHER": "eager", "DATABASE": alias}
    with open_shop() as opened:
        yield opened


@pytest.fixture
def tab(
    chromium: tuple[ThreadPoolExecutor, Any], live_server: Any, shop: Shop
) -> Iterator[OpenTab]:
    """Open a tab for a superuser; at the end nothing may have gone wrong in it."""
    thread, browser = chromium
    opened: list[Tab] = []

    def open_one(**options: Any) -> Tab:
        person = Client()
        person.force_login(User.objects.create_superuser(f"ada{len(opened) or ''}", password="x"))
        session = person.cookies["sessionid"].value
        opened.append(open_tab(thread, browser, live_server.url, session, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.do(lambda page: page.context.close())
    assert [trouble for each in opened for trouble in each.troubles] == []
