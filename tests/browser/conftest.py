"""What the browser's tests share: one Chromium, a server, a strict policy, a shop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread

from tests.app.admin.shop import Shop, open_shop
from tests.browser import csp
from tests.browser.tab import TIMEOUT_SECONDS, Tab, open_tab

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--no-zygote",  # a process for each page costs half as much without it
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]

OpenTab = Callable[..., Tab]


class KeptFiles(StaticFilesHandler):
    """Lets a browser keep scripts and styles: each tab asks for them once, not with every page."""

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        response = super().get_response(request)
        response["Cache-Control"] = "max-age=3600"
        return response


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
def site() -> Iterator[str]:
    """The address of a server that all tests share, whose every page is under the strict policy."""
    # Middleware is read once, while the server starts.
    with override_settings(MIDDLEWARE=[*csp.MIDDLEWARE, *django_settings.MIDDLEWARE]):
        server = LiveServerThread("127.0.0.1", KeptFiles)
        server.daemon = True
        server.start()
        assert server.is_ready.wait(TIMEOUT_SECONDS)
    assert server.error is None
    with override_settings(SECURE_CSP=csp.SECURE_CSP):
        yield f"http://127.0.0.1:{server.port}"
    server.terminate()


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
def tab(chromium: tuple[ThreadPoolExecutor, Any], site: str, shop: Shop) -> Iterator[OpenTab]:
    """Open a tab for a superuser; at the end nothing may have gone wrong in it."""
    thread, browser = chromium
    opened: list[Tab] = []

    def open_one(**options: Any) -> Tab:
        person = Client()
        person.force_login(User.objects.create_superuser(f"ada{len(opened) or ''}", password="x"))
        session = person.cookies["sessionid"].value
        opened.append(open_tab(thread, browser, site, session, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.do(lambda page: page.context.close())
    assert [trouble for each in opened for trouble in each.troubles] == []
