"""A page that is open while its run goes on: it follows, unless it is told not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from fluxio_django.models import Run
from tests.app.admin.shop import Shop
from tests.browser.conftest import on_both_databases
from tests.browser.places import page_of
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxio_django.admin.pulse.SECONDS", 0.05)


@pytest.fixture
def busy(shop: Shop, alias: str) -> Run:
    run = shop.buy("order-17")
    lease = timezone.now() + timedelta(hours=1)
    Run.objects.using(alias).update(
        status="running",
        owner="elsewhere:1::",
        lease_expires_at=lease,
        step="ship",
        finished_at=None,
    )
    return run


def finish(run: Run) -> None:
    run.status, run.step, run.owner, run.finished_at = "succeeded", "", "", timezone.now()
    run.save(update_fields=["status", "step", "owner", "finished_at"])


@on_both_databases
def test_a_run_that_finishes_while_its_page_is_open_is_shown_as_finished(
    tab: OpenTab, busy: Run
) -> None:
    open_tab = tab()
    open_tab.visit(page_of(busy))
    assert "now at step ship" in open_tab.text(".fluxio-headline")
    open_tab.do(lambda page: page.locator("tr", has_text="charge").locator("summary").first.click())
    open_tab.do(lambda page: page.locator(".fluxio-tools a", has_text="Compare").focus())
    finish(busy)
    open_tab.do(lambda page: page.wait_for_selector(".fluxio-badge.good"))
    assert "Succeeded in" in open_tab.text(".fluxio-headline")
    assert "Succeeded in" in open_tab.do(lambda page: page.inner_text("[role=status]"))
    unfolded = open_tab.do(lambda page: page.locator("tr:has-text('charge') details[open]").count())
    assert unfolded == 1
    focused = open_tab.do(lambda page: page.evaluate("document.activeElement.textContent"))
    assert focused == "Compare"
    assert open_tab.do(lambda page: page.locator("[data-pulse]").count()) == 0


def test_updates_can_be_paused_and_go_on(tab: OpenTab, busy: Run) -> None:
    open_tab = tab()
    open_tab.do(lambda page: page.clock.install())
    open_tab.visit(page_of(busy))
    open_tab.press("Pause updates")
    asked = open_tab.do(lambda page: _count_requests(page))
    finish(busy)
    open_tab.do(lambda page: page.clock.run_for(60_000))
    assert asked == []
    assert "now at step ship" in open_tab.text(".fluxio-headline")
    open_tab.press("Go on updating")
    open_tab.do(lambda page: page.clock.resume())
    open_tab.do(lambda page: page.wait_for_selector(".fluxio-badge.good"))


def _count_requests(page: object) -> list[str]:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))  # type: ignore[attr-defined]
    return asked


def test_without_a_script_the_page_says_how_to_follow(tab: OpenTab, busy: Run) -> None:
    open_tab = tab(java_script_enabled=False)
    open_tab.visit(page_of(busy))
    assert "Reload the page" in open_tab.text()
    assert "Pause updates" not in open_tab.text()
    finish(busy)
    open_tab.do(lambda page: page.reload())
    assert "Succeeded in" in open_tab.text(".fluxio-headline")


def test_a_server_that_is_gone_for_a_moment_is_asked_again(tab: OpenTab, busy: Run) -> None:
    open_tab = tab()
    down = {"left": 3}

    def flaky(route: object) -> None:
        down["left"] -= 1
        if down["left"] >= 0:
            route.fulfill(status=204)  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    open_tab.do(lambda page: page.route("**/pulse/**", flaky))
    open_tab.visit(page_of(busy))
    finish(busy)
    open_tab.do(lambda page: page.wait_for_selector(".fluxio-badge.good"))
    assert down["left"] < 0
