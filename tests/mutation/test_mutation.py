"""Small changes to the rooms that everything rests on do not go unnoticed."""

from __future__ import annotations

import pytest

from tests.mutation.__main__ import FLOOR
from tests.mutation.operators import mutants
from tests.mutation.rooms import ROOMS
from tests.mutation.trials import PROJECT, chosen, kill_rate, tried

SOURCE = '''
"""A docstring is not code."""

def rate(price: int = 3, *, urgent: bool = False) -> int:
    """Nor is this one."""
    assert price != 0
    if price < 10 and not urgent:
        raise ValueError(f"{price} is too little.")
    order.total = price + 2
    send(order, copy=urgent)
    return price
'''


def changes() -> set[str]:
    """What is done to the sample."""
    return {mutant.change for mutant in mutants(SOURCE)}


def test_every_kind_of_change_is_made_and_words_for_people_are_left_alone() -> None:
    assert changes() == {
        "3 -> 4",
        "False -> True",
        "And -> Or",
        "Lt -> LtE",
        "not dropped",
        "10 -> 11",
        "Add -> Sub",
        "2 -> 3",
        "argument copy dropped",
        "return None",
        "deleted: raise ValueError(f'{price} is too little.')",
        "deleted: order.total = price + 2",
        "deleted: send(order, copy=urgent)",
    }


def test_every_mutant_is_a_module_and_differs_from_all_others() -> None:
    sources = [mutant.source for mutant in mutants(SOURCE)]
    assert len(set(sources)) == len(sources)
    for source in sources:
        compile(source, "mutant", "exec")


def test_the_same_seed_gives_the_same_sample() -> None:
    first, again, other = (chosen("machine", 10, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 10


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_names_modules_and_tests_that_exist(name: str) -> None:
    assert all(list(PROJECT.glob(module)) for module in ROOMS[name].modules)
    assert [test for test in ROOMS[name].tests if not (PROJECT / test).exists()] == []


@pytest.mark.soak
@pytest.mark.parametrize("name", ROOMS)
def test_nine_of_ten_mutants_are_noticed(name: str) -> None:
    trials = list(tried(name))
    survivors = "\n".join(str(trial) for trial in trials if not trial.killed)
    assert kill_rate(trials) >= FLOOR, survivors
