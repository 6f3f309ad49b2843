"""The stores under test, each empty and with what its fixture can do for the shared contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import redis

from fluxio.codec import Keyring
from fluxio.store.memory import InMemoryStore
from fluxio.store.redis import RedisStore
from fluxio.store.redis.wire import dump_row, load_row
from fluxio.testing.conformance import Subject
from tests.core.stores.toy import ToyStore, TransactionalStore
from tests.needs import REDIS


def memory(keyring: Keyring | None = None) -> Subject:
    """An empty `InMemoryStore` whose rows can be damaged."""
    store = InMemoryStore(keyring=keyring)

    async def damage(run_id: str, sequence: int, change: Callable[[str], str | None]) -> None:
        rows = store._journal._logs[run_id].rows
        payload = change(rows[sequence].payload)
        if payload is None:
            del rows[sequence]
        else:
            rows[sequence] = replace(rows[sequence], payload=payload)

    return Subject(store=store, damage=damage)


def transactional() -> Subject:
    """A store in memory with transactions."""
    store = TransactionalStore()
    return Subject(store=store, ledger=store.ledger)


def toy() -> Subject:
    """The smallest store there can be."""
    return Subject(store=ToyStore())


class RedisKeys:
    """A key prefix of its own, and a look behind the store's back at what is below it."""

    def __init__(self) -> None:
        self.prefix = f"fluxio-test:{uuid4().hex}"
        self.client = redis.Redis.from_url(REDIS.location)

    def run(self, run_id: str) -> bytes:
        """The key of a run."""
        return f"{self.prefix}:run:{run_id}".encode("utf-8", "surrogatepass")

    def all(self) -> list[bytes]:
        """Every key below the prefix."""
        return sorted(self.client.scan_iter(match=f"{self.prefix}:*", count=1000))

    def flush(self) -> None:
        """Lose everything below the prefix, as FLUSHALL or an eviction does."""
        for key in self.all():
            self.client.delete(key)

    def close(self) -> None:
        """Leave nothing behind."""
        self.flush()
        self.client.close()

    async def advance(self, seconds: float) -> None:
        """Make every lease that much older, which is what waiting does to it."""
        for key in self.client.scan_iter(match=f"{self.prefix}:run:*", count=1000):
            lease = self.client.hget(key, "lease")
            if lease:
                self.client.hset(key, "lease", str(int(lease) - int(seconds * 1_000_000)))

    async def damage(self, run_id: str, sequence: int, change: Callable[[str], str | None]) -> None:
        """Change a stored row."""
        field = f"row:{sequence}"
        stored = load_row(run_id, sequence, self.client.hget(self.run(run_id), field))
        payload = change(stored.payload)
        if payload is None:
            self.client.hdel(self.run(run_id), field)
        else:
            damaged = dump_row(replace(stored, payload=payload))
            self.client.hset(self.run(run_id), field, damaged)


def redis_store(keys: RedisKeys, **options: object) -> RedisStore:
    """A store on the test server, below the prefix."""
    return RedisStore(url=REDIS.location, key_prefix=keys.prefix, **options)  # type: ignore[arg-type]


def in_redis(keys: RedisKeys, **options: object) -> Subject:
    """An empty `RedisStore`; others on the same data stand for other processes."""
    return Subject(
        store=redis_store(keys, **options),
        advance=keys.advance,
        another=lambda: redis_store(keys, **options),
        damage=keys.damage,
    )
