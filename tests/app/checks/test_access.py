"""`manage.py check` says when nobody can tell who may see what."""

import pytest
from django.test import override_settings

from tests.app.checks.found import found


@pytest.mark.parametrize(
    "path", ["fluxio_django.visibility.nowhere", "fluxio.store.base.ERROR", "visibility_rules"]
)
def test_e006_a_path_that_leads_to_no_rule_of_visibility(path: str) -> None:
    with override_settings(FLUXIO={"VISIBLE_TO": path}):
        message = found()["fluxio.E006"]
    assert path in message.msg
    assert message.hint.startswith("Use the dotted path of a function")
