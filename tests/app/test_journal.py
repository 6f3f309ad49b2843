"""A journal over the models: what a commit costs, what comes back, and whose clock counts."""

import math
import random
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fluxio.errors import (
    CorruptCheckpointError,
    LeaseLostError,
    NoCheckpointError,
    RunIDInUseError,
    StoreError,
    StoreUnavailableError,
)
from fluxio.store.base import Claim, OpenMode, Row
from fluxio.testing.conformance.samples import (
    HEIR,
    LEASE_SECONDS,
    MANIFEST,
    PIPELINE,
    VERSION,
    begin,
    commit,
    opening,
    row,
)
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, faults
from fluxio_django.clock import clock_of
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import Checkpoint, Run
from fluxio_django.pieces import AT_ONCE
from fluxio_django.records import moment_of
from tests.rivals import rival_after

COMMITTING = {"default": "UPDATE", "postgres": "WITH", "mariadb": "BEGIN NOT ATOMIC"}
"""How the statement begins in which a commit is proved."""

TRANSACTION_CONTROL = {"BEGIN", "COMMIT", "START", "ROLLBACK", "SAVEPOINT", "RELEASE"}


@pytest.fixture
def journal(database: str) -> DjangoJournal:
    return DjangoStore(database).journal()


def statements(captured: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in captured.captured_queries]


def verbs(captured: CaptureQueriesContext) -> list[str]:
    return [
        word
        for word in (sql.split()[0].upper() for sql in statements(captured))
        if word not in TRANSACTION_CONTROL
    ]


def database_time(alias: str) -> datetime:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {clock_of(connection).now}".replace("%%", "%"))
        found = cursor.fetchone()[0]
    return moment_of(
        found if isinstance(found, datetime) else datetime.fromisoformat(found), connection
    )


# --- what a unit of work costs


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
@pytest.mark.parametrize("rows", [1, 3])
def test_on_postgresql_a_commit_is_one_round_trip(rows: int) -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("one trip"))
    with CaptureQueriesContext(connections["postgres"]) as captured:
        journal.commit_blocking(claim, commit(*(row(1 + at) for at in range(rows))))
    assert len(captured) == 1
    assert len(journal.rows_blocking("one trip")) == 1 + rows


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_on_postgresql_a_step_sends_its_version_once_for_the_run_and_the_row() -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("short"))
    sent = []
    # A branch's step is not where its run goes on.
    for step in (commit(row(1)), commit(row(2), ip=5)):
        with CaptureQueriesContext(connections["postgres"]) as captured:
            journal.commit_blocking(claim, step)
        sent.append(statements(captured)[0].count(VERSION))
    assert sent == [1, 2]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_on_postgresql_a_new_run_of_a_known_version_is_one_round_trip() -> None:
    journal = DjangoStore("postgres").journal()
    journal.open_blocking(opening("the first"))
    with CaptureQueriesContext(connections["postgres"]) as captured:
        journal.open_blocking(opening("the second"))
    assert len(captured) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_on_postgresql_a_claim_brings_the_rows_of_the_newest_state_if_all_are_there() -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("going on"))
    journal.commit_blocking(claim, commit(row(1), row(2, full=True), row(3)))
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    take = replace(opening("going on", OpenMode.TAKE), wants_rows=True)
    taken = journal.open_blocking(take)
    assert list(taken.rows) == journal.rows_blocking("going on", first=2)
    journal.commit_blocking(taken, commit(status=RunStatus.FAILED))
    Checkpoint.objects.using("postgres").filter(sequence=3).delete()
    assert journal.open_blocking(take).rows == ()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_on_postgresql_rows_only_come_from_the_run_the_fence_let_through() -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("fenced"))
    with CaptureQueriesContext(connections["postgres"]) as captured:
        journal.commit_blocking(claim, commit(row(1)))
    sql = statements(captured)[0]
    fence, rows = sql.index('UPDATE "fluxio_django_run"'), sql.index("INSERT INTO")
    assert fence < rows
    assert "FROM proof" in sql[rows:]


def test_the_token_is_proved_by_the_last_statement_of_a_commit(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("last statement"))
    with CaptureQueriesContext(connections[database]) as captured:
        journal.commit_blocking(claim, commit(row(1), row(2)))
    if database == "mariadb":  # which is sent a block, and its last word is whether to commit
        (block,) = statements(captured)
        work = re.findall(r"INSERT|(?<!FOR )UPDATE|IF ROW_COUNT\(\) = 1 THEN COMMIT", block)
        assert work == ["INSERT", "INSERT", "UPDATE", "IF ROW_COUNT() = 1 THEN COMMIT"]
        return
    work = verbs(captured)
    assert work == (["WITH"] if database == "postgres" else ["INSERT", "INSERT", "UPDATE"])


def test_a_change_of_status_is_one_update(journal: DjangoJournal, database: str) -> None:
    claim = journal.open_blocking(opening("status only"))
    with CaptureQueriesContext(connections[database]) as captured:
        journal.commit_blocking(claim, commit(status=RunStatus.CANCELLED))
    assert len(captured) == 1
    assert verbs(captured) == ["UPDATE"]


async def test_a_commit_from_async_code_works_on_the_thread_of_the_caller(
    journal: DjangoJournal, database: str
) -> None:
    claim = await begin(journal, "hops")
    await journal.commit(claim, commit(row(1)))
    assert [one.sequence for one in await journal.rows("hops")] == [0, 1]


# --- what comes back


def some_durations() -> list[float]:
    numbers = random.Random(20260228)
    drawn = [math.ldexp(numbers.random(), numbers.randint(-40, 20)) for _ in range(200)]
    return [0.0, 0.1, 1 / 3, 5e-324, 1e-7, 123456.789, *drawn]


def test_rows_come_back_exactly_as_they_were_given(journal: DjangoJournal, database: str) -> None:
    claim = journal.open_blocking(opening("exact"))
    given = [
        row(
            1 + at,
            duration=duration,
            step="été/☃/'\"\\%s",
            branch="fan_out/a b",
            background=at % 2 == 0,
            full=at % 3 == 0,
            tries=at,
            ip=2**31 - 1 - at,
            created_at=datetime(2026, 1, 1, 0, 0, 0, at % 1_000_000, tzinfo=UTC),
        )
        for at, duration in enumerate(some_durations())
    ]
    journal.commit_blocking(claim, commit(*given))
    assert journal.rows_blocking("exact", first=1) == given


def test_moments_of_any_zone_come_back_as_the_same_moment(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("zones"))
    moment = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=UTC)
    zone = timezone.get_fixed_timezone(timedelta(hours=5, minutes=30))
    journal.commit_blocking(claim, commit(row(1, created_at=moment.astimezone(zone))))
    assert journal.rows_blocking("zones", first=1)[0].created_at == moment


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_moments_mean_the_same_in_projects_without_time_zones(
    journal: DjangoJournal, database: str, settings: object, use_tz: bool, zone: str
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    connections[database].close()
    claim = journal.open_blocking(opening("zoneless"))
    journal.commit_blocking(claim, commit(row(1)))
    assert journal.rows_blocking("zoneless", first=1) == [row(1)]
    record = journal.run_blocking("zoneless")
    lasts = record.lease_expires_at - database_time(database)
    assert timedelta(seconds=LEASE_SECONDS - 10) < lasts <= timedelta(seconds=LEASE_SECONDS)
    assert abs(record.created_at - database_time(database)) < timedelta(seconds=10)
    connections[database].close()


def test_an_error_that_no_text_column_takes_is_kept_escaped(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("ugly error"))
    ending = commit(status=RunStatus.FAILED, error="NUL \x00, half of a pair \ud800, whole 🚀")
    journal.commit_blocking(claim, ending)
    record = journal.run_blocking("ugly error")
    assert record.error == "NUL \\x00, half of a pair \\ud800, whole 🚀"


def test_the_end_of_a_run_frees_owner_and_lease_at_once(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("ended"))
    assert journal.run_blocking("ended").owner == claim.owner
    journal.commit_blocking(claim, commit(row(1), status=RunStatus.SUCCEEDED))
    record = journal.run_blocking("ended")
    assert (record.status, record.owner, record.lease_expires_at) == (
        RunStatus.SUCCEEDED,
        None,
        None,
    )
    assert record.finished_at == record.updated_at


def test_a_run_that_waits_or_is_queued_again_has_not_finished(journal: DjangoJournal) -> None:
    for status in (RunStatus.WAITING, RunStatus.QUEUED):
        claim = journal.open_blocking(opening(status.value))
        journal.commit_blocking(claim, commit(status=status))
        record = journal.run_blocking(status.value)
        assert (record.owner, record.finished_at) == (None, None)


def test_the_start_of_a_run_is_its_first_claim_and_a_restart_begins_anew(
    journal: DjangoJournal, database: str
) -> None:
    runs = Run.objects.using(database)
    claim = journal.open_blocking(opening("times"))
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    first = runs.get(run_id="times")
    claim = journal.open_blocking(opening("times", OpenMode.TAKE))
    assert runs.get(run_id="times").started_at == first.started_at
    assert runs.get(run_id="times").finished_at is None
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    journal.open_blocking(opening("times", OpenMode.RESTART))
    assert runs.get(run_id="times").started_at > first.started_at
    assert runs.get(run_id="times").created_at > first.created_at


def test_a_fork_is_linked_to_the_row_it_comes_from(journal: DjangoJournal) -> None:
    journal.open_blocking(opening("fork", parent="source", parent_sequence=7))
    record = journal.run_blocking("fork")
    assert (record.parent, record.parent_sequence) == ("source", 7)


def test_the_manifest_of_a_version_is_known_after_its_first_run(journal: DjangoJournal) -> None:
    assert journal.manifest_blocking(PIPELINE, VERSION) is None
    journal.open_blocking(opening("first"))
    assert journal.manifest_blocking(PIPELINE, VERSION) == MANIFEST
    assert journal.manifest_blocking(PIPELINE.upper(), VERSION) is None


def test_each_version_of_each_pipeline_has_a_manifest_of_its_own(journal: DjangoJournal) -> None:
    other = replace(MANIFEST, entries=MANIFEST.entries[:1])
    journal.open_blocking(opening("first"))
    journal.open_blocking(opening("second", pipeline="shop.refund", manifest=other))
    journal.open_blocking(opening("third", version="0d1e2f3a4b5c", manifest=other))
    assert journal.manifest_blocking(PIPELINE, VERSION) == MANIFEST
    assert journal.manifest_blocking("shop.refund", VERSION) == other
    assert journal.manifest_blocking(PIPELINE, "0d1e2f3a4b5c") == other


def test_a_version_that_was_rolled_back_is_noted_again(
    journal: DjangoJournal, database: str
) -> None:
    with transaction.atomic(using=database):
        journal.open_blocking(opening("rolled back"))
        transaction.set_rollback(True, using=database)
    assert journal.run_blocking("rolled back") is None
    journal.open_blocking(opening("kept"))
    assert journal.manifest_blocking(PIPELINE, VERSION) == MANIFEST


def test_the_newest_full_row_of_an_unknown_run_is_an_error(journal: DjangoJournal) -> None:
    with pytest.raises(NoCheckpointError):
        journal.last_full_blocking("unknown")
    assert journal.rows_blocking("unknown") == []
    assert journal.run_blocking("unknown") is None


def test_a_row_of_a_kind_that_does_not_exist_is_damaged(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("strange"))
    journal.commit_blocking(claim, commit(row(1)))
    Checkpoint.objects.using(database).filter(sequence=1).update(kind="stroll")
    with pytest.raises(CorruptCheckpointError, match="of an unknown kind") as refused:
        journal.rows_blocking("strange")
    assert (refused.value.run_id, refused.value.sequence) == ("strange", 1)
    assert len(journal.rows_blocking("strange", last=0)) == 1


def test_rows_are_read_between_two_sequences(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("part"))
    journal.commit_blocking(claim, commit(row(1), row(2, full=True), row(3), row(4)))
    assert [one.sequence for one in journal.rows_blocking("part", first=2, last=3)] == [2, 3]
    assert journal.last_full_blocking("part") == 2
    assert journal.last_full_blocking("part", upto=1) == 0


# --- whose clock counts


def test_leases_go_by_the_clock_of_the_database_alone(
    journal: DjangoJournal, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in (-3600.0, 3600.0):
        run_id = f"skewed {offset}"
        really = time.time()
        monkeypatch.setattr(time, "time", lambda now=really + offset: now)
        monkeypatch.setattr(
            timezone, "now", lambda now=really + offset: datetime.fromtimestamp(now, UTC)
        )
        claim = journal.open_blocking(opening(run_id))
        with pytest.raises(RunIDInUseError):
            journal.open_blocking(opening(run_id, OpenMode.TAKE, owner=HEIR))
        for _ in range(2):
            lasts = journal.run_blocking(run_id).lease_expires_at - database_time(database)
            assert timedelta(seconds=25) < lasts <= timedelta(seconds=LEASE_SECONDS)
            journal.commit_blocking(claim, commit(row(journal.run_blocking(run_id).head + 1)))
        monkeypatch.undo()


def test_a_commit_extends_the_lease(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("extended", lease_seconds=5.0))
    before = journal.run_blocking("extended").lease_expires_at
    journal.commit_blocking(replace(claim, lease_seconds=50.0), commit(row(1)))
    assert journal.run_blocking("extended").lease_expires_at > before + timedelta(seconds=40)


# --- refusals


def test_who_saw_a_run_before_somebody_else_took_and_lost_it_takes_nothing_over(
    journal: DjangoJournal, database: str
) -> None:
    """Two messages for one lost run are two workers; only one takeover may come of them."""

    def lost() -> None:
        assert Run.objects.using(database).update(lease_expires_at="2020-01-01T00:00Z") == 1

    def takeovers() -> int:
        return Run.objects.using(database).get().takeovers

    journal.open_blocking(opening("r"))
    lost()
    known = journal.run_blocking("r")
    journal.open_blocking(opening("r", OpenMode.TAKE, known=known))
    lost()
    with pytest.raises(RunIDInUseError, match="since it was looked at"):
        journal.open_blocking(opening("r", OpenMode.TAKE, known=known))
    assert takeovers() == 1
    journal.open_blocking(opening("r", OpenMode.TAKE, known=journal.run_blocking("r")))
    assert takeovers() == 2


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["default", "mariadb"])
@pytest.mark.parametrize("alias", ["default", "mariadb"])
def test_a_claim_that_was_taken_over_before_it_could_read_the_run_is_none(alias: str) -> None:
    """Where a claim does not tell how the run stands then, it is looked at again."""
    journal = DjangoStore(alias).journal()
    journal.open_blocking(opening("r", lease_seconds=-1))
    heirs = []

    def take_over() -> None:
        Run.objects.using(alias).update(lease_expires_at="2020-01-01T00:00Z")
        heirs.append(journal.open_blocking(opening("r", OpenMode.TAKE, owner=HEIR)))

    with rival_after(alias, take_over, kind="UPDATE"), pytest.raises(RunIDInUseError):
        journal.open_blocking(opening("r", OpenMode.TAKE))
    journal.commit_blocking(heirs[0], commit(row(1)))


def test_a_run_that_its_caller_has_seen_is_looked_at_again_only_if_somebody_may_hold_it(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("r"))
    running = journal.run_blocking("r")
    with CaptureQueriesContext(connections[database]) as captured, pytest.raises(RunIDInUseError):
        journal.open_blocking(opening("r", OpenMode.TAKE, known=running))
    assert verbs(captured) == ["SELECT"]
    journal.commit_blocking(claim, commit(status=RunStatus.FAILED))
    failed = journal.run_blocking("r")
    with CaptureQueriesContext(connections[database]) as captured:
        journal.open_blocking(opening("r", OpenMode.TAKE, known=failed))
    assert verbs(captured) == ["WITH" if database == "postgres" else "UPDATE"]


def test_rows_that_do_not_follow_the_newest_one_are_refused(journal: DjangoJournal) -> None:
    claim = journal.open_blocking(opening("gap"))
    journal.commit_blocking(claim, commit(row(1)))
    for rows in ([row(1)], [row(3)], [row(2), row(4)]):
        with pytest.raises(StoreError, match="go on at"):
            journal.commit_blocking(claim, commit(*rows))
    assert [one.sequence for one in journal.rows_blocking("gap")] == [0, 1]


def test_a_lost_commit_takes_back_the_rows_it_had_begun_to_write(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("stolen"))
    stranger = replace(claim, token=claim.token + 1)
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(stranger, commit(row(1)))
    assert Checkpoint.objects.using(database).count() == 1
    with transaction.atomic(using=database):
        with pytest.raises(LeaseLostError):
            journal.commit_blocking(stranger, commit(row(1)))
        assert Checkpoint.objects.using(database).count() == 1
    assert Checkpoint.objects.using(database).count() == 1


def test_a_row_that_is_too_large_is_refused_before_the_database_sees_it(
    journal: DjangoJournal, settings: object, django_assert_num_queries: Callable, database: str
) -> None:
    claim = journal.open_blocking(opening("large"))
    settings.FLUXIO = {"MAX_PAYLOAD_BYTES": 1000}
    large = row(1, payload="x" * 1001, step="load")
    with (
        django_assert_num_queries(0, connection=connections[database]),
        pytest.raises(StoreError, match=r"'load' of run 'large' is 1,001 bytes"),
    ):
        journal.commit_blocking(claim, commit(large))
    journal.commit_blocking(claim, commit(row(1, payload="x" * 1000)))


@pytest.mark.parametrize("together", [True, False], ids=["a transaction", "alone"])
def test_large_rows_are_kept_whatever_they_are_made_of(
    journal: DjangoJournal, database: str, together: bool
) -> None:
    claim = journal.open_blocking(opening("large"))
    # Quoted by the driver, the first would be larger than what MariaDB takes at once.
    given = [row(1, payload='"' * 9_000_000), row(2, payload="x"), row(3, payload="'" * 2_000_000)]
    with transaction.atomic(using=database) if together else nullcontext():
        journal.commit_blocking(claim, commit(*given))
    kept = journal.rows_blocking("large", first=1)
    assert [each.payload == one.payload for each, one in zip(kept, given, strict=True)] == [
        True
    ] * 3
    journal.commit_blocking(claim, commit(row(4)))


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_a_row_goes_in_pieces_only_if_it_is_larger_than_one() -> None:
    journal = DjangoStore("mariadb").journal()
    claim = journal.open_blocking(opening("large"))
    sent = []
    for sequence, size in enumerate((AT_ONCE, AT_ONCE + 1), start=1):
        with CaptureQueriesContext(connections["mariadb"]) as captured:
            journal.commit_blocking(claim, commit(row(sequence, payload="x" * size)))
        sent.append(len(captured))
    assert sent == [1, 1 + 3]  # a variable that is made, and two pieces


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
@pytest.mark.parametrize("together", [True, False], ids=["a transaction", "alone"])
def test_nothing_of_a_large_row_that_was_refused_stays_in_the_session(together: bool) -> None:
    journal = DjangoStore("mariadb").journal()
    claim = journal.open_blocking(opening("large"))
    journal.commit_blocking(claim, commit(row(1)))
    twice = row(1, payload="x" * 3_000_000)
    with (
        transaction.atomic(using="mariadb") if together else nullcontext(),
        pytest.raises(StoreError, match="row"),
    ):
        journal.commit_blocking(claim, commit(row(0), twice))
    with connections["mariadb"].cursor() as cursor:
        cursor.execute("SELECT @fluxio_payload_0")
        assert cursor.fetchone() == (None,)
    journal.commit_blocking(claim, commit(row(2)))


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
@pytest.mark.parametrize("together", [True, False], ids=["a transaction", "alone"])
def test_a_row_that_is_larger_than_the_server_takes_is_refused_with_the_remedy(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxio_django.journal.check_rows", lambda run_id, rows: None)
    journal = DjangoStore("mariadb").journal()
    claim = journal.open_blocking(opening("large"))
    with connections["mariadb"].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (limit,) = cursor.fetchone()
    with (
        transaction.atomic(using="mariadb") if together else nullcontext(),
        pytest.raises(StoreError, match=r"more than database 'mariadb' takes.*max_allowed_packet"),
    ):
        journal.commit_blocking(claim, commit(row(1, payload="x" * (limit + 1))))
    assert rows_of(journal, "large") == []
    journal.commit_blocking(claim, commit(row(1)))


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_a_large_row_for_a_server_that_is_gone_is_a_store_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, connection = DjangoStore("mariadb").journal(), connections["mariadb"]
    connection.close()
    # As between two requests: whether the connection still works is looked at when it is needed.
    kept = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    for name, value in kept.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    claim = journal.open_blocking(opening("large"))
    cut("mariadb")
    connection.close_if_unusable_or_obsolete()
    with monkeypatch.context() as away, pytest.raises(StoreUnavailableError):
        away.setitem(connection.settings_dict, "PORT", "1")
        journal.commit_blocking(claim, commit(row(1, payload="x" * 3_000_000)))
    assert rows_of(journal, "large") == []
    journal.commit_blocking(claim, commit(row(1)))
    connection.close()


def test_a_name_that_fits_no_column_is_a_store_error(journal: DjangoJournal, database: str) -> None:
    if database == "default":
        pytest.skip("SQLite takes texts of any length")
    with pytest.raises(StoreError, match="does not fit its column"):
        journal.open_blocking(opening("long name", pipeline="p" * 201))
    assert journal.run_blocking("long name") is None


# --- databases that fail


class Breaking:
    """An execute wrapper that breaks statements, before or after the server has done them."""

    def __init__(self, verb: str, *, after: bool, times: int = 1) -> None:
        self.verb, self.after, self.left = verb, after, times

    def __call__(self, execute: Callable, sql: str, params: object, many: bool, ctx: dict):
        if self.left == 0 or not sql.startswith(self.verb):
            return execute(sql, params, many, ctx)
        self.left -= 1
        if self.after:
            execute(sql, params, many, ctx)
        raise OperationalError("the connection was lost")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "wait", lambda seconds: None)


@pytest.fixture
def lose_the_answer_to_commit(database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the server commit once, by one statement or block or by COMMIT, and lose its answer."""
    connection = connections[database]
    breaking = Breaking("WITH" if database == "postgres" else "BEGIN NOT", after=True)
    commit_for_real = connection._commit

    def commit_and_fail() -> None:
        commit_for_real()
        if breaking.left:
            breaking.left -= 1
            raise OperationalError("the connection was lost")

    def lose() -> None:
        monkeypatch.setattr(connection, "execute_wrappers", [breaking])
        monkeypatch.setattr(connection, "_commit", commit_and_fail)

    return lose


def rows_of(journal: DjangoJournal, run_id: str) -> list[Row]:
    return journal.rows_blocking(run_id, first=1)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_commit_whose_answer_was_lost_is_found_and_counts(
    journal: DjangoJournal, lose_the_answer_to_commit: Callable, rows: int
) -> None:
    claim = journal.open_blocking(opening("answer lost"))
    given = [row(1 + at) for at in range(rows)]
    lose_the_answer_to_commit()
    journal.commit_blocking(claim, commit(*given))
    assert rows_of(journal, "answer lost") == given
    journal.commit_blocking(claim, commit(row(1 + rows)))


def test_the_end_of_a_run_whose_answer_was_lost_counts(
    journal: DjangoJournal, lose_the_answer_to_commit: Callable
) -> None:
    claim = journal.open_blocking(opening("end lost"))
    lose_the_answer_to_commit()
    journal.commit_blocking(claim, commit(row(1), status=RunStatus.SUCCEEDED))
    assert journal.run_blocking("end lost").status is RunStatus.SUCCEEDED


def test_a_change_of_status_whose_answer_was_lost_counts(
    journal: DjangoJournal, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = journal.open_blocking(opening("status lost"))
    breaking = Breaking("UPDATE", after=True)
    with connections[database].execute_wrapper(breaking):
        journal.commit_blocking(claim, commit(status=RunStatus.CANCELLED))
    assert breaking.left == 0
    assert journal.run_blocking("status lost").status is RunStatus.CANCELLED


def test_a_commit_that_never_reached_the_database_is_made_once(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("never arrived"))
    breaking = Breaking(COMMITTING[database], after=False, times=2)
    with connections[database].execute_wrapper(breaking):
        journal.commit_blocking(claim, commit(row(1)))
    assert breaking.left == 0
    assert rows_of(journal, "never arrived") == [row(1)]


def test_a_takeover_behind_a_lost_answer_is_not_mistaken_for_success(
    journal: DjangoJournal,
    database: str,
    lose_the_answer_to_commit: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = journal.open_blocking(opening("overtaken", lease_seconds=-1.0))

    def be_overtaken(seconds: float) -> None:
        journal.open_blocking(opening("overtaken", OpenMode.TAKE, owner=HEIR))

    monkeypatch.setattr(faults, "wait", be_overtaken)
    lose_the_answer_to_commit()
    with pytest.raises(LeaseLostError):
        journal.commit_blocking(claim, commit(row(1)))


@pytest.mark.parametrize("rows", [[], [row(1)]], ids=["no row", "a row"])
def test_a_run_deleted_behind_a_lost_answer_is_gone_and_no_success(
    journal: DjangoJournal,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[Row],
) -> None:
    claim = journal.open_blocking(opening("deleted"))
    store = DjangoStore(database)
    monkeypatch.setattr(faults, "wait", lambda seconds: store.delete_blocking("deleted"))
    kind = COMMITTING[database] if rows else "UPDATE"
    breaking = Breaking(kind, after=True)
    ending = commit(*rows, status=RunStatus.SUCCEEDED)
    with (
        connections[database].execute_wrapper(breaking),
        pytest.raises(LeaseLostError, match="it was deleted"),
    ):
        journal.commit_blocking(claim, ending)
    assert breaking.left == 0
    assert journal.run_blocking("deleted") is None


@pytest.mark.parametrize("mode", list(OpenMode))
def test_a_claim_whose_answer_was_lost_is_ours_after_all(
    journal: DjangoJournal, lose_the_answer_to_commit: Callable, mode: OpenMode
) -> None:
    journal.open_blocking(opening("notes the version"))
    if mode is not OpenMode.CREATE:
        old = journal.open_blocking(opening("claimed"))
        journal.commit_blocking(old, commit(row(1), status=RunStatus.FAILED))
    lose_the_answer_to_commit()
    claim = journal.open_blocking(opening("claimed", mode))
    assert claim.head == (1 if mode is OpenMode.TAKE else 0)
    assert journal.run_blocking("claimed").token == claim.token
    journal.commit_blocking(claim, commit(row(claim.head + 1)))


def test_a_claim_that_a_thread_of_our_own_process_made_meanwhile_is_not_taken_for_ours(
    journal: DjangoJournal, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.open_blocking(opening("notes the version"))
    rivals: list[Claim] = []

    def lose_to_the_rival(seconds: float) -> None:
        rivals.append(journal.open_blocking(opening("racing")))

    monkeypatch.setattr(faults, "wait", lose_to_the_rival)
    beginning = {**COMMITTING, "default": "INSERT"}
    breaking = Breaking(beginning[database], after=False)
    with connections[database].execute_wrapper(breaking), pytest.raises(RunIDInUseError):
        journal.open_blocking(opening("racing"))
    journal.commit_blocking(rivals[0], commit(row(1)))


def test_a_database_that_stays_away_is_a_store_error(journal: DjangoJournal, database: str) -> None:
    claim = journal.open_blocking(opening("down"))
    away = Breaking("", after=False, times=-1)
    with connections[database].execute_wrapper(away):
        for work in (
            lambda: journal.commit_blocking(claim, commit(row(1))),
            lambda: journal.open_blocking(opening("another")),
            lambda: journal.run_blocking("down"),
            lambda: journal.rows_blocking("down"),
            lambda: journal.leasing.renew([claim]),
        ):
            with pytest.raises(StoreError, match="the connection was lost"):
                work()
    journal.commit_blocking(claim, commit(row(1)))


def cut(database: str) -> None:
    """Have the server end our connection, as a restart of it would."""
    connection = connections[database]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_backend_pid()" if database == "postgres" else "SELECT connection_id()"
        )
        session = cursor.fetchone()[0]
    other = connection.copy()
    with other.cursor() as cursor:
        end = "SELECT pg_terminate_backend(%s)" if database == "postgres" else "KILL %s"
        cursor.execute(end, [session])
    other.close()


def test_a_connection_that_the_server_closed_is_opened_again(
    journal: DjangoJournal, database: str
) -> None:
    if database == "default":
        pytest.skip("SQLite has no server")
    claim = journal.open_blocking(opening("cut"))
    cut(database)
    journal.commit_blocking(claim, commit(row(1)))
    cut(database)
    assert rows_of(journal, "cut") == [row(1)]
    cut(database)
    assert journal.transactions.run_blocking(claim, lambda: ("done", commit(row(2)))) == "done"
    cut(database)
    journal.leasing.renew([claim])


def test_a_writer_in_the_way_on_sqlite_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    journal = DjangoStore("default").journal()
    claim = journal.open_blocking(opening("in the way"))
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 0")
    other = connections["default"].copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(faults, "wait", lambda seconds: cursor.execute("ROLLBACK"))
        kept = connections["default"].connection
        journal.commit_blocking(claim, commit(row(1)))
        assert connections["default"].connection is kept
    other.close()
    connections["default"].close()
    assert rows_of(journal, "in the way") == [row(1)]


def test_nothing_is_tried_again_inside_a_transaction_of_the_caller(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("enclosed"))
    breaking = Breaking("WITH" if database == "postgres" else "UPDATE", after=False, times=-1)
    with transaction.atomic(using=database):
        with connections[database].execute_wrapper(breaking), pytest.raises(StoreError):
            journal.commit_blocking(claim, commit(row(1)))
        assert not connections[database].closed_in_transaction
        transaction.set_rollback(True, using=database)
    assert breaking.left == -2
    assert rows_of(journal, "enclosed") == []


def test_missing_tables_are_named_with_the_command_that_makes_them() -> None:
    error = faults.store_error("default", OperationalError("no such table: fluxio_django_run"))
    assert "manage.py migrate" in str(error)
