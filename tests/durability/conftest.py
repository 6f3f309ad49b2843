"""What the proofs share: a nursery of processes, and the houses."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from tests.durability.harness.actors import Part, Verb
from tests.durability.harness.houses import REDIS, House
from tests.durability.harness.nursery import Nursery

MakePart = Callable[..., Part]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks a process per trial."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module", autouse=True)
def rows_stay(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Flush the tables once after a module that is marked so, instead of after each of its tests.

    A flush takes longer than many a trial, and runs whose ids are random do not get in each
    other's way.
    """
    if request.node.get_closest_marker("rows_stay") is None:
        yield
        return
    used: set[str] = set()

    def postpone(case: TransactionTestCase) -> None:
        used.update(case._databases_names(include_mirrors=False))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", postpone)
        yield
    with django_db_blocker.unblock():
        for alias in sorted(used):
            call_command(
                "flush", database=alias, interactive=False, verbosity=0, reset_sequences=False
            )


def real_transactions(alias: str) -> pytest.MarkDecorator:
    """What a test needs whose processes open this database themselves."""
    return pytest.mark.django_db(transaction=True, databases=[alias])


@pytest.fixture
def relational(database: str) -> House:
    """Each database, with a ledger in it."""
    house = House(database)
    house.prepare()
    return house


@pytest.fixture(
    params=[
        pytest.param("default", marks=real_transactions("default")),
        pytest.param("postgres", marks=[real_transactions("postgres"), pytest.mark.postgresql]),
        pytest.param("mariadb", marks=[real_transactions("mariadb"), pytest.mark.mariadb]),
        pytest.param(REDIS, marks=pytest.mark.redis),
    ]
)
def house(request: pytest.FixtureRequest) -> House:
    """Every place where runs can be kept."""
    house = House(request.param)
    if house.is_relational:
        request.getfixturevalue("transactional_db")
    house.prepare()
    return house


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=[real_transactions("postgres"), pytest.mark.postgresql]),
        pytest.param("mariadb", marks=[real_transactions("mariadb"), pytest.mark.mariadb]),
    ]
)
def server(request: pytest.FixtureRequest) -> House:
    """Each database that is reached over a network."""
    request.getfixturevalue("transactional_db")
    house = House(request.param)
    house.prepare()
    return house


@pytest.fixture
def part(nursery: Nursery) -> MakePart:
    """Makes parts to play, each in a run and with an effect log of its own."""

    def make(house: House, topology: str, **facts: object) -> Part:
        run_id = f"{topology}-{uuid4().hex}"
        return Part(
            verb=Verb.START,
            house=house.name,
            topology=topology,
            run_id=run_id,
            effects=str(nursery.folder / run_id),
            **facts,
        )

    return make
