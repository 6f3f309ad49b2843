"""The admin in a real browser, under a strict policy: what people do there works and stays safe."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry

from fluxio_django import services
from fluxio_django.models import PipelineVersion, Run
from tests.app.admin.shop import Shop
from tests.browser.tab import Tab

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OpenTab = Callable[..., Tab]

LIST = "/admin/fluxio_django/run/"

HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
    "<a href=javascript:alert(4)>x</a><style>*{display:none}</style>\u202e{{ 7*7 }}"
)


def page_of(run: Run) -> str:
    return f"{LIST}{run.pk}/change/"


def test_a_failed_run_is_found_and_resumed_by_clicking(tab: OpenTab, shop: Shop) -> None:
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
    assert Run.objects.get(pk=run.pk).status == "succeeded"
    assert LogEntry.objects.count() == 1


def test_a_run_is_forked_from_a_step_with_a_patch(tab: OpenTab, shop: Shop) -> None:
    run = shop.fail("order-17")
    open_tab = tab()
    open_tab.visit(page_of(run))
    row = open_tab.do(
        lambda page: page.get_by_role("row").filter(has_text="CardDeclinedError").first
    )
    open_tab.do(lambda page: row.get_by_role("link", name="Fork").click())
    assert open_tab.do(lambda page: page.input_value("[name=from_step]")) == "charge"
    open_tab.fill("Run id of the fork:", "order-17b")
    open_tab.fill("total", '{"$decimal": "1.00"')
    open_tab.fill("Reason:", "a goodwill price")
    open_tab.click("Preview", role="button")
    assert "this is no JSON" in open_tab.text(".fluxio-editor")
    open_tab.fill("total", '{"$decimal": "1.00"}')
    open_tab.fill("Further keys:", '{"note": "goodwill"}')
    open_tab.do(lambda page: page.press("[name=as_run_id]", "Enter"))
    assert "25.00" in open_tab.text(".fluxio-diff")
    open_tab.click("Change something", role="button")
    assert open_tab.do(lambda page: page.input_value("[name=patch]")) == '{"note": "goodwill"}'
    open_tab.click("Preview", role="button")
    open_tab.click("Fork", role="button")
    assert "Forking order-17b." in open_tab.text(".messagelist")
    assert services.state("order-17b")["receipt"]["amount"] == Decimal("1.00")
    open_tab.do(lambda page: page.locator(".messagelist a").click())
    assert "order-17b" in open_tab.text("#result_list")
    open_tab.click("order-17b")
    assert "Forked from" in open_tab.text()
    open_tab.do(lambda page: page.locator(".fluxio-facts a", has_text="order-17, at row").click())
    assert "Failed at step charge" in open_tab.text()


def test_two_runs_are_chosen_in_the_list_and_compared(tab: OpenTab, shop: Shop) -> None:
    shop.buy("cheap", quantity=1)
    shop.buy("dear", quantity=9)
    open_tab = tab()
    open_tab.visit(LIST)
    for box in (0, 1):
        open_tab.do(lambda page, box=box: page.locator(".action-select").nth(box).check())
    open_tab.do(lambda page: page.get_by_label("Action:").select_option("diff_selected"))
    open_tab.do(lambda page: page.locator("button[name=index]").click())
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


def every_page(run: Run) -> list[str]:
    rows = run.checkpoints.values_list("pk", flat=True)
    version = PipelineVersion.objects.first()
    assert version is not None
    return [
        LIST,
        page_of(run),
        f"{LIST}{run.pk}/history/",
        *(f"{LIST}{name}/?run={run.pk}" for name in ("resume", "replay", "fork", "diff")),
        f"{LIST}resume/?run={run.pk}&run={Run.objects.exclude(pk=run.pk).get().pk}",
        *(f"/admin/fluxio_django/checkpoint/{pk}/change/" for pk in rows),
        "/admin/fluxio_django/pipelineversion/",
        "/admin/fluxio_django/pipelineversion/pipelines/",
        f"/admin/fluxio_django/pipelineversion/pipeline/?pipeline={run.pipeline}",
        f"/admin/fluxio_django/pipelineversion/{version.pk}/change/",
    ]


@pytest.fixture
def hostile_run(shop: Shop) -> Run:
    shop.buy("harmless")
    shop.message = HOSTILE
    identity = "<script>alert(1)</script>\"'<img/src=x/onerror=alert(2)>"
    values = {HOSTILE: HOSTILE, "nested": [{HOSTILE: (HOSTILE,)}], "long": HOSTILE * 20}
    run = shop.fail(identity, **values)
    Run.objects.filter(pk=run.pk).update(
        step=HOSTILE, owner=HOSTILE[:200], subject_id=HOSTILE[:200]
    )
    return run


@pytest.mark.security(8)
def test_nothing_that_a_run_holds_comes_to_life(tab: OpenTab, shop: Shop, hostile_run: Run) -> None:
    open_tab = tab()
    for path in every_page(hostile_run):
        open_tab.visit(path)
        open_tab.do(
            lambda page: page.evaluate(
                "document.querySelectorAll('details').forEach(each => each.open = true)"
            )
        )
        assert open_tab.do(lambda page: page.locator("img[src=x], svg[onload]").count()) == 0
        assert open_tab.text()
    open_tab.visit(f"{LIST}fork/?run={hostile_run.pk}")
    open_tab.fill("Further keys:", f"not JSON {HOSTILE}")
    open_tab.fill("Reason:", HOSTILE[:200])
    open_tab.click("Preview", role="button")
    open_tab.fill("Further keys:", json.dumps({HOSTILE: [HOSTILE]}))
    open_tab.click("Preview", role="button")
    assert "script" in open_tab.text(".fluxio-diff")
    open_tab.click("Fork", role="button")
    assert HOSTILE[:60] in open_tab.text("#content")
    open_tab.visit(f"{LIST}diff/?run={hostile_run.pk}")
    open_tab.fill("Run b:", "harmless")
    open_tab.fill("Reason:", HOSTILE[:200])
    open_tab.click("Compare", role="button")
    assert "script" in open_tab.text(".fluxio-diff")
    # The fixture fails the test if a dialog opened or the policy stopped anything.


@pytest.mark.security(8)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_legible_in_both_themes(
    tab: OpenTab, shop: Shop, hostile_run: Run, scheme: str
) -> None:
    open_tab = tab(color_scheme=scheme)
    run = Run.objects.get(run_id="harmless")
    for path in (LIST, page_of(run), f"{LIST}replay/?run={run.pk}"):
        open_tab.visit(path)
        assert open_tab.do(lambda page: page.evaluate(_FAINTEST)) >= 4.5, path


def test_a_narrow_screen_never_scrolls_sideways_as_a_whole(
    tab: OpenTab, shop: Shop, hostile_run: Run
) -> None:
    open_tab = tab(viewport={"width": 375, "height": 800})
    ours = [path for path in every_page(hostile_run) if "/history/" not in path]
    for path in ours:
        open_tab.visit(path)
        open_tab.do(
            lambda page: page.evaluate(
                "document.querySelectorAll('details').forEach(each => each.open = true)"
            )
        )
        assert open_tab.do(lambda page: page.evaluate("document.body.scrollWidth")) <= 375, path


# The lowest contrast (WCAG 2.2, relative luminance) between a text of ours and what is behind it.
_FAINTEST = """() => {
  const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const numbers = text => text.match(/[0-9.]+/g).map(Number);
  const luminance = ([red, green, blue]) =>
    [0.2126 * channel(red / 255), 0.7152 * channel(green / 255), 0.0722 * channel(blue / 255)]
      .reduce((sum, part) => sum + part);
  const behind = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = numbers(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let faintest = 21;
  for (const element of document.querySelectorAll('#content [class*="fluxio-"]')) {
    if (!element.innerText || !element.checkVisibility()) continue;
    const [text, ground] = [numbers(getComputedStyle(element).color), behind(element)]
      .map(luminance);
    const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    faintest = Math.min(faintest, contrast);
  }
  return faintest;
}"""
