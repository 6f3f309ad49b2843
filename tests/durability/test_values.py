"""Whatever a stage may put into a context comes back from a database as it went in."""

from typing import Any

import pytest

from fluxio.store.payload import open_row
from fluxio.testing.conformance.samples import commit, opening, step_row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from tests.core.codec.examples import examples
from tests.core.codec.test_codec_values import same
from tests.durability.harness.houses import House
from tests.proofs.sizes import Size
from tests.proofs.tally import Tally

pytestmark = pytest.mark.durability

EXAMPLES = 2_000
EXAMPLES_IN_SOAK = 100_000
IN_ONE_ROW = 20


def test_a_value_comes_back_from_a_database_equal_and_of_the_same_type(
    relational: House, size: Size, tally: Tally
) -> None:
    """G15: 2,000 values, or 100,000 in a soak, written as a stage's own and read by a resume."""
    journal = DjangoStore(relational.name).journal()
    broken: list[Any] = []
    drawn = examples(size.trials(pull_request=EXAMPLES, soak=EXAMPLES_IN_SOAK))
    for number in range(0, len(drawn), IN_ONE_ROW):
        written = drawn[number : number + IN_ONE_ROW]
        run_id = f"values-{number}"
        claim = journal.open_blocking(opening(run_id))
        row = step_row(run_id, 1, {f"v{place}": value for place, value in enumerate(written)})
        journal.commit_blocking(claim, commit(row, status=RunStatus.SUCCEEDED))
        (found,) = journal.rows_blocking(run_id, first=1)
        read = open_row(run_id, found).writes
        wrong = [value for place, value in enumerate(written) if not same(read[f"v{place}"], value)]
        tally.add("G15", relational.title, len(written), len(wrong))
        broken += wrong
    assert broken == []
