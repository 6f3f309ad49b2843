"""Serves the admin from a database of its own, and takes a picture of every page.

Usage: python -m tests.screenshots FOLDER [--only NAME ...] [--language de]
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

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
HIGHEST = 3_000
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
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

    def __init__(self, address: str, session: str, folder: Path, language: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._address, self._session = address, session
        self._folder, self._language = folder, language

    def __call__(self, shots: Iterable[Any]) -> None:
        """Take the pictures, each in every look."""
        self._thread.submit(self._take, list(shots)).result()

    def _take(self, shots: list[Any]) -> None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=settings.CHROMIUM, args=FLAGS)
            for look, options in LOOKS.items():
                context = browser.new_context(locale=self._language, **options)
                context.add_cookies(
                    [{"name": "sessionid", "value": self._session, "url": self._address}]
                )
                page = context.new_page()
                for shot in shots:
                    page.goto(self._address + shot.path)
                    if shot.act is not None:
                        shot.act(page)
                    height = page.evaluate("document.documentElement.scrollHeight")
                    page.screenshot(
                        path=self._folder / f"{shot.name}-{look}.png",
                        full_page=True,
                        clip={
                            "x": 0,
                            "y": 0,
                            "width": options["viewport"]["width"],
                            "height": min(height, HIGHEST),
                        },
                    )
                context.close()
            browser.close()


def main() -> None:
    """Make the pictures that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of pictures, without their look")
    parser.add_argument("--look", nargs="*", choices=[*LOOKS], help="the looks (all)")
    parser.add_argument("--language", default="en")
    asked = parser.parse_args()
    for look in [*LOOKS]:
        if asked.look and look not in asked.look:
            del LOOKS[look]
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
    session = client.cookies["sessionid"].value
    take = Photographer(address, session, asked.folder, asked.language)

    def chosen(shots: Iterable[pages.Shot]) -> Iterator[pages.Shot]:
        return (shot for shot in shots if not asked.only or shot.name in asked.only)

    take(chosen(pages.shots_of_nothing()))
    take(chosen(pages.shots_of(world.full(user))))


if __name__ == "__main__":
    main()
