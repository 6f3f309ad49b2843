"""Runs side by side share statements and flushes; each still fails or succeeds alone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event, get_ident
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync
from django.db import connections, transaction

from fluxio.errors import FluxioError, LeaseLostError, RunIDInUseError, StoreError
from fluxio.store.base import Claim, Commit
from fluxio.testing.conformance.samples import HEIR, commit, opening, row
from fluxio_django import DjangoStore, turns
from fluxio_django.claims import Admission
from fluxio_django.commits import Committing
from fluxio_django.journal import DjangoJournal
from fluxio_django.models import Run
from fluxio_django.records import Note
from fluxio_django.tables import Tables, hop
from fluxio_django.turns import Outcome, Request, in_turn, take_turn
from tests.app.lost_answers import answers_lost

IDS = ["a", "b", "c", "d"]


@pytest.fixture
def journal(database: str) -> DjangoJournal:
    return DjangoStore(database).journal()


@pytest.fixture
def claims(journal: DjangoJournal) -> dict[str, Claim]:
    return {run_id: journal.open_blocking(opening(run_id)) for run_id in IDS}


@contextmanager
def statements_on(database: str) -> Iterator[Counter[str]]:
    """How often which kind of statement was sent; `WITH given` begins those for a group."""
    sent: Counter[str] = Counter()

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        sent[" ".join(sql.split()[:2])] += 1
        return execute(sql, params, many, context)

    with connections[database].execute_wrapper(count):
        yield sent


def turn(database: str, commits: dict[str, tuple[Claim, Commit]]) -> dict[str, Outcome]:
    tables = Tables(database)
    requests = [
        Request(run_id, Committing(tables, claim, wanted), lambda: None)
        for run_id, (claim, wanted) in commits.items()
    ]
    return dict(zip(commits, take_turn(tables, requests), strict=True))


def together(
    journal: DjangoJournal, work: list[Callable[[], Any]]
) -> list[Claim | BaseException | None]:
    """Ask for everything at once from one event loop."""

    async def ask() -> list[Any]:
        return await asyncio.gather(*(one() for one in work), return_exceptions=True)

    return async_to_sync(ask)()


def heads(journal: DjangoJournal) -> dict[str, int]:
    return {
        run_id: record.head
        for run_id in IDS
        if (record := journal.run_blocking(run_id)) is not None
    }


def rows_of(journal: DjangoJournal) -> dict[str, list[int]]:
    return {run_id: [kept.sequence for kept in journal.rows_blocking(run_id)] for run_id in IDS}


def grouped(database: str) -> bool:
    return database == "postgres"


def test_what_is_asked_for_at_once_shares_a_statement(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    first = journal.open_blocking(opening("first"))
    work = [lambda: journal.commit(first, commit(row(1)))]
    work += [lambda claim=claim: journal.commit(claim, commit(row(1))) for claim in claims.values()]
    with statements_on(database) as sent:
        assert together(journal, work) == [None] * 5
    assert heads(journal) == dict.fromkeys(IDS, 1)
    assert rows_of(journal) == {run_id: [0, 1] for run_id in IDS}
    if grouped(database):
        assert sent.total() <= 2, "the first may be a turn of its own, all others are one"
        assert sent["WITH given"] == 1


def test_a_run_alone_is_one_statement_and_no_group(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    with statements_on(database) as sent:
        assert together(journal, [lambda: journal.commit(claims["a"], commit(row(1)))]) == [None]
    assert heads(journal)["a"] == 1
    assert sent["WITH given"] == 0
    if grouped(database):
        assert sent.total() == 1


def test_runs_that_begin_at_once_share_a_statement(journal: DjangoJournal, database: str) -> None:
    journal.open_blocking(opening("before"))
    with statements_on(database) as sent:
        found = together(journal, [lambda it=it: journal.open(opening(it)) for it in IDS])
    claimed = {claim.run_id: claim for claim in found if isinstance(claim, Claim)}
    assert list(claimed) == IDS
    assert {claim.head for claim in claimed.values()} == {0}
    for claim in claimed.values():
        journal.commit_blocking(claim, commit(row(1)))
    if grouped(database):
        assert sent["WITH given"] == 1


def test_one_id_asked_for_by_many_at_once_is_given_once(
    journal: DjangoJournal, database: str
) -> None:
    wanted = [opening(run_id) for run_id in ("same", "same", "other", "same", "same")]
    found = together(journal, [lambda it=it: journal.open(it) for it in wanted])
    assert Counter(type(it) for it in found) == {Claim: 2, RunIDInUseError: 3}
    assert [kept.sequence for kept in journal.rows_blocking("same")] == [0]


def test_who_has_lost_his_claim_loses_alone(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    stale = replace(claims["b"], token=claims["b"].token - 1)
    outcomes = turn(
        database,
        {it: (stale if it == "b" else claims[it], commit(row(1))) for it in IDS},
    )
    assert isinstance(outcomes["b"].error, LeaseLostError)
    assert [outcomes[it].error for it in "acd"] == [None] * 3
    assert heads(journal) == {"a": 1, "b": 0, "c": 1, "d": 1}
    assert rows_of(journal)["b"] == [0]


def test_a_row_out_of_order_is_refused_alone(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    outcomes = turn(database, {it: (claims[it], commit(row(3 if it == "c" else 1))) for it in IDS})
    assert isinstance(outcomes["c"].error, StoreError)
    assert heads(journal) == {"a": 1, "b": 1, "c": 0, "d": 1}


def test_a_value_that_the_database_refuses_fails_its_own_run(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    huge = replace(row(1), tries=2**40)
    outcomes = turn(
        database, {it: (claims[it], commit(huge if it == "d" else row(1))) for it in IDS}
    )
    refused = {it for it in IDS if isinstance(outcomes[it].error, FluxioError)}
    assert refused == (set() if database == "default" else {"d"}), "SQLite takes any integer"
    assert {it: heads(journal)[it] for it in "abc"} == {"a": 1, "b": 1, "c": 1}


def test_a_beginning_that_the_database_refuses_fails_its_own_run(
    journal: DjangoJournal, database: str
) -> None:
    journal.open_blocking(opening("before"))
    long = "p" * 201
    wanted = {it: opening(it, **({"pipeline": long} if it == "c" else {})) for it in IDS}
    tables = Tables(database)
    requests = [Request(it, Admission(tables, wish), lambda: None) for it, wish in wanted.items()]
    with statements_on(database) as sent:
        outcomes = dict(zip(IDS, take_turn(tables, requests), strict=True))
    refused = {it for it in IDS if isinstance(outcomes[it].error, StoreError)}
    assert refused == (set() if database == "default" else {"c"}), (
        "SQLite takes texts of any length"
    )
    for it in "abd":
        claim = outcomes[it].claim
        assert claim is not None
        journal.commit_blocking(claim, commit(row(1)))
    if grouped(database):
        # Who was refused with the group has nothing to look up: he asks again, and that is all.
        assert (sent["WITH given"], sent.total()) == (1, 5)


def test_whatever_a_commit_raises_is_raised_to_whoever_asked_for_it(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    nothing: Any = None
    odd = replace(row(1), kind=nothing)
    outcomes = turn(
        database, {it: (claims[it], commit(odd if it == "b" else row(1))) for it in IDS}
    )
    assert isinstance(outcomes["b"].error, AttributeError)
    assert [outcomes[it].error for it in "acd"] == [None] * 3
    assert heads(journal) == {"a": 1, "b": 0, "c": 1, "d": 1}


def test_whatever_a_beginning_raises_is_raised_to_whoever_asked_for_it(
    journal: DjangoJournal, database: str
) -> None:
    journal.open_blocking(opening("before"))
    odd = Note(requested_by_id="no key")
    wanted = [opening(it, note=odd if it == "b" else None) for it in IDS]
    found = together(journal, [lambda wish=wish: journal.open(wish) for wish in wanted])
    assert [type(it) for it in found] == [Claim, ValueError, Claim, Claim]
    assert sorted(heads(journal)) == ["a", "c", "d"]


def test_a_lost_answer_is_looked_up_for_each_run_of_the_group(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    if not grouped(database):
        pytest.skip("no groups here")
    with answers_lost(database, "WITH given"):
        outcomes = turn(database, {it: (claims[it], commit(row(1))) for it in IDS})
    assert {outcome.error for outcome in outcomes.values()} == {None}
    assert rows_of(journal) == {run_id: [0, 1] for run_id in IDS}, "nothing was applied twice"


def test_a_lost_answer_to_beginning_gives_every_run_to_whom_it_was_given(
    journal: DjangoJournal, database: str
) -> None:
    if not grouped(database):
        pytest.skip("no groups here")
    journal.open_blocking(opening("before"))
    with answers_lost(database, "WITH given"):
        found = together(journal, [lambda it=it: journal.open(opening(it)) for it in IDS])
    claimed = [claim for claim in found if isinstance(claim, Claim)]
    assert [claim.run_id for claim in claimed] == IDS
    for claim in claimed:
        journal.commit_blocking(claim, commit(row(1)))


def test_a_heir_is_never_overwritten_by_a_group_of_the_former_owner(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    Run.objects.using(database).filter(run_id="c").update(owner=HEIR, token=claims["c"].token + 1)
    outcomes = turn(database, {it: (claims[it], commit(row(1))) for it in IDS})
    assert isinstance(outcomes["c"].error, LeaseLostError)
    heir = replace(claims["c"], owner=HEIR, token=claims["c"].token + 1)
    journal.commit_blocking(heir, commit(row(1)))
    assert heads(journal) == dict.fromkeys(IDS, 1)


def test_inside_a_transaction_of_the_caller_each_commit_is_by_itself_and_rolls_back_with_it(
    journal: DjangoJournal, claims: dict[str, Claim], database: str
) -> None:
    with statements_on(database) as sent, transaction.atomic(using=database):
        outcomes = turn(database, {it: (claims[it], commit(row(1))) for it in IDS})
        assert {outcome.error for outcome in outcomes.values()} == {None}
        transaction.set_rollback(True, using=database)
    assert sent["WITH given"] == 0
    assert heads(journal) == dict.fromkeys(IDS, 0)


async def on_thread_of_turn() -> int:
    """The thread on which a request of this place is dealt with."""
    seen: list[int] = []

    def check() -> None:
        seen.append(get_ident())
        raise StoreError("nothing is asked of the database")

    nothing: Any = None
    with pytest.raises(StoreError):
        await in_turn(Tables("default"), Request("run", nothing, check))
    return seen[0]


class Interrupted(BaseException):
    """What is no error, as when somebody has pressed Ctrl-C."""


async def told(answers: list[Any]) -> list[BaseException]:
    """What requests have failed with; whoever is not told within a minute would wait for ever."""
    done, waiting = await asyncio.wait(answers, timeout=60)
    assert not waiting
    return [answer.exception() for answer in answers if answer in done]


def test_an_interruption_reaches_all_of_a_turn_and_the_next_one_is_taken() -> None:
    nothing: Any = None

    def interrupt() -> None:
        raise Interrupted

    async def work() -> int:
        await hop(get_ident)  # the executor is made by this one
        requests = [Request(it, nothing, interrupt) for it in IDS]
        found = await told([in_turn(Tables("default"), request) for request in requests])
        assert [type(it) for it in found] == [Interrupted] * len(IDS)
        return await on_thread_of_turn()

    assert async_to_sync(work)() == get_ident()
    assert asyncio.run(work()) != get_ident()
    assert turns._queues == {}


def test_an_error_that_no_future_takes_is_told_and_keeps_nobody_waiting() -> None:
    nothing: Any = None

    def check(run_id: str) -> None:
        raise StopIteration if run_id == "b" else StoreError("nothing is asked of the database")

    async def work() -> None:
        await on_thread_of_turn()
        requests = [Request(it, nothing, partial(check, it)) for it in IDS]
        found = await told([in_turn(Tables("default"), request) for request in requests])
        assert [type(it) for it in found] == [StoreError, RuntimeError, StoreError, StoreError]
        await on_thread_of_turn()

    asyncio.run(work())
    assert turns._queues == {}


def test_who_goes_on_after_the_thread_of_his_caller_has_quit_is_told() -> None:
    nothing: Any = None

    async def work() -> None:
        goes_on = asyncio.Event()

        async def ask_late() -> Any:
            await goes_on.wait()
            return [in_turn(Tables("default"), Request("late", nothing, lambda: None))]

        async def leave_behind() -> Any:
            return asyncio.create_task(ask_late())

        late = await hop(async_to_sync(leave_behind))
        goes_on.set()
        (found,) = await told(await late)
        assert isinstance(found, RuntimeError)
        assert "quit" in str(found)

    asyncio.run(work())
    assert turns._queues == {}


async def in_request() -> tuple[int, int]:
    async with ThreadSensitiveContext():
        first = await on_thread_of_turn()  # its executor is made by this one
        return await hop(get_ident), await on_thread_of_turn() if first else 0


async def in_place() -> tuple[int, int]:
    return await hop(get_ident), await on_thread_of_turn()


def test_a_turn_is_taken_where_hops_lead() -> None:
    here, turned = async_to_sync(in_place)()
    assert here == turned == get_ident()
    for work in (in_place, in_request):
        here, turned = asyncio.run(work())
        assert here == turned != get_ident()


def test_a_loop_that_closes_while_its_turn_is_under_way_leaves_nothing_behind() -> None:
    began, goes_on, ended = Event(), Event(), Event()
    nothing: Any = None

    def check() -> None:
        began.set()
        goes_on.wait()
        ended.set()
        raise StoreError("nothing is asked of the database")

    async def ask() -> None:
        await on_thread_of_turn()  # the executor of the loop is made by this one
        in_turn(Tables("default"), Request("left", nothing, check))
        await asyncio.to_thread(began.wait)

    closed = asyncio.new_event_loop()
    closed.run_until_complete(ask())
    closed.close()
    goes_on.set()
    ended.wait()
    assert asyncio.run(in_place())
    assert turns._queues == {}
