"""Counts the cases of the store contract, so that a test run can say how much each store passed."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.core.stores import tally

_STORES = {
    "test_the_memory_store_keeps_the_contract": "memory",
    "test_the_redis_store_keeps_the_contract": "redis",
    "test_the_encrypted_memory_store_keeps_the_contract": "memory, encrypted",
    "test_the_encrypted_redis_store_keeps_the_contract": "redis, encrypted",
    "test_a_store_of_four_methods_keeps_the_contract": "toy",
    "test_a_store_with_transactions_keeps_the_contract": "transactional",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count a case of the contract that passed."""
    report = yield
    store = _STORES.get(getattr(item, "originalname", ""))
    if store is not None and report.when == "call" and report.passed:
        tally.count(item.config, store)
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say in one line how many cases each store passed."""
    if counted := tally.line(config):
        terminalreporter.write_line(counted)
