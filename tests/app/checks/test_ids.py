"""The table of ids is complete: no id twice, and each has a test that makes it speak."""

import re
from pathlib import Path

import pytest
from django.core import checks

from fluxio_django.checks import SETUP, check_database
from fluxio_django.checks.ids import CheckID

TESTS = "\n".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))


def test_an_id_is_never_given_twice() -> None:
    ids = [check.id for check in CheckID]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"fluxio\.[EW]\d{3}", id) for id in ids)


@pytest.mark.security(24)
@pytest.mark.parametrize("check", CheckID, ids=lambda check: check.id)
def test_every_id_has_a_test_that_makes_it_speak(check: CheckID) -> None:
    number = check.id.removeprefix("fluxio.").lower()
    assert f"def test_{number}_" in TESTS
    assert f'"{check.id}"' in TESTS


def test_django_runs_every_check() -> None:
    registered = checks.registry.registry.get_checks(include_deployment_checks=True)
    assert set(registered) >= {*SETUP, check_database}
