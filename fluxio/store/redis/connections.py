"""Where the Redis journal gets its clients: one per event loop, and a blocking one for threads."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol
from weakref import finalize

from redis import BlockingConnectionPool as BlockingClientPool
from redis import Redis as BlockingClient
from redis import connection as blocking_connection
from redis.asyncio import BlockingConnectionPool as ClientPool
from redis.asyncio import Redis as Client
from redis.asyncio import connection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as BlockingRetry

_SHARED_SETTINGS = (
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "credential_provider",
    "client_name",
    "socket_timeout",
    "socket_connect_timeout",
)
# A connection that was idle for long may be dead without knowing. Repeating a call is safe, since
# the scripts recognise a repetition by its nonce.
_REPEATS = 2
_LIMITS: dict[str, Any] = {"socket_timeout": 30.0, "socket_connect_timeout": 5.0}


class RedisConnections(Protocol):
    """What a Redis journal needs to reach its server."""

    async def client(self) -> Client:
        """The client of the running event loop."""

    def blocking_client(self) -> BlockingClient:
        """A client that any thread may use."""

    async def aclose(self) -> None:
        """Close what the running event loop opened, and the blocking client."""


@dataclass(frozen=True, slots=True)
class _Tenancy:
    """A client, the event loop it belongs to, and what closes it there."""

    loop: AbstractEventLoop
    client: Client
    ending: AsyncGenerator[None, None]


class LoopConnections:
    """Clients that are made at first use and closed with their event loop.

    A connection belongs to the event loop it was opened in, so each loop gets a client of its own.
    Beside it waits an async generator: that is what a loop closes when it shuts down (`asyncio.run`
    and asgiref's `async_to_sync` do it), and it takes the client along.
    """

    def __init__(
        self, make_client: Callable[[], Client], make_blocking_client: Callable[[], BlockingClient]
    ) -> None:
        self._make_client = make_client
        self._make_blocking_client = make_blocking_client
        self._lock = Lock()
        self._tenancies: dict[AbstractEventLoop, _Tenancy] = {}
        self._blocking: BlockingClient | None = None
        finalize(self, _close_soon, self._tenancies).atexit = False

    async def client(self) -> Client:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        tenancy = self._tenancies.get(loop)
        if tenancy is not None:
            return tenancy.client
        client = self._make_client()
        tenancy = _Tenancy(loop, client, _until_shutdown(client))
        with self._lock:
            for ended in [known for known in self._tenancies if known.is_closed()]:
                del self._tenancies[ended]
            self._tenancies[loop] = tenancy
        await anext(tenancy.ending)
        return client

    def blocking_client(self) -> BlockingClient:
        """A client that any thread may use."""
        with self._lock:
            if self._blocking is None:
                self._blocking = self._make_blocking_client()
            return self._blocking

    async def aclose(self) -> None:
        """Close what the running event loop opened, and the blocking client.

        Clients of other event loops are closed when these shut down. Later use connects anew.
        """
        with self._lock:
            blocking, self._blocking = self._blocking, None
            tenancy = self._tenancies.pop(asyncio.get_running_loop(), None)
        if blocking is not None:
            blocking.connection_pool.disconnect()
        if tenancy is not None:
            await tenancy.ending.aclose()


async def _until_shutdown(client: Client) -> AsyncGenerator[None, None]:
    """Wait, and close the client in the end."""
    try:
        yield
    finally:
        await client.aclose(close_connection_pool=True)


# Closing takes a few turns of the event loop. A store that is dropped as its loop ends would not
# get them, so it waits: either the loop shuts down meanwhile and closes, or there was time enough.
_GRACE_SECONDS = 1.0
_closing: set[asyncio.Task[None]] = set()


def _close_soon(tenancies: dict[AbstractEventLoop, _Tenancy]) -> None:
    """Close the clients of a store that nobody holds any more; called from any thread."""
    for tenancy in tenancies.values():
        with suppress(RuntimeError):  # that loop is closed already
            tenancy.loop.call_soon_threadsafe(
                tenancy.loop.call_later, _GRACE_SECONDS, _start_closing, tenancy
            )


def _start_closing(tenancy: _Tenancy) -> None:
    task = tenancy.loop.create_task(_finish(tenancy))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _finish(tenancy: _Tenancy) -> None:
    await tenancy.ending.aclose()


class GivenConnections:
    """An async client that somebody else made, and will close; it serves one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = Lock()
        self._blocking: BlockingClient | None = None

    async def client(self) -> Client:
        """The given client."""
        return self._client

    def blocking_client(self) -> BlockingClient:
        """A client with the same settings that any thread may use."""
        with self._lock:
            if self._blocking is None:
                self._blocking = blocking_twin(self._client)
            return self._blocking

    async def aclose(self) -> None:
        """Close the blocking client; the given one stays open."""
        with self._lock:
            blocking, self._blocking = self._blocking, None
        if blocking is not None:
            blocking.connection_pool.disconnect()


def connections_to(url: str) -> LoopConnections:
    """Connections to a server by URL; its query may set what redis-py knows, as `socket_timeout`.

    Raises:
        ValueError: the URL is none of redis://, rediss:// and unix://.
    """
    ClientPool.from_url(url)
    return LoopConnections(
        lambda: Client(
            connection_pool=ClientPool.from_url(
                url, retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), _REPEATS), **_LIMITS
            )
        ),
        lambda: BlockingClient(
            connection_pool=BlockingClientPool.from_url(
                url,
                retry=BlockingRetry(ExponentialBackoff(cap=0.5, base=0.05), _REPEATS),
                **_LIMITS,
            )
        ),
    )


def twin(client: BlockingClient) -> Client:
    """An async client for the running event loop with the settings of a blocking one."""
    name, settings = _settings(client)
    pool = ClientPool(connection_class=getattr(connection, name), **settings)
    return Client(connection_pool=pool)


def blocking_twin(client: Client) -> BlockingClient:
    """A blocking client with the settings of an async one."""
    name, settings = _settings(client)
    kind = getattr(blocking_connection, name)
    pool = BlockingClientPool(connection_class=kind, **settings)  # type: ignore[no-untyped-call]
    return BlockingClient(connection_pool=pool)


def _settings(client: Client | BlockingClient) -> tuple[str, dict[str, Any]]:
    """The name of a client's kind of connection, and those settings that both worlds share."""
    pool = client.connection_pool
    chosen = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if value is not None and (name in _SHARED_SETTINGS or name.startswith("ssl_"))
    }
    return pool.connection_class.__name__, {**_LIMITS, **chosen}
