"""DjangoStore keeps the shipped contract on every database it is made for."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth.models import Group
from django.db import connections
from django.db.models import F
from django.test import override_settings

from fluxio.codec import Keyring
from fluxio.testing import conformance
from fluxio.testing.conformance import Subject
from fluxio_django import DjangoStore
from fluxio_django.journal import forget_noted_versions
from fluxio_django.models import Checkpoint, PipelineVersion, Run
from fluxio_django.tables import hop
from tests.core.stores import tally

KEYRING = Keyring(keys={"2026": bytes(range(32))})
TABLES = (Checkpoint, Run, PipelineVersion, Group)


class Fixture:
    """What the contract's cases ask of one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def subject(self) -> Subject:
        return Subject(
            store=DjangoStore(self.alias),
            advance=self.advance,
            another=lambda: DjangoStore(self.alias),
            damage=self.damage,
            ledger=self,
        )

    async def advance(self, seconds: float) -> None:
        older = F("lease_expires_at") - timedelta(seconds=seconds)
        await hop(Run.objects.using(self.alias).update, lease_expires_at=older)

    async def damage(self, run_id: str, sequence: int, change: Callable[[str], str | None]) -> None:
        rows = Checkpoint.objects.using(self.alias)
        row = rows.filter(run__run_id=run_id, sequence=sequence)

        def spoil() -> None:
            payload = change(row.get().payload)
            if payload is None:
                row.delete()
            else:
                row.update(payload=payload)

        await hop(spoil)

    def write(self, note: str) -> None:
        Group.objects.using(self.alias).create(name=note)

    async def notes(self) -> list[str]:
        groups = Group.objects.using(self.alias).values_list("name", flat=True)
        return await hop(list, groups)

    def clear(self) -> None:
        for model in TABLES:
            model._base_manager.using(self.alias).all().delete()
        forget_noted_versions()


@pytest.fixture
def fixture(database: str) -> Iterator[Fixture]:
    """A database, and what the cases ask of it."""
    yield Fixture(database)
    close_behind(database)


@pytest.fixture
def sealed() -> Iterator[Fixture]:
    """A database under a keyring, and what the cases ask of it."""
    with override_settings(FLUXIO={"KEYRING": KEYRING}):
        yield Fixture("default")
    close_behind("default")


def close_behind(alias: str) -> None:
    """Close what threads have opened that have event loops of their own: they meet in this one."""
    executor = SyncToAsync.single_thread_executor
    executor.submit(lambda: connections[alias].close()).result()


CASES = conformance.cases_for(Fixture("default").subject())


# One test per topic: to delete a few runs between cases costs far less than to flush all tables.
@pytest.mark.parametrize("topic", dict.fromkeys(case.topic for case in CASES))
async def test_the_django_store_keeps_the_contract(
    fixture: Fixture, topic: str, pytestconfig: pytest.Config
) -> None:
    await keep(fixture, topic, pytestconfig, f"django/{fixture.alias}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("topic", dict.fromkeys(case.topic for case in CASES))
async def test_the_encrypted_django_store_keeps_the_contract(
    sealed: Fixture, topic: str, pytestconfig: pytest.Config
) -> None:
    await keep(sealed, topic, pytestconfig, "django, encrypted")


async def keep(fixture: Fixture, topic: str, config: pytest.Config, name: str) -> None:
    """Run the cases of a topic, and clean up after each."""
    broken: list[Exception] = []
    for case in CASES:
        if case.topic != topic:
            continue
        try:
            await case.run(fixture.subject())
        except Exception as problem:
            problem.add_note(str(case))
            broken.append(problem)
        else:
            tally.count(config, name)
        await hop(fixture.clear)
    if broken:
        raise ExceptionGroup(f"{len(broken)} promises of {topic} are broken", broken)
