"""What the JSON API answers when the database is gone: try again, and not a page of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connections

from tests.app.views.shop import browser, person

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, databases=["default", "postgres"]),
]


@pytest.fixture
def _gone(settings: Any) -> Iterator[None]:
    """The runs are in a database that has closed our connection."""
    settings.FLUXIO = {**settings.FLUXIO, "DATABASE": "postgres"}
    connection = connections["postgres"]
    with connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    yield
    connection.close()


@pytest.mark.usefixtures("_gone")
def test_a_connection_that_is_gone_is_a_problem_to_try_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = browser(person("ada")).get("/fluxio/runs/")
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Retry-After"] == "5"
    told = answer.json()
    assert told["type"] == "urn:fluxio:problem:database"
    assert "closed" not in told["detail"]  # what the driver says is for the log
    (line,) = [one for one in caplog.records if one.name == "fluxio.views"]
    assert line.exc_info is not None
