"""A tab of a real Chromium, driven from a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from playwright.sync_api import Browser, Page

from tests.browser.csp import POLICY

Result = TypeVar("Result")

_WATCH = """
document.addEventListener("securitypolicyviolation", event => {
  console.error("stopped by policy: " + event.violatedDirective + " " + event.blockedURI);
});
"""

TIMEOUT_SECONDS = 60


@dataclass
class Tab:
    """One page, and what went wrong in it: dialogs, errors, what the policy stopped.

    Playwright's sync API runs an event loop in its thread, in which Django refuses to query; so the
    pages live in a thread of their own, and the test's thread keeps that guard.
    """

    thread: ThreadPoolExecutor
    page: Page
    address: str
    troubles: list[str] = field(default_factory=list)

    def do(self, act: Callable[[Page], Result]) -> Result:
        """Do something with the page, in its thread."""
        return self.thread.submit(act, self.page).result(TIMEOUT_SECONDS)

    def beside(self) -> Tab:
        """Another tab of the same person."""
        page = self.do(lambda page: page.context.new_page())
        return _watched(replace(self, page=page))

    def visit(self, path: str, policy: str = POLICY) -> None:
        """Open an address of the site, which is under this policy."""
        answer = self.do(lambda page: page.goto(self.address + path))
        assert answer is not None
        assert answer.headers["content-security-policy"] == policy

    def text(self, selector: str = "#content") -> str:
        """The visible text of an element."""
        return self.do(lambda page: page.inner_text(selector))

    def follow(self, act: Callable[[Page], object]) -> None:
        """Do something that leads to another page, and wait until that is there."""

        def and_wait(page: Page) -> None:
            with page.expect_navigation():
                act(page)

        self.do(and_wait)

    def click(self, name: str, role: Any = "link") -> None:
        """Click what is called so, and wait for the page that follows."""
        self.follow(lambda page: page.get_by_role(role, name=name, exact=True).first.click())

    def press(self, name: str) -> None:
        """Press a button that leads nowhere."""
        self.do(lambda page: page.get_by_role("button", name=name, exact=True).first.click())

    def fill(self, label: str, text: str) -> None:
        """Write into the field with this label."""
        self.do(lambda page: page.get_by_label(label, exact=True).fill(text))


def open_tab(
    thread: ThreadPoolExecutor, browser: Browser, address: str, session: str, **options: Any
) -> Tab:
    """Open a tab for somebody who is signed in."""

    def open_page() -> Page:
        context = browser.new_context(**options)
        cookie = {"name": "sessionid", "value": session, "url": address}
        context.add_cookies([cookie])  # type: ignore[list-item]
        context.add_init_script(_WATCH)
        return context.new_page()

    page = thread.submit(open_page).result(TIMEOUT_SECONDS)
    return _watched(Tab(thread=thread, page=page, address=address))


def _watched(tab: Tab) -> Tab:
    """The tab, of which every trouble is noted from now on."""

    def listen(page: Page) -> None:
        def dialog(event: Any) -> None:
            tab.troubles.append(f"dialog: {event.message}")
            event.dismiss()

        def console(message: Any) -> None:
            if message.type == "error":
                tab.troubles.append(f"console: {message.text}")

        page.on("dialog", dialog)
        page.on("console", console)
        page.on("pageerror", lambda error: tab.troubles.append(f"error: {error}"))

    tab.do(listen)
    return tab
