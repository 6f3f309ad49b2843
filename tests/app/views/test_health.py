"""The health view answers those who know its token, and says 503 when runs get stuck."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client

from fluxio_django.models import Run

ADDRESS = "/fluxio/health/"
TOKEN = "a-long-random-secret"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}

PAST = datetime(2020, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def _opened(settings: Any) -> None:
    settings.FLUXIO = {"HEALTH_TOKEN": TOKEN}


def test_without_a_token_in_the_settings_there_is_no_such_view(settings: Any) -> None:
    for fluxio in ({}, {"HEALTH_TOKEN": "short"}, {"HEALTH_TOKEN": ""}):
        settings.FLUXIO = fluxio
        for headers in ({}, KNOWN, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            assert Client().get(ADDRESS, headers=headers).status_code == 404


@pytest.mark.usefixtures("_opened")
@pytest.mark.parametrize("given", [None, "", "Bearer", f"Bearer {TOKEN}x", TOKEN, "Bearer \xe4"])
def test_who_does_not_know_the_token_learns_nothing(given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    answer = Client().get(ADDRESS, headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert "lapsed" not in answer.content.decode()


@pytest.mark.usefixtures("_opened")
def test_all_is_well() -> None:
    answer = Client().get(ADDRESS, headers=KNOWN)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert answer.json() == {
        "status": "healthy",
        "problems": [],
        "oldest_wait_seconds": None,
        "lapsed_runs": 0,
    }


@pytest.mark.usefixtures("_opened")
def test_a_run_that_nobody_takes_over_makes_it_503() -> None:
    Run.objects.create(run_id="r", pipeline="p", status="running", lease_expires_at=PAST)
    answer = Client().get(ADDRESS, headers=KNOWN)
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["lapsed_runs"] == 1
    assert Client().head(ADDRESS, headers=KNOWN).status_code == 503
    assert Client().post(ADDRESS, headers=KNOWN).status_code == 405


@pytest.mark.usefixtures("_opened")
def test_a_database_that_is_away_is_an_answer_too() -> None:
    def fail(*call: object) -> None:
        raise OperationalError("the server is gone")

    with connections["default"].execute_wrapper(fail):
        answer = Client().get(ADDRESS, headers=KNOWN)
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["The database does not answer."]
