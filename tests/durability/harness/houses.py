"""Where runs are kept while they are tested: a store, a ledger beside it, and a look at both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connections

from fluxio import CheckpointStore, Pipeline
from fluxio.events import StepEnded
from fluxio.observability.base import BaseCallback
from fluxio.store.base import Claim, Journal, Row, RunRecord
from fluxio.store.lone import open_journal
from fluxio.types import RunStatus
from fluxio.verification import EffectKind
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline
from tests.durability.harness.effects import EFFECTS
from tests.durability.harness.plans import Book, Node, build, refuse_loops
from tests.durability.harness.watched import (
    WatchedDjangoStore,
    WatchedMemoryStore,
    WatchedRedisStore,
)
from tests.settings import TEST_RUN

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

LEDGER = "fluxio_durability_ledger"
REDIS = "redis"
MEMORY = "memory"
REDIS_PREFIX = f"fluxio:durability:{TEST_RUN}"

TITLES = {
    "default": "SQLite",
    "postgres": "PostgreSQL",
    "mariadb": "MariaDB",
    REDIS: "Redis",
    MEMORY: "memory",
}


class Listener(BaseCallback):
    """Notes what it is told; an `async def` hook, so that nothing needs another thread."""

    async def on_step_end(self, event: StepEnded) -> None:
        """The step is said to be durable."""
        EFFECTS.note(EffectKind.TOLD, event.run_id, step=event.step)


@dataclass(frozen=True)
class House:
    """One place: `name` is an alias of DATABASES, "redis", or "memory" for this process's own."""

    name: str

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.name]

    @property
    def is_relational(self) -> bool:
        """Whether stages can be transactional here, and a ledger lies beside the store."""
        return self.name in settings.DATABASES

    def pipeline(
        self, topology: str, plan: Sequence[Node], store: CheckpointStore | None = None
    ) -> DjangoPipeline:
        """The pipeline of a plan, with its runs kept here; the plain one has no callbacks.

        `store` is given where something stands between the pipeline and the store.
        """
        plain = topology == "plain"
        book: Book | None = self.book if self.is_relational else None
        if book is not None and plain and store is None:
            book = refuse_loops(book)
        made = Pipeline(
            build(plan, book),
            durable=True,
            checkpoint_store=store or self.store(),
            callbacks=[] if plain else [Listener()],
        )
        return made.bound_to(DjangoPipeline, name=f"durability.{topology}", store=self.store)

    def store(self) -> CheckpointStore:
        """The store, watched."""
        return _store(self.name)

    def record_and_rows(self, run_id: str) -> tuple[RunRecord | None, list[Row]]:
        """All that is recorded of a run."""
        journal: Journal = open_journal(self.store())

        async def read() -> tuple[RunRecord | None, list[Row]]:
            return await journal.run(run_id), await journal.rows(run_id)

        return async_to_sync(read)()

    def end_lease(self, run_id: str) -> None:
        """What time does to a claim that nobody renews."""
        if self.is_relational:
            runs = Run.objects.using(self.name).filter(run_id=run_id)
            runs.filter(status=RunStatus.RUNNING).update(lease_expires_at=_LONG_AGO)
            return
        if self.name == REDIS:
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                key = f"{REDIS_PREFIX}:run:{run_id}"
                if client.hget(key, "lease"):
                    client.hset(key, "lease", str(int(_LONG_AGO.timestamp()) * 1_000_000))
            return
        record, _ = self.record_and_rows(run_id)
        if record is not None and record.owner is not None:
            open_journal(self.store()).release(_claim_of(record))

    def prepare(self) -> None:
        """Make the ledger, once per test database."""
        if self.is_relational:
            with connections[self.name].cursor() as cursor:
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {LEDGER} "
                    "(run_id varchar(128), step varchar(200), amount integer)"
                )

    def book(self, run_id: str, step: str, amount: int) -> None:
        """Write one line to the ledger."""
        with connections[self.name].cursor() as cursor:
            cursor.execute(f"INSERT INTO {LEDGER} VALUES (%s, %s, %s)", [run_id, step, amount])

    def booked(self, run_id: str) -> int:
        """The sum of a run's lines."""
        if not self.is_relational:
            return 0
        with connections[self.name].cursor() as cursor:
            cursor.execute(
                f"SELECT COALESCE(SUM(amount), 0) FROM {LEDGER} WHERE run_id = %s", [run_id]
            )
            return int(cursor.fetchone()[0])


def _claim_of(record: RunRecord) -> Claim:
    return Claim(
        run_id=record.run_id,
        token=record.token,
        owner=record.owner or "",
        attempt=record.attempt,
        head=record.head,
        lease_seconds=0.0,
        previous=record.status,
    )


@cache
def _store(name: str) -> Any:
    if name == MEMORY:
        return WatchedMemoryStore()
    if name == REDIS:
        return WatchedRedisStore(settings.REDIS_URL, REDIS_PREFIX)
    return WatchedDjangoStore(name)
