"""Serves the admin from a database of its own, and takes a picture of every page.

Usage: python -m tests.screenshots FOLDER [--only NAME ...] [--look LOOK ...] [--language de]
       python -m tests.screenshots docs/_static/admin --documented
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from django.test.utils import setup_databases, setup_test_environment, teardown_databases

FLAGS = ["--headless", "--no-sandbox", "--no-zygote", "--disable-gpu", "--no-first-run"]
PATIENCE = 180_000
HIGHEST, HIGHEST_DOCUMENTED = 3_000, 1_000
DOCUMENTED = "documented"
NO_SIDEBAR = "localStorage.setItem('django.admin.navSidebarIsOpen', 'false')"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    DOCUMENTED: {"viewport": {"width": 1200, "height": 800}, "color_scheme": "light"},
}


@contextmanager
def database() -> Iterator[None]:
    """An empty SQLite database, gone afterwards."""
    made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    try:
        yield
    finally:
        teardown_databases(made, verbosity=0)


@contextmanager
def server() -> Iterator[str]:
    """The address at which the test project is served."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()


class Photographer:
    """A browser in a thread of its own, which saves what it sees."""

    def __init__(self, address: str, session: str, asked: argparse.Namespace) -> None:
        self._address, self._session, self._asked = address, session, asked
        # The sync API runs an event loop in its thread, in which Django refuses to query.
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, shots: Iterable[Any]) -> None:
        """Take the pictures that were asked for, each in every look."""
        only = self._asked.only
        chosen = [shot for shot in shots if only is None or shot.name in only]
        if chosen:
            self._thread.submit(self._take, chosen).result()

    def _take(self, shots: list[Any]) -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=settings.CHROMIUM, args=FLAGS)
            for look in self._asked.look:
                context = browser.new_context(locale=self._asked.language, **LOOKS[look])
                cookie = {"name": "sessionid", "value": self._session, "url": self._address}
                context.add_cookies([cookie])
                context.add_init_script(NO_SIDEBAR)
                context.set_default_timeout(PATIENCE)
                page = context.new_page()
                for shot in shots:
                    self._shoot(page, shot, look)
                context.close()
            browser.close()

    def _shoot(self, page: Any, shot: Any, look: str) -> None:
        page.goto(self._address + shot.path)
        if shot.act is not None:
            shot.act(page)
        name = shot.name if look == DOCUMENTED else f"{shot.name}-{look}"
        height = page.evaluate("document.documentElement.scrollHeight")
        highest = HIGHEST_DOCUMENTED if look == DOCUMENTED else HIGHEST
        clip = {"x": 0, "y": 0, "width": page.viewport_size["width"]}
        page.screenshot(
            path=self._asked.folder / f"{name}.png",
            full_page=True,
            clip={**clip, "height": min(height, highest)},
        )


def main() -> None:
    """Make the pictures that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of pictures, without their look")
    parser.add_argument("--look", nargs="*", choices=[*LOOKS], default=[*LOOKS][:-1])
    parser.add_argument("--documented", action="store_true", help="those in the documentation")
    parser.add_argument("--language", default="en")
    asked = parser.parse_args()
    if asked.documented:
        asked.look = [DOCUMENTED]
    asked.folder.mkdir(parents=True, exist_ok=True)
    django.setup()
    setup_test_environment()
    middleware = [*settings.MIDDLEWARE]
    middleware.insert(2, "django.middleware.locale.LocaleMiddleware")
    with override_settings(MIDDLEWARE=middleware), database(), server() as address:
        _photograph(address, asked)


def _photograph(address: str, asked: argparse.Namespace) -> None:
    # Models can be imported once Django is set up.
    from tests.screenshots import pages, world

    user = world.empty()
    client = Client()
    client.force_login(user)
    take = Photographer(address, client.cookies["sessionid"].value, asked)
    if asked.documented:
        take(pages.documented(world.full(user, with_harm=False)))
        return
    take(pages.shots_of_nothing())
    take(pages.shots_of(world.full(user)))


if __name__ == "__main__":
    main()
