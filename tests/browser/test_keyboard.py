"""The admin by keyboard alone: everything is reached in order, is seen to be, and works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from fluxio_django import services
from tests.app.admin.shop import CHECKOUT, Shop
from tests.browser.conftest import on_both_databases
from tests.browser.places import LIST, QUEUES, VERSIONS, page_of
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]

_LISTEN = """() => {
  const looks = each => [each, ...each.querySelectorAll("rect")].map(part => {
    const style = getComputedStyle(part);
    return [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor,
      style.backgroundColor, style.strokeWidth].join();
  }).join();
  const named = each => `${each.localName} ${each.id || each.name || each.textContent.trim()}`;
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter(each => each.checkVisibility({visibilityProperty: true}) && !each.disabled)
    // The button that Enter presses in a field comes first, for nobody to stop at.
    .filter(each => !each.closest(".fluxio-unseen"))
    // Of the choices of one question, one is reached; arrows change it.
    .filter(each => each.type !== "radio" || each.checked);
  const unfocused = new Map(all.map(each => [each, looks(each)]));
  window.walk = {expected: all.map(named), reached: [], unseen: [], left: 0};
  document.addEventListener("focusin", event => {
    if (!unfocused.has(event.target)) return;
    window.walk.reached.push(named(event.target));
    if (looks(event.target) === unfocused.get(event.target)) {
      window.walk.unseen.push(named(event.target));
    }
  });
}"""


def walk(page: Page) -> dict[str, Any]:
    """Press Tab until every stop should have been come to, and say which ones were."""
    page.evaluate(_LISTEN)
    # Frames that scroll are stops as well, beside what can be acted on.
    frames = page.locator(".fluxio-scroll, .fluxio-text, .fluxio-picture").count()
    for _stop in range(page.evaluate("window.walk.expected.length") + frames):
        page.keyboard.press("Tab")
    walked: dict[str, Any] = page.evaluate("window.walk")
    return walked


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until this has the focus."""
    for _stop in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached")


def test_every_action_is_reached_in_order_and_seen_to_be(tab: OpenTab, shop: Shop) -> None:
    run = shop.fail("order-17", basket=[{"title": "Atlas"}])
    open_tab = tab()
    for path in (
        f"{LIST}?pipeline={CHECKOUT}&status=failed",
        page_of(run),
        f"{LIST}fork/?run={run.pk}",
        f"{LIST}prune/?run={run.pk}",
        f"{LIST}diff/?run={run.pk}",
        f"{LIST}state/?run={run.pk}",
        f"{VERSIONS}pipeline/?pipeline={CHECKOUT}",
        QUEUES,
    ):
        open_tab.visit(path)
        walked = open_tab.do(walk)
        # The walk may begin anew at the top, which shows that it is held nowhere.
        stops = walked["reached"][: len(walked["expected"])]
        assert stops == walked["expected"], path
        assert walked["unseen"] == [], path


@on_both_databases
def test_a_run_is_understood_and_resumed_by_keyboard_alone(tab: OpenTab, shop: Shop) -> None:
    run = shop.fail("order-17")
    open_tab = tab()
    open_tab.visit(LIST)
    open_tab.do(lambda page: tab_to(page, f"#result_list a[href*='{page_of(run)}']"))
    open_tab.follow(lambda page: page.keyboard.press("Enter"))
    open_tab.do(lambda page: tab_to(page, ".fluxio-fold > summary"))
    assert "Decimal" not in open_tab.text("details.fluxio-fold")
    open_tab.do(lambda page: page.keyboard.press("Enter"))
    assert "25.00" in open_tab.text("details.fluxio-fold")
    open_tab.visit(page_of(run))
    open_tab.do(lambda page: tab_to(page, ".fluxio-tools a[href*='/resume/']"))
    open_tab.follow(lambda page: page.keyboard.press("Enter"))
    open_tab.do(lambda page: tab_to(page, "[name=reason]"))
    open_tab.do(lambda page: page.keyboard.type("the bank has recovered"))
    open_tab.do(lambda page: tab_to(page, "[type=submit]"))
    open_tab.follow(lambda page: page.keyboard.press("Enter"))
    assert "the bank has recovered" in open_tab.text()
    assert services.find_run("order-17").status == "succeeded"
