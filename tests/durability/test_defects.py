"""The harness catches what it has to catch."""

import pytest

from tests.durability.defects.hunting import Hunt, hunt
from tests.durability.defects.planting import all_defects

pytestmark = [pytest.mark.durability, pytest.mark.soak]


def test_the_tests_pass_where_no_defect_is_planted() -> None:
    """Otherwise it would say nothing that they fail with one."""
    tests = {test for defect in all_defects().values() for test in defect.tests}
    found: Hunt = hunt(None, sorted(tests))
    assert found.caught, found.output


@pytest.mark.parametrize("name", sorted(all_defects()))
def test_a_planted_defect_is_caught(name: str) -> None:
    """Each of the planted defects makes the tests fail that are about it."""
    defect = all_defects()[name]
    found = hunt(defect, defect.tests)
    assert found.caught, found.output
