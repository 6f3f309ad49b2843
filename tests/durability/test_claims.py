"""Of all who want a run, one is let in; whoever lost it can never write again."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest
from asgiref.sync import async_to_sync
from django.db import connections, transaction
from django.db.models import F

from fluxio.errors import (
    CheckpointVersionError,
    ForeignRunError,
    LeaseLostError,
    NoCheckpointError,
    RunIDInUseError,
    StoreError,
)
from fluxio.runtime.owner import own_identity
from fluxio.store.base import Claim, Opening, OpenMode
from fluxio.testing.conformance.samples import (
    HEIR,
    OTHER_MANIFEST,
    OTHER_VERSION,
    commit,
    opening,
    row,
    start_row,
)
from fluxio.types import RunStatus
from fluxio_django import DjangoStore
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import PipelineVersion, Run
from fluxio_django.tables import Tables
from tests.rivals import rival_after

ROOT = Path(__file__).resolve().parents[2]
THREADS = 16
EXPIRED = -1.0
"""A lease of this many seconds has expired when it is given."""

Result = TypeVar("Result")


@pytest.fixture
def journal(database: str) -> DjangoJournal:
    return DjangoStore(database).journal()


@pytest.fixture
def together(database: str) -> Callable[[list[Callable[[], Result]]], list[Result]]:
    """Call functions at the same moment, each in a thread that closes its connection after."""

    def call(functions: list[Callable[[], Result]]) -> list[Result]:
        start = Barrier(len(functions))

        def one(function: Callable[[], Result]) -> Result:
            start.wait()
            try:
                return function()
            finally:
                connections[database].close()

        with ThreadPoolExecutor(len(functions)) as pool:
            return list(pool.map(one, functions))

    return call


def outcome(open_run: Callable[[Opening], Claim], wish: Opening) -> Claim | RunIDInUseError:
    try:
        return open_run(wish)
    except RunIDInUseError as refusal:
        return refusal


def abandoned(journal: DjangoJournal, run_id: str, lease_seconds: float = EXPIRED) -> Claim:
    """A claim whose owner does not come back."""
    return journal.open_blocking(opening(run_id, lease_seconds=lease_seconds))


def heir(run_id: str, mode: OpenMode = OpenMode.TAKE, **facts: object) -> Opening:
    return opening(run_id, mode, owner=HEIR, **facts)


@pytest.mark.parametrize("mode", list(OpenMode))
def test_of_sixteen_threads_that_want_a_run_exactly_one_gets_it(
    journal: DjangoJournal, together: Callable, mode: OpenMode
) -> None:
    for number in range(8):
        run_id = f"contended-{number}"
        if mode is OpenMode.TAKE:
            claim = journal.open_blocking(opening(run_id))
            journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
        wish = opening(run_id, mode)
        found = together([lambda wish=wish: outcome(journal.open_blocking, wish)] * THREADS)
        winners = [one for one in found if isinstance(one, Claim)]
        losers = [one for one in found if isinstance(one, RunIDInUseError)]
        assert (len(winners), len(losers)) == (1, THREADS - 1)
        journal.commit_blocking(winners[0], commit(row(1)))


def test_of_sixteen_heirs_of_an_expired_lease_exactly_one_takes_over(
    journal: DjangoJournal, together: Callable
) -> None:
    for number in range(8):
        run_id = f"orphan-{number}"
        abandoned(journal, run_id)
        wish = heir(run_id)
        found = together([lambda wish=wish: outcome(journal.open_blocking, wish)] * THREADS)
        assert [isinstance(one, Claim) for one in found].count(True) == 1
        assert journal.run_blocking(run_id).takeovers == 1


PROCESS = """
import sys, django; django.setup()
from fluxio.errors import RunIDInUseError
from fluxio.testing.conformance.samples import opening
from fluxio_django import DjangoStore
journal = DjangoStore(sys.argv[1]).journal()
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    try:
        journal.open_blocking(opening(f"shared-{number}"))
    except RunIDInUseError:
        print("refused", number)
    else:
        print("won", number)
"""


def test_of_two_processes_that_want_the_same_runs_each_run_is_won_once(database: str) -> None:
    total = 200
    command = [sys.executable, "-c", PROCESS, database, str(total)]
    pair = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    for process in pair:
        assert process.stdout.readline() == "ready\n"
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[0].split("\n") for process in pair]
    won = [line for lines in said for line in lines if line.startswith("won")]
    refused = [line for lines in said for line in lines if line.startswith("refused")]
    assert sorted(won) == sorted(f"won {number}" for number in range(total))
    assert sorted(refused) == sorted(f"refused {number}" for number in range(total))


def test_a_run_that_is_executed_names_its_owner_and_the_end_of_its_lease(
    journal: DjangoJournal,
) -> None:
    claim = journal.open_blocking(opening("held"))
    for mode in OpenMode:
        with pytest.raises(RunIDInUseError) as refused:
            journal.open_blocking(heir("held", mode))
        assert refused.value.owner == claim.owner
        assert claim.owner in str(refused.value)
        assert refused.value.lease_expires_at == journal.run_blocking("held").lease_expires_at


def test_the_old_owner_cannot_commit_after_a_takeover(journal: DjangoJournal) -> None:
    old = abandoned(journal, "taken over")
    new = journal.open_blocking(heir("taken over"))
    with pytest.raises(LeaseLostError) as lost:
        journal.commit_blocking(old, commit(row(1)))
    assert (lost.value.run_id, lost.value.token) == ("taken over", old.token)
    assert len(journal.rows_blocking("taken over")) == 1
    journal.commit_blocking(new, commit(row(1, step="of the heir")))
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(row(1)))
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(row(2)))
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(status=RunStatus.FAILED))
    assert [one.step for one in journal.rows_blocking("taken over")] == ["", "of the heir"]
    assert journal.run_blocking("taken over").status is RunStatus.RUNNING


def test_an_expired_lease_that_nobody_took_can_still_commit_and_lives_again(
    journal: DjangoJournal,
) -> None:
    late = abandoned(journal, "late")
    journal.commit_blocking(renewed(late, 30.0), commit(row(1)))
    with pytest.raises(RunIDInUseError):
        journal.open_blocking(heir("late"))


def test_a_takeover_finds_the_row_that_was_committed_at_the_last_moment(
    journal: DjangoJournal, database: str
) -> None:
    old = abandoned(journal, "last moment")
    runs = Tables(database).runs
    seen = runs.seen("last moment")
    journal.commit_blocking(old, commit(row(1)))
    taken = runs.take(seen, heir("last moment"), old.token + 1, owner_is_dead=False)
    assert (seen.record.head, taken.record.head) == (0, 1)


def test_a_takeover_counts_and_a_wish_to_go_on_begins_to_count_anew(
    journal: DjangoJournal,
) -> None:
    abandoned(journal, "unlucky")
    for expected in (1, 2):
        claim = journal.open_blocking(heir("unlucky", lease_seconds=EXPIRED))
        assert claim.previous is RunStatus.RUNNING
        assert journal.run_blocking("unlucky").takeovers == expected
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    claim = journal.open_blocking(heir("unlucky"))
    assert claim.previous is RunStatus.FAILED
    assert journal.run_blocking("unlucky").takeovers == 0


def test_the_lease_of_a_process_that_is_gone_need_not_be_waited_for(
    journal: DjangoJournal, database: str
) -> None:
    child = subprocess.run(
        [sys.executable, "-c", "from fluxio.runtime.owner import *; print(own_identity())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    journal.open_blocking(opening("of the dead", owner=child.stdout.strip()))
    assert Tables(database).runs.seen("of the dead").held
    claim = journal.open_blocking(heir("of the dead"))
    assert claim.previous is RunStatus.RUNNING
    assert journal.run_blocking("of the dead").takeovers == 1


def test_the_lease_of_a_process_that_lives_is_kept(journal: DjangoJournal) -> None:
    journal.open_blocking(opening("of the living", owner=own_identity()))
    with pytest.raises(RunIDInUseError):
        journal.open_blocking(heir("of the living"))


def test_a_restart_keeps_the_run_and_its_token_grows(journal: DjangoJournal, database: str) -> None:
    old = abandoned(journal, "again")
    journal.commit_blocking(old, commit(row(1), row(2)))
    kept = Run.objects.using(database).get(run_id="again").pk
    new = journal.open_blocking(heir("again", OpenMode.RESTART))
    assert Run.objects.using(database).get(run_id="again").pk == kept
    assert new.token > old.token
    assert journal.rows_blocking("again") == [start_row("again")]
    record = journal.run_blocking("again")
    assert (record.head, record.ip, record.takeovers, record.step) == (0, 0, 0, "reserve")
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(row(1)))


def test_a_run_made_again_after_its_deletion_is_not_the_old_owners(
    journal: DjangoJournal, database: str
) -> None:
    old = journal.open_blocking(opening("phoenix"))
    DjangoStore(database).delete_blocking("phoenix")
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(row(1)))
    new = journal.open_blocking(opening("phoenix"))
    assert new.token != old.token
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(old, commit(row(1)))


@pytest.mark.parametrize("mode", list(OpenMode))
def test_a_run_of_another_pipeline_is_left_as_it_is(journal: DjangoJournal, mode: OpenMode) -> None:
    claim = abandoned(journal, "theirs")
    journal.commit_blocking(claim, commit(row(1)))
    before = journal.run_blocking("theirs"), journal.rows_blocking("theirs")
    with pytest.raises(ForeignRunError, match=r"shop\.checkout") as refused:
        journal.open_blocking(heir("theirs", mode, pipeline="orders.refund"))
    assert refused.value.pipeline == "shop.checkout"
    assert (journal.run_blocking("theirs"), journal.rows_blocking("theirs")) == before


def test_a_run_recorded_by_other_code_is_refused_with_the_stages_that_changed(
    journal: DjangoJournal,
) -> None:
    claim = journal.open_blocking(opening("old code"))
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    wish = heir("old code", version=OTHER_VERSION, manifest=OTHER_MANIFEST)
    with pytest.raises(CheckpointVersionError) as refused:
        journal.open_blocking(wish)
    assert refused.value.stored == claim_version(journal, "old code")
    assert refused.value.changes[0].startswith("changed: pick/premium/charge")
    assert journal.run_blocking("old code").token == claim.token


def claim_version(journal: DjangoJournal, run_id: str) -> str:
    return journal.run_blocking(run_id).version


@pytest.mark.parametrize("mode", [OpenMode.TAKE, OpenMode.RESTART])
def test_a_run_that_never_stands_still_is_refused_after_ten_looks_and_left_alone(
    journal: DjangoJournal, database: str, mode: OpenMode
) -> None:
    journal.commit_blocking(abandoned(journal, "restless"), commit(status=RunStatus.FAILED))

    def change() -> None:
        Run.objects.using(database).filter(run_id="restless").update(token=F("token") + 1)

    with rival_after(database, change, times=10) as looks:
        with pytest.raises(StoreError, match=r"changed 10 times .* Try again"):
            journal.open_blocking(heir("restless", mode))
        assert len(looks) == 10
    assert journal.run_blocking("restless").status is RunStatus.FAILED
    assert journal.rows_blocking("restless") == [start_row("restless")]
    claim = journal.open_blocking(heir("restless", mode))
    journal.commit_blocking(claim, commit(row(1)))


def test_who_hears_of_his_claim_when_an_heir_has_the_run_does_not_get_it(
    journal: DjangoJournal, database: str
) -> None:
    journal.commit_blocking(abandoned(journal, "slow answer"), commit(status=RunStatus.FAILED))
    heirs: list[Claim] = []

    def take_over() -> None:
        heirs.append(journal.open_blocking(heir("slow answer")))

    claiming = "WITH" if database == "postgres" else "UPDATE"
    late = opening("slow answer", OpenMode.TAKE, lease_seconds=EXPIRED)
    with rival_after(database, take_over, kind=claiming), pytest.raises(RunIDInUseError) as refused:
        journal.open_blocking(late)
    assert refused.value.owner == HEIR
    journal.commit_blocking(heirs[0], commit(row(1)))


def test_who_hears_late_of_his_claim_gets_it_where_nobody_else_has_the_run(
    journal: DjangoJournal,
) -> None:
    journal.commit_blocking(abandoned(journal, "in time"), commit(status=RunStatus.FAILED))
    claim = journal.open_blocking(heir("in time", lease_seconds=EXPIRED))
    journal.commit_blocking(claim, commit(row(1)))


@pytest.mark.parametrize("mode", [OpenMode.CREATE, OpenMode.RESTART])
def test_a_run_to_be_created_needs_a_start_row(journal: DjangoJournal, mode: OpenMode) -> None:
    async def open_in_loop(wish: Opening) -> Claim:
        return await journal.open(wish)

    without = replace(opening("headless", mode), start=None)
    for open_run in (journal.open_blocking, async_to_sync(open_in_loop)):
        with pytest.raises(ValueError, match="needs a start row"):
            open_run(without)
    assert journal.run_blocking("headless") is None


def test_taking_an_unknown_run_leaves_nothing_behind(journal: DjangoJournal, database: str) -> None:
    with pytest.raises(NoCheckpointError):
        journal.open_blocking(heir("nobody's"))
    assert not Run.objects.using(database).exists()


def test_sixteen_threads_note_a_new_version_once(
    journal: DjangoJournal, database: str, together: Callable
) -> None:
    wishes = [opening(f"first of its kind {number}") for number in range(THREADS)]
    together([lambda wish=wish: journal.open_blocking(wish) for wish in wishes])
    assert PipelineVersion.objects.using(database).count() == 1


def test_only_the_leases_that_still_hold_are_renewed(journal: DjangoJournal, database: str) -> None:
    kept, lost = (abandoned(journal, run_id, 1.0) for run_id in ("kept", "lost"))
    Run.objects.using(database).filter(run_id="lost").update(token=lost.token + 1)
    before = {run_id: lease_of(journal, run_id) for run_id in ("kept", "lost")}
    longer = [renewed(claim, 60.0) for claim in (kept, lost)]
    journal.leasing.renew(longer)
    assert lease_of(journal, "kept") > before["kept"]
    assert lease_of(journal, "lost") == before["lost"]


def test_a_thousand_leases_are_renewed_in_few_statements(
    journal: DjangoJournal, django_assert_max_num_queries: Callable, database: str
) -> None:
    claim = journal.open_blocking(opening("one of many"))
    others = [renewed(claim, 60.0, run_id=f"not there {number}") for number in range(999)]
    with django_assert_max_num_queries(50, connection=connections[database]):
        journal.leasing.renew([*others, renewed(claim, 60.0)])
    assert lease_of(journal, "one of many") is not None


def test_a_renewal_in_a_thread_of_its_own_leaves_no_connection_behind(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("heartbeat"))

    def beat() -> bool:
        journal.leasing.renew([claim])
        return connections[database].connection is None

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(beat).result()
    assert connections[database].connection is not None


def test_a_run_that_somebody_has_locked_does_not_hold_up_the_other_leases(
    journal: DjangoJournal, database: str, together: Callable
) -> None:
    if not connections[database].features.has_select_for_update_skip_locked:
        pytest.skip("SQLite locks the whole file, never a row")
    locked, free = (abandoned(journal, run_id, 1.0) for run_id in ("locked", "free"))
    before = lease_of(journal, "free")
    claims = [renewed(claim, 60.0) for claim in (locked, free)]

    def renew_impatiently() -> None:
        # Should it wait for the lock after all, it fails instead of waiting for ever.
        limit = "lock_timeout = '1s'" if database == "postgres" else "innodb_lock_wait_timeout = 1"
        with connections[database].cursor() as cursor:
            cursor.execute(f"SET {limit}")
        journal.leasing.renew(claims)

    with transaction.atomic(using=database):
        Run.objects.using(database).select_for_update().get(run_id="locked")
        together([renew_impatiently])
    assert lease_of(journal, "free") > before


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_run_that_a_row_of_the_project_refers_to_is_renewed_and_handed_over() -> None:
    journal = DjangoStore("postgres").journal()
    claim = abandoned(journal, "referred to", 1.0)
    before = lease_of(journal, "referred to")
    runs = Tables("postgres").runs
    runs.create(run_id="queued", status="queued", pipeline="p", version="v", due_at=before)
    referring = connections["postgres"].copy()
    try:
        referring.set_autocommit(False)
        with referring.cursor() as cursor:  # the lock that a new row takes by its foreign key
            cursor.execute("SELECT id FROM fluxio_django_run FOR KEY SHARE")
        journal.leasing.renew([renewed(claim, 60.0)])
        due = runs.filter(run_id="queued")
        assert [ticket.run_id for ticket in runs.hand_over(due, limit=1)] == ["queued"]
    finally:
        referring.close()
    assert lease_of(journal, "referred to") > before


def lease_of(journal: DjangoJournal, run_id: str) -> datetime:
    expiry = journal.run_blocking(run_id).lease_expires_at
    assert expiry is not None
    return expiry


def renewed(claim: Claim, lease_seconds: float, run_id: str | None = None) -> Claim:
    return replace(claim, lease_seconds=lease_seconds, run_id=run_id or claim.run_id)
