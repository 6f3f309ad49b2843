"""How many cases of the contract each store has passed in this test run."""

from __future__ import annotations

from collections import Counter

import pytest

_PASSED = pytest.StashKey[Counter[str]]()


def count(config: pytest.Config, store: str, cases: int = 1) -> None:
    """Remember that a store passed that many cases."""
    config.stash.setdefault(_PASSED, Counter())[store] += cases


def line(config: pytest.Config) -> str:
    """What was counted, in one line; "" where nothing was."""
    passed = config.stash.get(_PASSED, Counter[str]())
    counts = ", ".join(f"{store} {cases}" for store, cases in passed.items())
    return f"conformance: {counts} cases" if passed else ""
