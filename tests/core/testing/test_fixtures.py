"""Contexts for tests are made in one short line."""

from __future__ import annotations

import pytest

from fluxio.testing.fixtures import make_ctx


def test_names_become_keys() -> None:
    assert dict(make_ctx(total=3, items=[])) == {"total": 3, "items": []}


def test_a_mapping_brings_keys_that_are_no_names() -> None:
    assert dict(make_ctx({"order-id": 1, "self": 2}, total=3)) == {
        "order-id": 1,
        "self": 2,
        "total": 3,
    }


def test_a_name_wins_over_the_mapping() -> None:
    assert make_ctx({"total": 1}, total=2)["total"] == 2


def test_nothing_counts_as_written() -> None:
    assert make_ctx(total=3).written == frozenset()
    assert len(make_ctx()) == 0


def test_keys_are_str() -> None:
    with pytest.raises(TypeError):
        make_ctx({1: 2})  # type: ignore[dict-item]
