"""`manage.py check` says when the database of runs cannot keep them."""

from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from tests.app.checks.found import found


def test_e004_an_alias_that_is_not_in_databases() -> None:
    with override_settings(FLUXIO={"DATABASE": "archive"}):
        message = found()["fluxio.E004"]
    assert "'archive'" in message.msg
    assert "default" in message.hint


def test_e005_a_kind_of_database_that_cannot_keep_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "vendor", "oracle")
    with override_settings(FLUXIO={"DATABASE": "default"}):
        assert "PostgreSQL" in found(tags=["fluxio"])["fluxio.E005"].hint


def test_e013_a_database_whose_transactions_nobody_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fluxio.E013" not in found()
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    assert "AUTOCOMMIT" in found()["fluxio.E013"].hint


class Away:
    """A router that wants the tables of this app in no database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "fluxio_django" else None


def test_e014_a_router_that_keeps_the_tables_out_of_the_database() -> None:
    assert "fluxio.E014" not in found()
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.Away"]):
        assert "allow_migrate('default', 'fluxio_django')" in found()["fluxio.E014"].hint


@pytest.mark.parametrize("dispatcher", ["celery", "tasks"])
def test_w006_workers_in_other_processes_that_share_a_file(dispatcher: str) -> None:
    with override_settings(FLUXIO={"DISPATCHER": dispatcher}):
        assert "PostgreSQL" in found()["fluxio.W006"].hint
    with override_settings(FLUXIO={"DISPATCHER": "inline"}):
        assert "fluxio.W006" not in found()


def test_w019_a_database_that_django_reads_in_a_zone_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = connections["default"]
    for zone in (None, "UTC"):
        monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", zone)
        assert "fluxio.W019" not in found()
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Asia/Tokyo")
    message = found()["fluxio.W019"]
    assert "'Asia/Tokyo'" in message.msg
    assert "Remove TIME_ZONE" in message.hint
    monkeypatch.setattr(connection.features, "supports_timezones", True)  # as PostgreSQL does
    assert "fluxio.W019" not in found()
