"""What the tests of queueing start from: a registered pipeline, its runs in one database."""

from collections.abc import Iterator
from typing import Any

import pytest

from fluxio_django.pipeline import DjangoPipeline
from tests.app.queueing.shop import registered


@pytest.fixture
def eager(database: str, settings: Any) -> str:
    """Runs are executed by whoever enqueues them; gives the alias of the database."""
    settings.FLUXIO = {"DISPATCHER": "eager", "DATABASE": database}
    return database


@pytest.fixture
def checkout(eager: str) -> Iterator[DjangoPipeline]:
    with registered() as pipeline:
        yield pipeline
