"""Every page with hostile values under a strict policy, wide and narrow, and what axe-core says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest

from tests.app.admin.shop import Shop
from tests.browser.conftest import on_both_databases
from tests.browser.places import HOSTILE, LIST, LIVE, every_page, hostile_run
from tests.browser.tab import Tab
from tests.needs import AXE

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]

UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
NARROW = {"width": 375, "height": 800}
BRIGHTNESS = (
    "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
)
"""How bright the page's ground is, from 0 to 255."""


@pytest.mark.security(8)
@on_both_databases
def test_nothing_that_a_run_holds_comes_to_life_on_any_page_narrow_and_dark(
    tab: OpenTab, shop: Shop
) -> None:
    pages = every_page(hostile_run(shop))
    open_tab = tab(viewport=NARROW, color_scheme="dark")
    for name, path in pages.items():
        open_tab.visit(path)
        open_tab.do(lambda page: page.evaluate(UNFOLD))
        assert open_tab.do(lambda page: page.evaluate(LIVE)) == 0, name
        assert open_tab.text(), name
        assert open_tab.do(lambda page: page.evaluate(BRIGHTNESS)) < 50, name
        if name != "history":  # which is Django's own
            # As a whole it never scrolls sideways; tables do within their frames.
            assert open_tab.do(lambda page: page.evaluate("document.body.scrollWidth")) <= 375, name
    # The fixture fails the test if a dialog opened or the policy stopped anything.


@pytest.mark.security(8)
@on_both_databases
def test_nothing_that_is_typed_into_a_form_comes_to_life(tab: OpenTab, shop: Shop) -> None:
    run = hostile_run(shop)
    open_tab = tab()
    open_tab.visit(f"{LIST}fork/?run={run.pk}")
    open_tab.fill("Further keys:", f"not JSON {HOSTILE}")
    open_tab.fill("Reason:", HOSTILE[:200])
    open_tab.click("Preview", role="button")
    open_tab.fill("Further keys:", "{}")
    open_tab.click("Preview", role="button")
    assert HOSTILE[:60] in open_tab.text()
    open_tab.click("Fork", role="button")
    open_tab.visit(f"{LIST}diff/?run={run.pk}")
    open_tab.fill("Run b:", "harmless")
    open_tab.fill("Reason:", HOSTILE[:200])
    open_tab.click("Compare", role="button")
    assert "script" in open_tab.text(".fluxio-diff")
    open_tab.visit(f"{LIST}{run.pk}/change/")
    assert HOSTILE[:60] in open_tab.text()


@pytest.mark.security(8)
@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has a policy of its own since 6.0")
def test_pages_live_with_nonces_that_they_do_not_use(
    tab: OpenTab, shop: Shop, settings: Any
) -> None:
    from django.utils.csp import CSP

    own = [CSP.SELF, CSP.NONCE]
    settings.SECURE_CSP = {"default-src": [CSP.NONE], "script-src": own, "style-src": own} | {
        f"{kind}-src": [CSP.SELF] for kind in ("connect", "img")
    }
    policy = "; ".join(
        ["default-src 'none'", *(f"{kind}-src 'self'" for kind in ("script", "style"))]
        + [f"{kind}-src 'self'" for kind in ("connect", "img")]
    )
    pages = every_page(hostile_run(shop))
    open_tab = tab()
    for name in ("list", "run", "busy", "fork", "diff", "beside", "row 1", "queues", "pipeline"):
        open_tab.visit(pages[name], policy)
        assert open_tab.text(), name


# --- axe-core

ALIKE = {"history", "nothing", "row 1", "resume", "requeue", "prune", "version 2"}
"""Pages that are built like others, or by Django alone."""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_AXE = """async only => {
  const ours = {include: ["#content"], exclude: [["#toolbar"], ["#changelist-filter"]]};
  const found = await axe.run(ours, {runOnly: only, resultTypes: ["violations"]});
  return found.violations
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => [each.id, ...each.nodes.slice(0, 3).map(node => node.target.join(" "))].join(" "));
}"""


_SETTLED = "Promise.all(document.getAnimations().map(each => each.finished)).then(() => 0)"


def findings(open_tab: Tab, *only: str) -> list[str]:
    """What axe-core calls serious or critical in the page as it stands, but for Django's parts."""
    kind = "rule" if only else "tag"
    asked = {"type": kind, "values": list(only) or RULES}
    found: list[str] = open_tab.do(lambda page: page.evaluate(_AXE, asked))
    return found


@pytest.mark.axe
@pytest.mark.security(8)
@pytest.mark.timeout(900)
def test_axe_finds_nothing_serious_on_any_page_light_or_dark(
    tab: OpenTab, shop: Shop, capsys: Any
) -> None:
    axe = Path(AXE.location).read_text(encoding="utf-8")
    pages = every_page(hostile_run(shop))
    open_tab = tab(bypass_csp=True)  # axe-core sets styles of its own
    serious: list[str] = []
    for name in pages.keys() - ALIKE:
        path = pages[name]
        open_tab.do(lambda page: page.emulate_media(color_scheme="light"))
        open_tab.visit(path)
        open_tab.do(lambda page: page.evaluate(UNFOLD))
        open_tab.do(lambda page: page.evaluate(axe))
        serious += [f"{name}: {each}" for each in findings(open_tab)]
        open_tab.do(lambda page: page.emulate_media(color_scheme="dark"))
        # Colours fade into each other.
        open_tab.do(lambda page: page.evaluate(_SETTLED))
        serious += [f"{name}, dark: {each}" for each in findings(open_tab, "color-contrast")]
    with capsys.disabled():
        print(
            f" axe-core: {len(pages.keys() - ALIKE)} pages, {len(serious)} serious findings ",
            end="",
        )
    assert not serious, "\n".join(serious)


@pytest.mark.axe
def test_axe_would_find_something(tab: OpenTab, shop: Shop) -> None:
    open_tab = tab(bypass_csp=True)  # axe-core sets styles of its own
    open_tab.visit(LIST)
    axe = Path(AXE.location).read_text(encoding="utf-8")
    open_tab.do(lambda page: page.evaluate(axe))
    open_tab.do(
        lambda page: page.evaluate(
            "document.querySelector('#content').append(document.createElement('button'))"
        )
    )
    assert any("button-name" in each for each in findings(open_tab))
