"""The admin in a real browser, under a strict policy: what people do there works and stays safe."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry

from fluxio_django import services
from fluxio_django.models import Run
from tests.app.admin.shop import Shop
from tests.browser.conftest import on_both_databases
from tests.browser.places import LIST, page_of
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]


@on_both_databases
def test_a_failed_run_is_found_and_resumed_by_clicking(
    tab: OpenTab, shop: Shop, alias: str
) -> None:
    run = shop.fail("order-17")
    shop.buy("order-18")
    open_tab = tab()
    open_tab.visit(LIST)
    assert "failed" in open_tab.text("#result_list")
    open_tab.click("order-17")
    assert "Failed at step charge with CardDeclinedError" in open_tab.text()
    open_tab.click("Resume")
    assert "goes on from its last checkpoint, at step charge" in open_tab.text()
    open_tab.fill("Reason:", "the bank has recovered")
    open_tab.click("Resume", role="button")
    assert "Resuming order-17." in open_tab.text(".messagelist")
    assert "Succeeded" in open_tab.text()
    assert "the bank has recovered" in open_tab.text()
    assert shop.done == ["charge", "ship"]
    assert Run.objects.using(alias).get(pk=run.pk).status == "succeeded"
    assert LogEntry.objects.count() == 1


@on_both_databases
def test_a_run_is_forked_from_a_step_with_a_patch(tab: OpenTab, shop: Shop) -> None:
    run = shop.fail("order-17")
    open_tab = tab()
    open_tab.visit(page_of(run))
    row = open_tab.do(
        lambda page: page.get_by_role("row").filter(has_text="CardDeclinedError").first
    )
    open_tab.follow(lambda page: row.get_by_role("link", name="Fork").click())
    assert open_tab.do(lambda page: page.input_value("[name=from_step]")) == "charge"
    open_tab.fill("Run id of the fork:", "order-17b")
    open_tab.fill("total", '{"$decimal": "1.00"')
    open_tab.fill("Reason:", "a goodwill price")
    open_tab.click("Preview", role="button")
    assert "this is no JSON" in open_tab.text(".fluxio-editor")
    open_tab.fill("total", '{"$decimal": "1.00"}')
    open_tab.fill("Further keys:", '{"note": "goodwill"}')
    open_tab.follow(lambda page: page.press("[name=as_run_id]", "Enter"))
    assert "25.00" in open_tab.text(".fluxio-diff")
    open_tab.click("Change something", role="button")
    assert open_tab.do(lambda page: page.input_value("[name=patch]")) == '{"note": "goodwill"}'
    open_tab.click("Preview", role="button")
    open_tab.click("Fork", role="button")
    assert "Forking order-17b." in open_tab.text(".messagelist")
    assert services.state("order-17b")["receipt"]["amount"] == Decimal("1.00")
    open_tab.follow(lambda page: page.locator(".messagelist a").click())
    assert "order-17b" in open_tab.text("#result_list")
    open_tab.click("order-17b")
    assert "Forked from" in open_tab.text()
    open_tab.follow(
        lambda page: page.locator(".fluxio-facts a", has_text="order-17, at row").click()
    )
    assert "Failed at step charge" in open_tab.text()


@on_both_databases
def test_two_runs_are_chosen_in_the_list_and_compared(tab: OpenTab, shop: Shop) -> None:
    shop.buy("cheap", quantity=1)
    shop.buy("dear", quantity=9)
    open_tab = tab()
    open_tab.visit(LIST)
    for box in (0, 1):
        open_tab.do(lambda page, box=box: page.locator(".action-select").nth(box).check())
    open_tab.do(lambda page: page.get_by_label("Action:").select_option("diff_selected"))
    open_tab.follow(lambda page: page.locator("button[name=index]").click())
    open_tab.fill("Reason:", "why is it dear")
    open_tab.click("Compare", role="button")
    table = open_tab.text(".fluxio-diff")
    assert '["receipt"]["amount"]' in table
    assert "12.50" in table
    assert "112.50" in table
    assert LogEntry.objects.count() == 2


def test_values_unfold_without_any_script(tab: OpenTab, shop: Shop) -> None:
    run = shop.buy("order-17", customer={"name": "Ada", "address": {"city": "London"}})
    open_tab = tab(java_script_enabled=False)
    open_tab.visit(page_of(run))
    assert "London" not in open_tab.text()
    open_tab.do(lambda page: page.get_by_text("The newest recorded state").click())
    for summary in ("dict 2 items", "dict 1 item"):
        open_tab.do(
            lambda page, summary=summary: (
                page.get_by_text(summary, exact=True).locator("visible=true").first.click()
            )
        )
    assert "London" in open_tab.text()


@on_both_databases
def test_a_run_whose_code_has_changed_says_what_is_safe_and_goes_on_there(
    tab: OpenTab, shop: Shop
) -> None:
    run, other = shop.fail("order-17"), shop.fail("order-18")
    shop.change_last_stage()
    open_tab = tab()
    open_tab.visit(page_of(run))
    drift = open_tab.text(".fluxio-notice.warning")
    assert f"recorded by version {run.version}; the code at hand is" in drift
    assert "ship" in open_tab.text(".fluxio-changes")
    assert "Nothing before step charge has changed" in drift
    open_tab.click("Resume")
    assert "ship" in open_tab.text(".fluxio-changes")
    open_tab.fill("Reason:", "only shipping has changed")
    open_tab.press("Resume")
    # The browser itself keeps the form back while the box is empty.
    assert services.find_run("order-17").status == "failed"
    open_tab.do(lambda page: page.get_by_label("Go on although the code has changed").check())
    open_tab.click("Resume", role="button")
    assert "Resuming order-17." in open_tab.text(".messagelist")
    assert "though the code has changed" in open_tab.text()
    assert services.state("order-17")["parcel"] == "another parcel"
    shop.change_code()
    open_tab.visit(page_of(other))
    assert "Nothing before step price has changed" in open_tab.text(".fluxio-notice.warning")
    assert "replay or fork it from there to run them again" in open_tab.text()
