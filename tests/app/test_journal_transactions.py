"""A transactional stage's own writes and its row are one transaction, or there is neither."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import (
    Error,
    IntegrityError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from django.test.utils import CaptureQueriesContext
from psycopg.sql import SQL, Literal

from fluxio.errors import (
    LeaseLostError,
    StoreError,
    StoreUnavailableError,
    TransactionRefusedError,
)
from fluxio.store.base import Claim, Commit, OpenMode
from fluxio.testing.conformance.samples import HEIR, commit, opening, row
from fluxio.types import RunStatus
from fluxio_django import DjangoStore, faults
from fluxio_django.clock import DatabaseTime
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import Run
from fluxio_django.tables import Tables


@pytest.fixture
def journal(database: str) -> DjangoJournal:
    return DjangoStore(database).journal()


@pytest.fixture
def claim(journal: DjangoJournal) -> Claim:
    return journal.open_blocking(opening("ledger"))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "wait", lambda seconds: None)


class Stage:
    """A stage that books something, and then gives a result, raises, or is overtaken."""

    def __init__(self, database: str, then: Callable[[], object] = lambda: None) -> None:
        self.database, self.then, self.calls = database, then, 0

    def __call__(self) -> tuple[str, Commit]:
        self.calls += 1
        Group.objects.using(self.database).create(name=f"booked {self.calls}")
        self.then()
        return "booked", commit(row(1))

    @property
    def booked(self) -> int:
        return Group.objects.using(self.database).count()


def recorded(journal: DjangoJournal) -> int:
    return len(journal.rows_blocking("ledger", first=1))


def test_the_writes_of_a_stage_and_its_row_commit_together(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    stage = Stage(database)
    with CaptureQueriesContext(connections[database]) as captured:
        assert journal.transactions.run_blocking(claim, stage) == "booked"
    assert (stage.booked, recorded(journal)) == (1, 1)
    work = [
        query["sql"]
        for query in captured.captured_queries
        if query["sql"].split()[0].upper() not in {"BEGIN", "COMMIT", "START", "SET"}
    ]
    assert work[-1].startswith("WITH proof" if database == "postgres" else "UPDATE")
    assert "token" in work[-1]


async def test_the_stage_runs_where_the_connection_of_the_caller_is(
    journal: DjangoJournal, database: str
) -> None:
    claim = await journal.open(opening("ledger"))
    stage = Stage(database)
    assert await journal.transactions.run(claim, stage) == "booked"
    assert [one.sequence for one in await journal.rows("ledger")] == [0, 1]


def test_a_stage_that_raises_leaves_neither_writes_nor_row(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    stage = Stage(database, then=lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)
    journal.commit_blocking(claim, commit(row(1)))


def test_a_row_that_is_too_large_takes_the_writes_of_its_stage_back(
    journal: DjangoJournal, claim: Claim, database: str, settings: Any
) -> None:
    stage = Stage(database)
    settings.FLUXIO = {"MAX_PAYLOAD_BYTES": 1}
    with pytest.raises(StoreError, match="MAX_PAYLOAD_BYTES"):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)


def test_a_database_error_of_the_stage_itself_is_the_stages_and_is_not_repeated(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    def double() -> None:
        User.objects.using(database).create(username="ada")
        User.objects.using(database).create(username="ada")

    def complain() -> None:
        raise OperationalError("the stage says so")

    for then, error in ((double, IntegrityError), (complain, OperationalError)):
        stage = Stage(database, then=then)
        with pytest.raises(error) as raised:
            journal.transactions.run_blocking(claim, stage)
        assert not isinstance(raised.value, StoreError)
        assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)


def test_an_owner_that_was_overtaken_while_it_worked_commits_nothing(
    journal: DjangoJournal, database: str
) -> None:
    claim = journal.open_blocking(opening("ledger"))
    Run.objects.using(database).update(lease_expires_at=DatabaseTime(-1.0))

    def take_over() -> None:
        def heir() -> None:
            try:
                journal.open_blocking(opening("ledger", OpenMode.TAKE, owner=HEIR))
            finally:
                connections[database].close()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(heir).result()

    if database == "default":
        # SQLite knows one writer: there the heir waits, so it is let in before the stage writes.
        take_over()
        stage = Stage(database)
    else:
        stage = Stage(database, then=take_over)
    with pytest.raises(LeaseLostError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)
    assert journal.run_blocking("ledger").owner == HEIR


def test_a_row_of_the_heir_is_not_taken_for_our_own(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    Run.objects.using(database).filter(run_id="ledger").update(token=claim.token + 1)
    heir = replace(claim, token=claim.token + 1)
    journal.commit_blocking(heir, commit(row(1)))
    stage = Stage(database)
    with pytest.raises(LeaseLostError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.booked, recorded(journal)) == (0, 1)


def test_an_enclosing_transaction_is_refused_before_the_stage_runs(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    stage = Stage(database)
    with transaction.atomic(using=database):
        with pytest.raises(TransactionRefusedError, match="ATOMIC_REQUESTS"):
            journal.transactions.run_blocking(claim, stage)
        with pytest.raises(TransactionRefusedError, match="'pay'") as refused:
            journal.transactions.check("pay")
    assert refused.value.stage == "pay"
    assert stage.calls == 0
    journal.transactions.check("pay")


def test_without_autocommit_a_transactional_stage_is_refused(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    stage = Stage(database)
    transaction.set_autocommit(False, using=database)
    try:
        with pytest.raises(TransactionRefusedError, match="autocommit"):
            journal.transactions.run_blocking(claim, stage)
    finally:
        transaction.rollback(using=database)
        transaction.set_autocommit(True, using=database)
    assert stage.calls == 0
    assert journal.transactions.run_blocking(claim, stage) == "booked"


@pytest.mark.django_db
def test_the_transaction_of_a_test_case_is_let_through() -> None:
    journal = DjangoStore("default").journal()
    claim = journal.open_blocking(opening("ledger"))
    journal.transactions.check("pay")
    stage = Stage("default")
    assert journal.transactions.run_blocking(claim, stage) == "booked"
    assert (stage.booked, recorded(journal)) == (1, 1)


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.postgresql
def test_a_write_to_another_database_is_refused_with_the_remedy() -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("ledger"))
    astray = Stage("default")
    with pytest.raises(TransactionRefusedError, match=r"DjangoStore\(using='default'\)"):
        journal.transactions.run_blocking(claim, astray)
    assert (astray.booked, recorded(journal)) == (0, 0)
    Group.objects.using("default").create(name="written outside")
    reading = Stage("postgres", then=lambda: Group.objects.using("default").get())
    assert journal.transactions.run_blocking(claim, reading) == "booked"


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.postgresql
@pytest.mark.parametrize(
    "written",
    [
        "INSERT INTO auth_group (name) VALUES ('astray')",
        "insert\ninto auth_group (name) VALUES ('astray')",
        "\n    UPDATE auth_group SET name = 'astray'",
        "/* of: the shop\n */ DELETE FROM auth_group",
        "-- of the shop\nREPLACE INTO auth_group (name) VALUES ('astray')",
        "MERGE INTO auth_group",
        "TRUNCATE auth_group",
        "CREATE TABLE astray (id integer)",
        "ALTER TABLE auth_group ADD COLUMN astray integer",
        "(DROP TABLE auth_group)",
        "WITH n(v) AS (SELECT 'astray') INSERT INTO auth_group (name) SELECT v FROM n",
    ],
)
def test_sql_of_ones_own_that_writes_to_another_database_is_refused_as_well(written: str) -> None:
    journal = DjangoStore("postgres").journal()
    claim = journal.open_blocking(opening("ledger"))

    def write() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("/* INSERT */ SELECT 'UPDATE' -- DELETE")
            assert cursor.fetchone() == ("UPDATE",)
            cursor.execute(written)

    with pytest.raises(TransactionRefusedError, match="wrote to database 'default'"):
        journal.transactions.run_blocking(claim, Stage("postgres", then=write))
    assert recorded(journal) == 0


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
@pytest.mark.postgresql
def test_statements_that_the_driver_takes_in_other_forms_are_told_apart_as_well() -> None:
    journal = DjangoStore("default").journal()
    claim = journal.open_blocking(opening("ledger"))
    name = Literal("astray")
    writing = SQL("INSERT INTO auth_group (name) VALUES ({})").format(name)
    for written in (writing, b"INSERT INTO auth_group (name) VALUES ('astray')"):

        def write(written: object = written) -> None:
            with connections["postgres"].cursor() as cursor:
                for reading in (SQL("SELECT {}").format(name), b"SELECT 'astray'"):
                    cursor.execute(reading)
                    assert cursor.fetchone() == ("astray",)
                cursor.execute(written)

        with pytest.raises(TransactionRefusedError, match="wrote to database 'postgres'"):
            journal.transactions.run_blocking(claim, Stage("default", then=write))
    assert Group.objects.using("postgres").count() == recorded(journal) == 0


@pytest.fixture
def lose_the_answer_to_commit(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bool], None]:
    connection = connections[database]
    commit_for_real = connection._commit

    def lose(*, applied: bool) -> None:
        def commit_and_fail() -> None:
            monkeypatch.undo()
            monkeypatch.setattr(faults, "wait", lambda seconds: None)
            if applied:
                commit_for_real()
            raise OperationalError("the connection was lost")

        monkeypatch.setattr(connection, "_commit", commit_and_fail)

    return lose


def test_a_transaction_whose_commit_lost_its_answer_counts_once(
    journal: DjangoJournal, claim: Claim, database: str, lose_the_answer_to_commit: Callable
) -> None:
    stage = Stage(database)
    lose_the_answer_to_commit(applied=True)
    assert journal.transactions.run_blocking(claim, stage) == "booked"
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 1, 1)


def test_a_transaction_whose_commit_never_arrived_is_a_store_error(
    journal: DjangoJournal, claim: Claim, database: str, lose_the_answer_to_commit: Callable
) -> None:
    stage = Stage(database)
    lose_the_answer_to_commit(applied=False)
    with pytest.raises(StoreError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)


def test_who_is_overtaken_while_his_commit_is_lost_is_told_so(
    journal: DjangoJournal, claim: Claim, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, stage = connections[database], Stage(database)

    def take_over() -> Claim:
        try:
            Run.objects.using(database).update(lease_expires_at=DatabaseTime(-1.0))
            return journal.open_blocking(opening("ledger", OpenMode.TAKE, owner=HEIR))
        finally:
            connections[database].close()

    heirs: list[Claim] = []

    def lose_it_to_an_heir() -> None:
        monkeypatch.undo()
        connection._rollback()
        with ThreadPoolExecutor(1) as pool:
            heirs.append(pool.submit(take_over).result())
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(connection, "_commit", lose_it_to_an_heir)
    with pytest.raises(LeaseLostError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)
    journal.commit_blocking(heirs[0], commit(row(1)))


def test_a_constraint_that_only_its_commit_breaks_is_the_error_of_the_stage(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    def refer_to_nobody() -> None:
        Group.permissions.through.objects.using(database).create(group_id=4711, permission_id=4711)

    stage = Stage(database, then=refer_to_nobody)
    with pytest.raises(IntegrityError):
        journal.transactions.run_blocking(claim, stage)
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)
    assert journal.transactions.run_blocking(claim, Stage(database)) == "booked"


def test_the_end_of_a_run_can_commit_with_the_writes_of_its_last_stage(
    journal: DjangoJournal, claim: Claim, database: str
) -> None:
    def last() -> tuple[None, Commit]:
        Group.objects.using(database).create(name="booked")
        return None, commit(row(1), status=RunStatus.SUCCEEDED)

    journal.transactions.run_blocking(claim, last)
    record = journal.run_blocking("ledger")
    assert (record.status, record.owner) == (RunStatus.SUCCEEDED, None)


def real_transactions(alias: str) -> pytest.MarkDecorator:
    return pytest.mark.django_db(transaction=True, databases=[alias])


@dataclass(frozen=True)
class Idling:
    """How a server names a session, waits for its end, and says how long it may idle."""

    session: str
    wait: str
    limit: str
    unlimited: object


# The waiting is a statement of the server's, which ends when the idle session has ended.
IDLING = {
    "postgres": Idling(
        "SELECT pg_backend_pid()",
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s) "
        "LOOP PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END $$",
        "SHOW idle_in_transaction_session_timeout",
        "0",
    ),
    "mariadb": Idling(
        "SELECT CONNECTION_ID()",
        "BEGIN NOT ATOMIC WHILE EXISTS (SELECT 1 FROM information_schema.processlist WHERE id = %s)"
        " DO DO SLEEP(0.01); END WHILE; END",
        "SELECT @@idle_transaction_timeout",
        0,
    ),
}


@pytest.mark.parametrize(
    "server",
    [
        pytest.param("postgres", marks=[real_transactions("postgres"), pytest.mark.postgresql]),
        pytest.param("mariadb", marks=[real_transactions("mariadb"), pytest.mark.mariadb]),
    ],
)
def test_the_server_ends_a_transaction_that_idles_and_its_heir_is_free(server: str) -> None:
    journal = DjangoStore(server).journal()
    claim = journal.open_blocking(opening("ledger", lease_seconds=0.05))
    other = connections[server].copy()
    idling = IDLING[server]

    def wait_to_be_cut() -> None:
        with connections[server].cursor() as cursor:
            cursor.execute(idling.session)
            session = cursor.fetchone()[0]
        with other.cursor() as cursor:
            cursor.execute(idling.wait, [session])

    stage = Stage(server, then=lambda: (wait_to_be_cut(), Group.objects.using(server).first()))
    with pytest.raises((InternalError, OperationalError)):
        journal.transactions.run_blocking(claim, stage)
    other.close()
    assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0)
    journal.open_blocking(opening("ledger", OpenMode.TAKE, owner=HEIR))
    journal.transactions.run_blocking(journal.open_blocking(opening("another")), Stage(server))
    with connections[server].cursor() as cursor:
        cursor.execute(idling.limit)
        assert cursor.fetchone() == (idling.unlimited,)


# The table is filled afresh only where nobody has read it for a tenth of a second.
UNTIL_IT_WAITS = (
    "BEGIN NOT ATOMIC WHILE NOT EXISTS (SELECT 1 FROM information_schema.innodb_trx "
    "WHERE trx_mysql_thread_id = %s AND trx_state = 'LOCK WAIT') DO DO SLEEP(0.2); END WHILE; END"
)


@pytest.mark.mariadb
@pytest.mark.django_db(transaction=True, databases=["mariadb"])
def test_who_waits_for_a_run_that_is_being_committed_and_its_stage_do_not_block_each_other() -> (
    None
):
    journal = DjangoStore("mariadb").journal()
    claim = journal.open_blocking(opening("ledger"))
    session: Future[int] = Future()
    asked: list[Future[bool]] = []

    def ask() -> bool:
        try:
            with connections["mariadb"].cursor() as cursor:
                cursor.execute("SELECT CONNECTION_ID()")
                session.set_result(cursor.fetchone()[0])
            return Tables("mariadb").runs.ask_to_cancel("ledger", "in between")
        finally:
            connections["mariadb"].close()

    def before_the_fence(execute: Callable, sql: str, params: Any, many: bool, ctx: Any) -> Any:
        if sql.startswith("UPDATE") and "token" in sql and not asked:
            asked.append(pool.submit(ask))
            with connections["mariadb"].cursor() as cursor:
                cursor.execute(UNTIL_IT_WAITS, [session.result()])
        return execute(sql, params, many, ctx)

    with ThreadPoolExecutor(1) as pool, connections["mariadb"].execute_wrapper(before_the_fence):
        assert journal.transactions.run_blocking(claim, lambda: ("none", commit(row(1)))) == "none"
        assert asked[0].result()
    assert recorded(journal) == 1


SERVERS = [
    pytest.param("postgres", marks=[real_transactions("postgres"), pytest.mark.postgresql]),
    pytest.param("mariadb", marks=[real_transactions("mariadb"), pytest.mark.mariadb]),
]


SESSION = {"postgres": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
KILL = {"postgres": "SELECT pg_terminate_backend(%s, 60000)", "mariadb": "KILL CONNECTION %s"}


@contextmanager
def away_from(server: str) -> Iterator[None]:
    """The server ends this thread's session, and cannot be reached before the block ends."""
    connection, other = connections[server], connections[server].copy()
    with connection.cursor() as mine, other.cursor() as cursor:
        mine.execute(SESSION[server])
        cursor.execute(KILL[server], mine.fetchone())
    other.close()
    known = connection.settings_dict["PORT"]
    connection.settings_dict["PORT"] = "1"
    try:
        yield
    finally:
        connection.settings_dict["PORT"] = known


class BookingFailed(Exception):
    pass


def ignore(query: Callable[[], object]) -> None:
    with suppress(Error):
        query()


def wrap(query: Callable[[], object]) -> None:
    try:
        query()
    except Error as problem:
        raise BookingFailed from problem


def fail_otherwise(query: Callable[[], object]) -> None:
    raise BookingFailed


AFTER_THE_END = {
    "its next statement fails": (lambda query: query(), StoreUnavailableError),
    "it raises an error of its own for it": (wrap, StoreUnavailableError),
    "it goes on": (ignore, StoreUnavailableError),
    "only its commit fails": (lambda query: None, StoreUnavailableError),
    "it fails for another reason": (fail_otherwise, BookingFailed),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_stage_whose_database_goes_away_under_it_is_not_called_again(server: str) -> None:
    journal = DjangoStore(server).journal()
    claim = journal.open_blocking(opening("ledger"))
    for name, (then, error) in AFTER_THE_END.items():
        with ExitStack() as meanwhile:

            def lose(then: Callable = then, meanwhile: ExitStack = meanwhile) -> None:
                meanwhile.enter_context(away_from(server))
                then(Group.objects.using(server).first)

            stage = Stage(server, then=lose)
            with pytest.raises(error):
                journal.transactions.run_blocking(claim, stage)
        assert (stage.calls, stage.booked, recorded(journal)) == (1, 0, 0), name
    assert journal.transactions.run_blocking(claim, Stage(server)) == "booked"
