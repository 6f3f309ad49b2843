"""DjangoStore as its users meet it: early, on any database, whole snapshots in and out."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connections

from fluxio.errors import CorruptCheckpointError, LeaseLostError, RunIDInUseError, StoreError
from fluxio.store.base import Checkpoint, OpenMode
from fluxio.testing.conformance.samples import checkpoint, commit, opening, row, start_row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from fluxio_django.models import Run
from tests.rivals import rival_after

ROOT = Path(__file__).resolve().parents[2]

BEFORE_DJANGO = """
from fluxio_django import DjangoStore
store = DjangoStore()
store.journal().transactions, store.journal().leasing
DjangoStore(using="elsewhere")
import django
from django.conf import settings
assert not settings.configured
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "fluxio_django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
assert store.load_blocking("nothing") is None
print("works")
"""


def test_a_store_may_be_built_before_django_is_set_up() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEFORE_DJANGO],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": ""},
    )
    assert (done.stdout, done.stderr) == ("works\n", "")


def test_a_store_says_which_database_it_uses() -> None:
    assert repr(DjangoStore("postgres")) == "DjangoStore(using='postgres')"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
async def test_runs_of_one_database_are_unknown_in_another() -> None:
    await DjangoStore("postgres").save(checkpoint("here"))
    assert await DjangoStore("postgres").exists("here")
    assert not await DjangoStore("default").exists("here")
    await DjangoStore("default").delete("here")
    assert await DjangoStore("postgres").exists("here")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
async def test_a_store_without_an_alias_uses_the_one_in_the_settings(settings: object) -> None:
    store = DjangoStore()
    settings.FLUXIO = {"DATABASE": "postgres"}
    await store.save(checkpoint("there"))
    assert await DjangoStore("postgres").exists("there")


async def test_a_snapshot_comes_back_and_another_one_is_newer(database: str) -> None:
    store = DjangoStore(database)
    for number in range(3):
        await store.save(checkpoint("snapshots", {"number": number}, ip=number))
    newest = await store.load("snapshots")
    assert isinstance(newest, Checkpoint)
    assert (newest.ctx_snapshot, newest.ip) == ({"number": 2}, 2)
    assert [one.sequence for one in await store.journal().rows("snapshots")] == [0, 1, 2]


def test_no_more_is_read_than_the_newest_state(database: str) -> None:
    store = DjangoStore(database)
    for number in range(3):
        store.save_blocking(checkpoint("snapshots", {"number": number}))
    run = Run.objects.using(database).get()
    run.checkpoints.using(database).filter(sequence__lt=2).delete()
    newest = store.load_blocking("snapshots")
    assert newest is not None
    assert newest.ctx_snapshot == {"number": 2}


async def test_a_run_that_is_executed_cannot_be_saved_over(database: str) -> None:
    store = DjangoStore(database)
    claim = await store.journal().open(opening("executed"))
    with pytest.raises(RunIDInUseError):
        await store.save(checkpoint("executed"))
    await store.journal().commit(claim, commit(row(1)))


async def test_a_snapshot_saved_over_a_run_whose_lease_has_ended_leaves_no_owner(
    database: str,
) -> None:
    store = DjangoStore(database)
    claim = await store.journal().open(opening("left", lease_seconds=-1))
    await store.save(checkpoint("left", {"n": 1}, ip=3, meta={"step": "charge"}))
    record = await store.journal().run("left")
    assert (record.owner, record.lease_expires_at) == (None, None)
    assert (record.head, record.ip, record.token) == (1, 3, claim.token + 1)
    assert record.finished_at is None
    with pytest.raises(LeaseLostError):
        await store.journal().commit(claim, commit(row(1)))


def test_a_run_whose_owner_came_back_meanwhile_cannot_be_saved_over(database: str) -> None:
    store = DjangoStore(database)
    claim = store.journal().open_blocking(opening("back", lease_seconds=-1))

    def come_back() -> None:
        store.journal().leasing.renew([replace(claim, lease_seconds=60)])

    with rival_after(database, come_back), pytest.raises(RunIDInUseError):
        store.save_blocking(checkpoint("back"))
    store.journal().commit_blocking(claim, commit(row(1)))


@pytest.mark.parametrize("saved_before", [0, 1])
def test_a_snapshot_saved_at_the_same_moment_as_another_one_is_kept_beside_it(
    database: str, saved_before: int
) -> None:
    store, other = DjangoStore(database), DjangoStore(database)
    for number in range(saved_before):
        store.save_blocking(checkpoint("twice", {"from": f"before {number}"}))
    with rival_after(database, lambda: other.save_blocking(checkpoint("twice", {"from": "other"}))):
        store.save_blocking(checkpoint("twice", {"from": "us"}))
    newest = store.load_blocking("twice")
    assert newest is not None
    assert newest.ctx_snapshot == {"from": "us"}
    sequences = [one.sequence for one in store.journal().rows_blocking("twice")]
    assert sequences == list(range(saved_before + 2))


@pytest.mark.parametrize("look", [1, 2, 3])
def test_a_run_that_is_begun_anew_while_it_is_loaded_is_loaded_as_it_stands_then(
    database: str, look: int
) -> None:
    store, looks = DjangoStore(database), iter(range(1, 4))
    store.save_blocking(checkpoint("anew", {"old": 1}))
    store.save_blocking(checkpoint("anew", {"old": 2}))
    start = start_row("anew", {"new": 1})
    restart = opening("anew", OpenMode.RESTART, start=start)

    def begin_anew() -> None:
        if next(looks) == look:
            store.journal().open_blocking(restart)

    with rival_after(database, begin_anew, times=look):
        found = store.load_blocking("anew")
    assert found is not None
    assert found.ctx_snapshot == ({"new": 1} if look < 3 else {"old": 2})


def test_a_run_that_is_deleted_while_it_is_loaded_is_unknown(database: str) -> None:
    store = DjangoStore(database)
    store.save_blocking(checkpoint("gone"))
    with rival_after(database, lambda: store.delete_blocking("gone")):
        assert store.load_blocking("gone") is None


async def test_a_snapshot_that_says_how_the_run_ended_ends_it(database: str) -> None:
    store = DjangoStore(database)
    await store.save(checkpoint("told", meta={"status": "succeeded", "pipeline": "shop"}))
    record = await store.journal().run("told")
    assert (record.status, record.pipeline) == (RunStatus.SUCCEEDED, "shop")
    assert record.finished_at is not None
    assert abs(record.created_at - datetime.now(UTC)).total_seconds() < 60


async def test_deleting_takes_all_rows_and_a_second_time_is_fine(database: str) -> None:
    store = DjangoStore(database)
    await store.save(checkpoint("gone"))
    await store.delete("gone")
    await store.delete("gone")
    assert await store.load("gone") is None


def test_a_missing_row_in_the_middle_or_at_the_end_is_detected(database: str) -> None:
    store = DjangoStore(database)
    journal = store.journal()
    for lost in (0, 1, 3):
        claim = journal.open_blocking(opening(f"torn {lost}"))
        journal.commit_blocking(claim, commit(row(1), row(2), row(3)))
        run = Run.objects.using(database).get(run_id=f"torn {lost}")
        run.checkpoints.using(database).filter(sequence=lost).delete()
        with pytest.raises(CorruptCheckpointError) as refused:
            journal.rows_blocking(run.run_id)
        assert (refused.value.run_id, refused.value.sequence) == (run.run_id, lost)
    with pytest.raises(CorruptCheckpointError):
        journal.last_full_blocking("torn 0")


async def test_a_snapshot_too_large_to_keep_is_refused(database: str, settings: object) -> None:
    settings.FLUXIO = {"MAX_PAYLOAD_BYTES": 1000}
    store = DjangoStore(database)
    with pytest.raises(StoreError, match="MAX_PAYLOAD_BYTES"):
        await store.save(checkpoint("large", {"text": "x" * 1001}))
    assert not await store.exists("large")


async def test_a_snapshot_too_large_to_keep_leaves_the_one_before_it(
    database: str, settings: object
) -> None:
    settings.FLUXIO = {"MAX_PAYLOAD_BYTES": 1000}
    store = DjangoStore(using=database)
    await store.save(checkpoint("run", {"n": 1}))
    with pytest.raises(StoreError, match="MAX_PAYLOAD_BYTES"):
        await store.save(checkpoint("run", {"n": "x" * 1000}))
    kept = await store.load("run")
    assert kept is not None
    assert kept.ctx_snapshot == {"n": 1}


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_parameters_bound_by_the_server_work_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connections["postgres"]
    connection.close()
    options = {**connection.settings_dict.get("OPTIONS", {}), "server_side_binding": True}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("bound by the server"))
    given = [row(at, duration=at / 3, full=at == 2) for at in range(1, 4)]
    journal.commit_blocking(claim, commit(*given, status=RunStatus.SUCCEEDED))
    assert journal.rows_blocking("bound by the server", first=1) == given
    connection.close()
