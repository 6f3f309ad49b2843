"""`manage.py check` says when the database of runs cannot keep them."""

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
