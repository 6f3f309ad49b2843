"""Every built-in store keeps the shipped contract, and so can a store of four methods."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluxio.codec import Keyring
from fluxio.testing import conformance
from fluxio.testing.conformance import Case
from tests.core.stores.subjects import RedisKeys, in_redis, memory, toy, transactional

KEYRING = Keyring(keys={"2026": bytes(range(32))})


@pytest.fixture
def keys() -> Iterator[RedisKeys]:
    """A part of the Redis server that belongs to one test."""
    keys = RedisKeys()
    yield keys
    keys.close()


@pytest.mark.parametrize("case", conformance.cases_for(memory()))
async def test_the_memory_store_keeps_the_contract(case: Case) -> None:
    await case.run(memory())


@pytest.mark.redis
@pytest.mark.parametrize("case", conformance.cases_for(in_redis(RedisKeys())))
async def test_the_redis_store_keeps_the_contract(case: Case, keys: RedisKeys) -> None:
    await case.run(in_redis(keys))


@pytest.mark.parametrize("case", conformance.cases_for(memory(KEYRING)))
async def test_the_encrypted_memory_store_keeps_the_contract(case: Case) -> None:
    await case.run(memory(KEYRING))


@pytest.mark.redis
@pytest.mark.parametrize("case", conformance.cases_for(in_redis(RedisKeys(), keyring=KEYRING)))
async def test_the_encrypted_redis_store_keeps_the_contract(case: Case, keys: RedisKeys) -> None:
    await case.run(in_redis(keys, keyring=KEYRING))


@pytest.mark.parametrize("case", conformance.cases_for(toy()))
async def test_a_store_of_four_methods_keeps_the_contract(case: Case) -> None:
    await case.run(toy())


@pytest.mark.parametrize(
    "case",
    [case for case in conformance.cases_for(transactional()) if case.topic == "transactions"],
)
async def test_a_store_with_transactions_keeps_the_contract(case: Case) -> None:
    await case.run(transactional())
