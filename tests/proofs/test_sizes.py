"""A sample is honest: it is small, it covers the whole, and by and by it is the whole."""

from fractions import Fraction

import pytest

from tests.proofs.sizes import Scale, Size, size_by

SOAK = Size(scale=Scale.SOAK)


@pytest.mark.parametrize(("total", "wanted"), [(1000, 24), (25, 24), (24, 24), (3, 24), (1, 1)])
def test_as_many_turns_as_points_lie_between_two_of_a_sample_try_all_of_them(
    total: int, wanted: int
) -> None:
    samples = [Size(turn=turn).points(total, pull_request=wanted) for turn in range(total)]
    assert all(len(sample) <= wanted for sample in samples)
    assert all(len(sample) >= min(wanted, total) // 2 for sample in samples)
    apart = -(-total // min(wanted, total))
    assert {point for sample in samples[:apart] for point in sample} == set(range(1, total + 1))


def test_a_soak_tries_every_point_and_its_own_number_of_trials() -> None:
    assert list(SOAK.points(1000, pull_request=24)) == list(range(1, 1001))
    assert SOAK.trials(pull_request=100, soak=3000) == 3000
    assert Size().trials(pull_request=100, soak=3000) == 100


def test_a_soak_that_is_cut_tries_its_share_and_no_less_than_a_pull_request() -> None:
    cut = Size(scale=Scale.SOAK, share=Fraction(1, 10))
    assert cut.trials(pull_request=100, soak=3000) == 300
    assert cut.trials(pull_request=100, soak=500) == 100
    assert len(cut.points(1000, pull_request=24)) == 100


def test_the_environment_chooses_the_size_and_the_sample() -> None:
    chosen = size_by({"FLUXIO_PROOFS": "soak:1/4", "FLUXIO_PROOFS_TURN": "7"})
    assert chosen == Size(scale=Scale.SOAK, share=Fraction(1, 4), turn=7)
    assert size_by({}).scale is Scale.PULL_REQUEST
    with pytest.raises(ValueError, match="huge"):
        size_by({"FLUXIO_PROOFS": "huge"})
