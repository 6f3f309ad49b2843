"""What people do in the admin, from the first click to the message at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from playwright.sync_api import Page

from fluxio_django import services
from fluxio_django.models import Run
from tests.app.admin.shop import CHECKOUT, Shop
from tests.browser.conftest import on_both_databases
from tests.browser.places import LIST, QUEUES, VERSIONS, lengthen, page_of
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]


def status_of(run: Run) -> str:
    return services.find_run(run.run_id).status


def confirm(open_tab: Tab, button: str, reason: str = "a customer asked") -> str:
    """Give the reason, press the button, and return what the next page says about it."""
    open_tab.fill("Reason:", reason)
    open_tab.click(button, role="button")
    return open_tab.text(".messagelist")


@on_both_databases
def test_everything_is_done_from_the_list_without_javascript(
    tab: OpenTab, shop: Shop, alias: str
) -> None:
    runs = Run.objects.using(alias)
    queued = shop.buy("queued")
    runs.filter(pk=queued.pk).update(status="queued", finished_at=None, step="ship")
    dead, failed, done = shop.fail("dead"), shop.fail("failed"), shop.buy("done")
    runs.filter(pk=dead.pk).update(status="dead")
    open_tab = tab(java_script_enabled=False)

    def choose(run: Run, action: str) -> None:
        open_tab.visit(LIST)
        open_tab.do(lambda page: page.locator(f".action-select[value='{run.pk}']").check())
        open_tab.do(lambda page: page.get_by_label("Action:").select_option(action))
        open_tab.follow(lambda page: page.locator("button[name=index]").click())

    choose(queued, "cancel_selected")
    assert "queued" in confirm(open_tab, "Cancel")
    assert status_of(queued) == "cancelled"
    choose(dead, "requeue_selected")
    confirm(open_tab, "Requeue")
    assert status_of(dead) == "succeeded"
    choose(done, "replay_selected")
    confirm(open_tab, "Replay")
    assert runs.get(pk=done.pk).attempt == 2
    open_tab.visit(f"{LIST}?pipeline={CHECKOUT}&status=failed")
    open_tab.follow(lambda page: page.locator("a[href*='/redrive/']").first.click())
    assert "1 run of shop.checkout failed" in open_tab.text()
    assert "1 run was requeued" in confirm(open_tab, "Requeue 1 run")
    assert status_of(failed) == "succeeded"
    choose(queued, "prune_selected")
    confirm(open_tab, "Delete")
    assert not runs.filter(pk=queued.pk).exists()
    open_tab.visit(QUEUES)
    open_tab.click("Pause")
    assert "Paused queue default" in confirm(open_tab, "Pause", "the bank is closed")
    assert "the bank is closed" in open_tab.text()
    open_tab.click("Resume")
    assert "Resumed queue default" in confirm(open_tab, "Resume")
    assert LogEntry.objects.count() == 7


@on_both_databases
def test_of_two_tabs_that_replay_one_run_one_does(tab: OpenTab, shop: Shop, alias: str) -> None:
    run = shop.buy("order-17")
    first = tab()
    second = first.beside()
    for each in (first, second):
        each.visit(f"{LIST}replay/?run={run.pk}")
        each.fill("Reason:", "once")
    first.click("Replay", role="button")
    assert "Replaying order-17" in first.text(".messagelist")
    second.click("Replay", role="button")
    assert "Replaying" not in second.text(".messagelist")
    assert Run.objects.using(alias).get(pk=run.pk).attempt == 2
    assert LogEntry.objects.count() == 1


@on_both_databases
def test_what_is_large_is_shown_in_part_and_stays_usable(
    tab: OpenTab, shop: Shop, alias: str
) -> None:
    large = shop.buy("large", text="x" * 600_000, many={f"k{n}": "y" * 100 for n in range(4_000)})
    long = shop.buy("long")
    lengthen(long, 5_000)
    open_tab = tab()
    open_tab.visit(page_of(large))
    assert "It is too large for this page" in open_tab.text()
    assert open_tab.do(_size) < 1_000_000
    for path in (f"{LIST}state/?run={large.pk}", f"{LIST}fork/?run={large.pk}"):
        open_tab.visit(path)
        assert "many" in open_tab.text(), path
        assert open_tab.do(_size) < 1_000_000, path
    open_tab.visit(page_of(long))
    assert "step5000" in open_tab.text()
    assert open_tab.do(_size) < 1_000_000
    open_tab.follow(lambda page: page.locator("a[href*='row=']", has_text="lder").first.click())
    open_tab.do(lambda page: page.get_by_text("step4850", exact=True).wait_for())
    open_tab.visit(f"{LIST}state/?run={long.pk}&at=2500&beside=4999")
    assert "key0" in open_tab.text()


def _size(page: Page) -> int:
    return len(page.content())


@on_both_databases
def test_a_pipeline_is_looked_at_from_the_list_of_all(tab: OpenTab, shop: Shop) -> None:
    shop.buy("fine")
    shop.fail("bad")
    open_tab = tab()
    open_tab.visit(f"{VERSIONS}pipelines/")
    open_tab.click(CHECKOUT)
    shown = open_tab.text()
    for step in ("price", "charge", "ship"):
        assert step in shown
    assert "50" in shown
    assert open_tab.do(lambda page: page.locator("svg").count()) >= 1


@on_both_databases
def test_a_context_is_looked_at_as_it_was_beside_another_moment(tab: OpenTab, shop: Shop) -> None:
    run = shop.buy("order-17")
    open_tab = tab()
    open_tab.visit(f"{LIST}state/?run={run.pk}")
    assert "receipt" in open_tab.text()
    open_tab.fill("Moment:", "charge")
    open_tab.fill("Beside it:", "3")
    open_tab.follow(lambda page: page.press("[name=beside]", "Enter"))
    shown = open_tab.text()
    assert "parcel of 2" in shown
    assert "total" in shown
