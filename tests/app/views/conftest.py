"""What the tests of the views share: an open pipeline and a closed one, an owner and a stranger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from fluxio_django.journal import forget_noted_versions
from tests.app.views.shop import OPEN, opened, person


@pytest.fixture(autouse=True)
def _open_shop(settings: Any) -> Iterator[None]:
    settings.FLUXIO = {
        "DISPATCHER": "eager",
        "VIEWS": {OPEN: {"START": "signed-in", "SHOWS": ["total"]}},
    }
    cache.clear()
    with opened():
        yield
    forget_noted_versions()


@pytest.fixture
def ada(db: None) -> User:
    return person("ada")


@pytest.fixture
def bob(db: None) -> User:
    return person("bob")
