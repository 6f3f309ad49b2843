"""`manage.py check` says when runs have no store, or one that will lose them."""

import pytest
from django.test import override_settings

from tests.app.checks.found import found


@pytest.mark.parametrize("path", ["fluxio_django.NoStore", "fluxio.Pipeline"])
def test_e003_a_path_that_leads_to_no_store(path: str) -> None:
    with override_settings(FLUXIO={"STORE": path}):
        message = found()["fluxio.E003"]
    assert path in message.msg
    assert message.hint.startswith("Use the dotted path of a store")


@pytest.mark.parametrize("keyring", ["fluxio.Pipeline", {"2026": "short"}, 3])
def test_e008_keys_that_lead_nowhere(keyring: object) -> None:
    with override_settings(FLUXIO={"KEYRING": keyring}):
        message = found()["fluxio.E008"]
    assert "Nothing is stored or read until it does" in message.hint


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("fluxio.Nothing", "ImportError"),
        ("fluxio.Context", "TypeError"),
        ("builtins.dict", "leads to dict"),
    ],
)
def test_e012_callbacks_that_are_none(path: str, reason: str) -> None:
    with override_settings(FLUXIO={"CALLBACKS": ["fluxio.LoggingCallback", path]}):
        message = found()["fluxio.E012"]
    assert path in message.msg
    assert reason in message.msg
    assert "fluxio.LoggingCallback" in message.hint
