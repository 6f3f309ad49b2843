"""`make serve` serves the shop and the admin through ASGI, and stops when it is told to."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 30


class Visitor:
    """A browser without a screen: keeps cookies, follows redirects, sends forms back."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))

    def look(self, path: str) -> str:
        """The page at a path."""
        return self._read(Request(self.address + path))

    def submit(self, page: str, path: str, **typed: object) -> str:
        """Send a form of this page to a path; gives the page that comes back."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        form = urlencode({"csrfmiddlewaretoken": unescape(token[1]), **typed}).encode()
        request = Request(self.address + path, data=form)
        request.add_header("Referer", self.address + path)
        return self._read(request)

    def _read(self, request: Request) -> str:
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            return str(answer.read().decode())


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """The project while it is served, and what the command said."""

    process: subprocess.Popen[str]
    said: str

    @property
    def visitor(self) -> Visitor:
        """Somebody new."""
        address = re.search(r"The shop: +(http://\S+)/", self.said)
        assert address is not None, self.said
        return Visitor(address[1])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The example project, served by a process of its own on any free port."""
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "serve_demo", "--port", "0"],
        cwd=ROOT,
        env={
            **inherited,
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "EXAMPLE_DATA_DIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("Ctrl-C"):
            break
    try:
        yield Served(process=process, said=said)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_demo_is_served_with_a_shop_and_an_admin_to_log_in_to(served: Served) -> None:
    visitor = served.visitor
    login = re.search(r"Log in as (\S+) with the password (\S+)", served.said)
    assert login is not None, served.said

    shop = visitor.look("/")
    assert "failed" in shop
    assert "succeeded" in shop
    assert ".products" in visitor.look("/static/orders/shop.css")

    order = {"product": 1, "quantity": 1, "email": "ada@example.com"}
    order |= {"country": "FR", "card": "good"}
    for path in ("/orders/", "/orders/async/"):
        page = visitor.submit(shop, path, **order)
        assert "succeeded" in page
        assert "notify" in page

    form = visitor.look("/admin/login/?next=/admin/fluxio_django/run/")
    runs = visitor.submit(
        form, "/admin/login/?next=/admin/fluxio_django/run/", username=login[1], password=login[2]
    )
    assert "order-4" in runs

    served.process.send_signal(signal.SIGINT)
    rest, _ = served.process.communicate(timeout=TIMEOUT)
    assert (served.process.returncode, rest) == (0, "")
