"""How leases in Redis are renewed: blocking, for it happens in a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.client import Pipeline
from redis.exceptions import NoScriptError, RedisError

from fluxio.errors import StoreError
from fluxio.store.base import Claim
from fluxio.store.redis.connections import RedisConnections
from fluxio.store.redis.names import Names
from fluxio.store.redis.scripts import RENEW
from fluxio.store.redis.wire import to_bytes


class RedisLeasing:
    """Renews claims, all of them in one round trip."""

    def __init__(self, connections: RedisConnections, names: Names) -> None:
        self._connections = connections
        self._names = names

    def renew(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of these claims and the lives of their runs; lost ones are skipped.

        Raises:
            StoreError: Redis cannot be reached; leases that were not extended will expire.
        """
        client = self._connections.blocking_client()
        try:
            with client.pipeline(transaction=False) as batch:
                for claim in claims:
                    self._add(batch, claim, by_digest=True)
                answers = batch.execute(raise_on_error=False)
                for claim, answer in zip(claims, answers, strict=True):
                    if isinstance(answer, NoScriptError):
                        self._add(batch, claim, by_digest=False)
                    elif isinstance(answer, RedisError):
                        raise answer
                batch.execute()
        except RedisError as problem:
            raise StoreError(f"Redis did not renew {len(claims)} leases: {problem}") from problem

    def wishes(self, claims: Sequence[Claim]) -> Mapping[str, str]:
        """None: runs in Redis are cancelled by whoever executes them."""
        return {}

    def _add(self, batch: Pipeline, claim: Claim, *, by_digest: bool) -> None:
        call = batch.evalsha if by_digest else batch.eval
        call(
            RENEW.digest if by_digest else RENEW.text,
            1,
            to_bytes(self._names.run(claim.run_id)),
            claim.token,
            to_bytes(claim.owner),
            claim.lease_seconds,
            self._names.lifetime(claim.lease_seconds),
        )
