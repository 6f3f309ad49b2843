"""The harness catches what it has to catch."""

import pytest

from tests.durability.defects.hunting import Hunt, hunt
from tests.durability.defects.planting import all_defects

pytestmark = pytest.mark.durability


QUICK = {"no-fence", "error-row-skipped", "version-without-code"}
"""Those that every test run looks for; a soak looks for all of them."""
EACH = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.soak)
    for name in sorted(all_defects())
]


@pytest.mark.soak
def test_the_tests_pass_where_no_defect_is_planted() -> None:
    """Otherwise it would say nothing that they fail with one."""
    tests = {test for defect in all_defects().values() for test in defect.tests}
    found: Hunt = hunt(None, sorted(tests))
    assert found.caught, found.output


@pytest.mark.parametrize("name", EACH)
def test_a_planted_defect_is_caught(name: str) -> None:
    """Each of the planted defects makes the tests fail that are about it."""
    defect = all_defects()[name]
    found = hunt(defect, defect.tests)
    assert found.caught, found.output
