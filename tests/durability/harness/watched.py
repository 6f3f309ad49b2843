"""Stores that note what they confirm, and that reach moments at which a test may interfere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import connections

from fluxio.store.base import (
    Claim,
    Commit,
    Journal,
    Leasing,
    Opening,
)
from fluxio.store.memory import InMemoryStore
from fluxio.store.redis import RedisStore
from fluxio.testing.passing import PassingJournal, PassingLeasing, PassingTransactions
from fluxio.verification import EffectKind
from fluxio_django import DjangoStore
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.looks import looking
from tests.durability.harness.moments import Moment, reach, undisturbed
from tests.durability.harness.statements import FOR_GROUPS

Result = TypeVar("Result")

_INSIDE = {
    Moment.BEFORE_CLAIM: Moment.INSIDE_CLAIM,
    Moment.BEFORE_COMMIT: Moment.INSIDE_COMMIT,
    Moment.BEFORE_RENEWAL: Moment.INSIDE_RENEWAL,
}
_due: ContextVar[Moment | None] = ContextVar("due", default=None)
# SQLite takes its lock at once; where others begin, no statement is seen.
_WRITING_VERBS = frozenset({"BEGIN", "WITH", "INSERT", "UPDATE"})


class WatchedJournal(PassingJournal):
    """Does as the journal it wraps, and notes every claim and every confirmed commit.

    `alias` is the database it writes to, where single statements can be looked at.
    """

    def __init__(self, journal: Journal, *, alias: str | None) -> None:
        leasing, transactions = journal.leasing, journal.transactions
        super().__init__(
            journal,
            transactions=transactions and _WatchedTransactions(transactions),
            leasing=leasing and _WatchedLeasing(leasing, self),
        )
        self.alias = alias

    async def open(self, opening: Opening) -> Claim:
        with self.writing(Moment.BEFORE_CLAIM):
            claim = await super().open(opening)
        EFFECTS.tokens[claim.run_id] = claim.token
        EFFECTS.note(EffectKind.CLAIMED, claim.run_id, sequence=claim.head)
        reach(Moment.AFTER_CLAIM)
        return claim

    async def commit(self, claim: Claim, commit: Commit) -> None:
        with self.writing(Moment.BEFORE_COMMIT):
            await super().commit(claim, commit)
        recorded(claim, commit)

    @contextmanager
    def writing(self, moment: Moment) -> Iterator[None]:
        """The first statement in this block that writes, or locks, is the moment."""
        if self.alias is None:
            reach(moment)
            yield
            return
        due = _due.set(moment)
        try:
            yield
        finally:
            _due.reset(due)


def look_at_statement(
    execute: Callable[..., Result], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Result:
    """Reach the moment that is due, if this is the statement; a wrapper as Django takes them."""
    verb = sql.lstrip().partition(" ")[0].upper()
    moment = _due.get() if verb in _WRITING_VERBS or "FOR UPDATE" in sql else None
    if moment is not None:
        reach(moment)
    result = execute(sql, params, many, context)
    if sql.startswith(FOR_GROUPS):
        EFFECTS.note_group()
    if moment is not None:
        reach(_INSIDE[moment])
    return result


def recorded(claim: Claim, commit: Commit) -> None:
    """Note a confirmed commit."""
    sequence = commit.rows[-1].sequence if commit.rows else -1
    EFFECTS.note(EffectKind.RECORDED, claim.run_id, token=claim.token, sequence=sequence)
    reach(Moment.BETWEEN_COMMITS)


class _WatchedTransactions(PassingTransactions):
    async def run(self, claim: Claim, work: Callable[[], tuple[Result, Commit]]) -> Result:
        asked: list[Commit] = []

        def remembered() -> tuple[Result, Commit]:
            result, commit = work()
            asked.append(commit)
            return result, commit

        result = await super().run(claim, remembered)
        recorded(claim, asked[-1])
        return result


class _WatchedLeasing(PassingLeasing):
    def __init__(self, leasing: Leasing, journal: WatchedJournal) -> None:
        super().__init__(leasing)
        self._journal = journal

    def renew(self, claims: Sequence[Claim]) -> None:
        reach(Moment.IN_HEARTBEAT)
        with undisturbed, self._journal.writing(Moment.BEFORE_RENEWAL), self._seen():
            super().renew(claims)

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        # Whoever is frozen while he closes SQLite's last connection keeps everybody out.
        with undisturbed:
            return super().wishes(claims)

    def _seen(self) -> AbstractContextManager[None]:
        """Heartbeats have a thread of their own, and so a connection nobody looks at yet."""
        if self._journal.alias is None:
            return nullcontext()
        return looking(connections[self._journal.alias], look_at_statement)


class WatchedDjangoStore(DjangoStore):
    """A `DjangoStore`, and so as fit to run without an event loop, whose journal is watched."""

    def __init__(self, using: str | None = None) -> None:
        super().__init__(using)
        self._watched = WatchedJournal(self._journal, alias=using)

    def journal(self) -> WatchedJournal:  # type: ignore[override]
        return self._watched


class WatchedMemoryStore(InMemoryStore):
    """An `InMemoryStore` that forgets nothing and whose journal is watched."""

    def __init__(self) -> None:
        super().__init__(max_finished=10**6)
        self._watched = WatchedJournal(self._journal, alias=None)

    def journal(self) -> WatchedJournal:
        return self._watched


class WatchedRedisStore(RedisStore):
    """A `RedisStore` whose journal is watched."""

    def __init__(self, url: str, key_prefix: str) -> None:
        super().__init__(url, ttl=600, key_prefix=key_prefix)
        self._watched = WatchedJournal(self._journal, alias=None)

    def journal(self) -> WatchedJournal:  # type: ignore[override]
        return self._watched
