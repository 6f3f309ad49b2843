"""Which runs a person may know of is decided in one place, by a rule of the project."""

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from fluxio.errors import ConfigurationError
from fluxio_django.models import Run
from fluxio_django.visibility import visible_to
from tests.app.visibility_rules import only_own
from tests.shown import shown

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> tuple[User, User]:
    """Two people, each of whom asked for a run."""
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    for person in (ada, bob):
        Run.objects.create(run_id=f"run-of-{person}", pipeline="p", requested_by=person)
    return ada, bob


def test_without_a_rule_permissions_alone_decide(people: tuple[User, User]) -> None:
    assert visible_to(people[0]).count() == 2


def test_a_rule_hides_the_runs_of_others(people: tuple[User, User]) -> None:
    for rule in (only_own, "tests.app.visibility_rules.only_own"):
        with override_settings(FLUXIO={"VISIBLE_TO": rule}):
            assert [run.run_id for run in visible_to(people[0])] == ["run-of-ada"]


@pytest.mark.parametrize("rule", ["nowhere.at_all", "only_own", "", 7, [only_own]], ids=shown)
def test_a_rule_that_cannot_be_found_shows_nothing(people: tuple[User, User], rule: object) -> None:
    with (
        override_settings(FLUXIO={"VISIBLE_TO": rule}),
        pytest.raises(ConfigurationError, match="VISIBLE_TO"),
    ):
        visible_to(people[0])
