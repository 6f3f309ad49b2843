"""Pages that start runs in a real browser, under a strict policy, with and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from example_project.imports.files import COLUMNS
from example_project.imports.models import Airport
from example_project.orders.models import Order, Product
from fluxio_django.dispatch.inline import inline
from fluxio_django.models import Run
from fluxio_django.progress import board
from fluxio_django.registry import pipelines
from tests.browser.pages import GATES, NAME, slow
from tests.browser.tab import Tab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.browser.pages"),
]

OpenTab = Callable[..., Tab]

ROWS = [
    ("EDDF", "FRA", "Frankfurt", "Frankfurt", "Hesse", "DE", "364", "50.0", "8.5", "Europe/Berlin"),
    ("LOWW", "VIE", "Vienna", "Vienna", "Vienna", "AT", "600", "48.1", "16.5", "Europe/Vienna"),
    ("XX", "", "", "", "", "DE", "0", "0", "0", "Europe/Berlin"),
]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _in_threads(tab: OpenTab, settings: Any, tmp_path: Path) -> Iterator[None]:
    """Runs are executed beside the requests, as they are in life."""
    settings.FLUXIO = {"DISPATCHER": "inline"}
    settings.DATA_DIR = tmp_path
    pipelines.add(NAME, slow)
    for gate in GATES.values():
        gate.clear()
    yield
    for gate in GATES.values():
        gate.set()
    inline.drain()
    board.flush()
    pipelines.remove(NAME)


def wait_for(open_tab: Tab, text: str) -> str:
    """The page's text once this stands in it."""
    open_tab.do(lambda page: page.get_by_text(text).first.wait_for())
    return open_tab.text("main")


def start(open_tab: Tab, name: str = "Ada") -> None:
    open_tab.visit("/slow/")
    open_tab.fill("Name:", name)
    open_tab.click("Start", role="button")


def test_a_file_is_uploaded_and_its_import_watched(tab: OpenTab, tmp_path: Path) -> None:
    file = tmp_path / "airports.csv"
    file.write_text("\n".join(",".join(row) for row in [COLUMNS, *ROWS]) + "\n")
    open_tab = tab()
    open_tab.visit("/imports/")
    open_tab.do(lambda page: page.set_input_files("[name=file]", str(file)))
    open_tab.click("Start", role="button")
    shown = wait_for(open_tab, "Succeeded")
    assert "'created': 2" in shown
    assert "'rejected': 1" in shown
    assert "read_file" in shown
    assert set(Airport.objects.values_list("code", flat=True)) == {"EDDF", "LOWW"}


def test_progress_is_shown_while_the_run_goes_on_and_the_result_at_its_end(tab: OpenTab) -> None:
    open_tab = tab()
    start(open_tab, HOSTILE)
    assert "3 / 12" in wait_for(open_tab, "pages")
    GATES["first"].set()
    assert "second" in wait_for(open_tab, "second …")
    GATES["second"].set()
    assert f"42 for {HOSTILE}" in wait_for(open_tab, "Succeeded")


def test_who_leaves_the_page_and_comes_back_sees_the_result(tab: OpenTab) -> None:
    open_tab = tab()
    start(open_tab)
    wait_for(open_tab, "pages")
    address = open_tab.do(lambda page: page.url).removeprefix(open_tab.address)
    open_tab.visit("/")
    GATES["first"].set()
    GATES["second"].set()
    inline.drain()
    open_tab.visit(address)
    assert "42 for Ada" in open_tab.text("main")


def test_everything_works_without_javascript(tab: OpenTab) -> None:
    open_tab = tab(java_script_enabled=False)
    start(open_tab)
    wait_for(open_tab, "first …")
    GATES["first"].set()
    GATES["second"].set()
    assert "42 for Ada" in wait_for(open_tab, "Succeeded")


def test_a_checkout_is_watched_to_its_end(tab: OpenTab) -> None:
    Product.objects.create(name="Atlas", price=Decimal("100.00"), stock=10)
    open_tab = tab()
    open_tab.visit("/orders/live/")
    open_tab.do(lambda page: page.get_by_label("Product:").select_option(label="Atlas"))
    open_tab.fill("Email:", "ada@example.com")
    open_tab.click("Start", role="button")
    shown = wait_for(open_tab, "Succeeded")
    assert "123.90" in shown
    assert "charge" in shown
    assert Run.objects.get().run_id == Order.objects.get().run_id
