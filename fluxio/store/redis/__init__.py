"""The Redis store; needs the extra `redis`."""

from __future__ import annotations

try:
    import redis.asyncio  # noqa: F401 - says early, and with a remedy, that it is missing
except ImportError as problem:
    raise ImportError(
        "RedisStore needs redis-py. Install it with: pip install 'fluxio-django[redis]'"
    ) from problem

from fluxio.store.redis.connections import LoopConnections, RedisConnections, twin
from fluxio.store.redis.journal import RedisJournal
from fluxio.store.redis.store import RedisStore

__all__ = ["LoopConnections", "RedisConnections", "RedisJournal", "RedisStore", "twin"]
