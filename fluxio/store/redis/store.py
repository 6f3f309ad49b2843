"""Checkpoints in Redis, for runs that any process with the same server may go on with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fluxio.codec import Keyring
from fluxio.errors import StoreError
from fluxio.store.base import Checkpoint, CheckpointStore
from fluxio.store.redis.connections import GivenConnections, RedisConnections, connections_to
from fluxio.store.redis.journal import RedisJournal
from fluxio.store.snapshot import checkpoint_from_rows


class RedisStore(CheckpointStore):
    """Keeps runs in Redis; works in many threads and over successive event loops.

    Args:
        url: redis://, rediss:// or unix://, as redis-py reads it.
        ttl: seconds that a run stays after its last write; None keeps runs until they are deleted.
        key_prefix: what all keys begin with.
        client: an async client to use instead of `url`; it serves one event loop, and whoever made
            it closes it.
        keyring: signs or encrypts what is kept.

    Raises:
        ValueError: `ttl` is not above 0, or the URL is none.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379",
        ttl: float | None = 86400,
        key_prefix: str = "fluxio:checkpoint",
        client: Redis | None = None,
        *,
        keyring: Keyring | None = None,
    ) -> None:
        connections = connections_to(url) if client is None else GivenConnections(client)
        self._keep_in(connections, ttl=ttl, key_prefix=key_prefix, keyring=lambda: keyring)

    def _keep_in(
        self,
        connections: RedisConnections,
        *,
        ttl: float | None,
        key_prefix: str,
        keyring: Callable[[], Keyring | None],
    ) -> None:
        """Use these connections: for stores that get theirs from elsewhere."""
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl is {ttl}; give more than 0 seconds, or None for no limit.")
        self._connections = connections
        self._journal = RedisJournal(connections, key_prefix=key_prefix, ttl=ttl, keyring=keyring)

    def journal(self) -> RedisJournal:
        """The journal, which works on the same runs as the four methods."""
        return self._journal

    def eviction_policy(self) -> str:
        """What the server does when its memory is full; "" where it does not say; blocks.

        Anything but "noeviction" can lose recorded steps.

        Raises:
            StoreError: the server does not answer, or may not be asked.
        """
        try:
            found = self._connections.blocking_client().config_get("maxmemory-policy")
        except RedisError as problem:
            raise StoreError(f"Redis does not tell its maxmemory-policy: {problem}") from problem
        policies: dict[str, str] = found  # type: ignore[assignment]
        return str(policies.get("maxmemory-policy", ""))

    async def save(self, checkpoint: Checkpoint) -> None:
        """Append the whole state to the run's log, beginning it where the run is unknown.

        Raises:
            RunIDInUseError: the run is being executed.
        """
        await self._journal.append_snapshot(checkpoint)

    async def load(self, run_id: str) -> Checkpoint | None:
        """The newest checkpoint of a run, None where there is none.

        Raises:
            CorruptCheckpointError: what is kept is not what was written.
        """
        found = await self._journal.newest_state(run_id)
        return None if found is None else checkpoint_from_rows(*found)

    async def delete(self, run_id: str) -> None:
        """Forget a run; whoever executes it loses it. Unknown ids are fine."""
        await self._journal.forget(run_id)

    async def exists(self, run_id: str) -> bool:
        """Whether the run is kept."""
        return await self._journal.run(run_id) is not None

    async def aclose(self) -> None:
        """Close the connections of the running event loop; later use connects again."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
