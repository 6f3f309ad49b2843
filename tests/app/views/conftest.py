"""What the tests of the views share: an open pipeline and a closed one, an owner and a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from fluxio_django.journal import forget_noted_versions
from fluxio_django.views import events, tower
from tests.app.views.shop import OPEN, opened, person


@pytest.fixture(autouse=True)
def _open_shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.FLUXIO = {
        "DISPATCHER": "eager",
        "VIEWS": {OPEN: {"START": "signed-in", "SHOWS": ["total"]}},
    }
    cache.clear()
    # Nobody waits for news of a run that nothing happens to.
    monkeypatch.setattr(events, "LONGEST_UNDER_WSGI", 0.0)
    monkeypatch.setattr(tower, "SECONDS_BETWEEN_LOOKS", 0.01)
    with opened():
        yield
    forget_noted_versions()


@pytest.fixture
def ada(db: None) -> User:
    return person("ada")


@pytest.fixture
def bob(db: None) -> User:
    return person("bob")
