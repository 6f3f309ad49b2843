"""`manage.py check` says what is wrong with FLUXIO, each with an id and a remedy."""

from django.core import checks
from django.test import override_settings

from tests.app.checks.found import found


def test_a_sound_project_has_nothing_to_be_told() -> None:
    with override_settings(FLUXIO={}):
        assert found() == {}


def test_e001_an_unknown_key() -> None:
    with override_settings(FLUXIO={"LEESE_SECONDS": 30}):
        assert "LEASE_SECONDS" in found()["fluxio.E001"].hint


def test_e001_a_setting_that_is_no_dict() -> None:
    with override_settings(FLUXIO=[("LEASE_SECONDS", 30)]):
        assert "list" in found()["fluxio.E001"].msg


def test_e002_parts_of_keys_that_are_no_list_and_hide_nothing_yet() -> None:
    with override_settings(FLUXIO={"REDACT": "ssn"}):
        message = found()["fluxio.E002"]
    assert message.msg == "FLUXIO['REDACT'] is 'ssn'; nothing that it could hide is shown."
    assert message.hint.startswith("Give a list of parts of keys")


def test_e002_a_value_that_does_not_fit() -> None:
    with override_settings(FLUXIO={"LEASE_SECONDS": "soon"}):
        message = found()["fluxio.E002"]
    assert message.level == checks.ERROR
    assert message.hint == "Give a number of seconds above 0, at most 1,000,000,000."
