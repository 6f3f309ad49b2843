"""The one way to ask the Redis server something; its failures become ours here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from fluxio.errors import StoreError, StoreUnavailableError
from fluxio.store.redis.connections import RedisConnections
from fluxio.store.redis.scripts import Script
from fluxio.store.redis.wire import to_bytes

Argument = bytes | str | int | float


class RedisServer:
    """Sends commands and scripts over the client of the running event loop."""

    def __init__(self, connections: RedisConnections) -> None:
        self._connections = connections

    async def command(self, name: str, *arguments: Argument) -> Any:
        """The answer to a plain command.

        Raises:
            StoreError: Redis cannot be reached or refuses; the outcome may be unknown.
        """
        send = await self._sender()
        try:
            return await send(name, *map(_encoded, arguments))
        except RedisError as problem:
            raise _store_error(problem) from problem

    async def run_script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> list[Any]:
        """The answer of a script; its text is sent only to a server that does not know it.

        Raises:
            StoreError: Redis cannot be reached or refuses; the outcome may be unknown.
        """
        send = await self._sender()
        parts = (len(keys), *map(_encoded, (*keys, *arguments)))
        answer: list[Any]
        try:
            try:
                answer = await send("EVALSHA", script.digest, *parts)
            except NoScriptError:
                answer = await send("EVAL", script.text, *parts)
        except RedisError as problem:
            raise _store_error(problem) from problem
        return answer

    async def _sender(self) -> Callable[..., Awaitable[Any]]:
        client = await self._connections.client()
        return client.execute_command


def _encoded(argument: Argument) -> bytes | int | float:
    return to_bytes(argument) if isinstance(argument, str) else argument


def _store_error(problem: RedisError) -> StoreError:
    reason = str(problem) or type(problem).__name__
    kind = StoreError if isinstance(problem, ResponseError) else StoreUnavailableError
    return kind(f"Redis failed: {reason}. Check that the server runs and has memory left.")
