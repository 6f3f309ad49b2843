"""Results and shared states in Django's cache: right, private, and the same for all workers."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from fluxio import CacheMiddleware, CircuitBreakerMiddleware, Context, Pipeline, stage
from fluxio.codec.keyring import Keyring
from fluxio.errors import CircuitOpenError, ConfigurationError
from fluxio.runtime.middleware.circuit_breaker import CLOSED, BreakerState
from fluxio.runtime.middleware.rate_limit import Pace
from fluxio_django import DjangoBreakerBackend, DjangoCacheStore, DjangoRateLimitBackend
from fluxio_django import caches as module
from fluxio_django.caches import CacheBusyError
from tests.settings import REDIS_URL

CANARY = "canary-4711-secret"


@pytest.fixture(
    params=["memory", pytest.param("redis", marks=pytest.mark.redis)],
)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """A cache of its own for the test: in memory, and in Redis without pickle."""
    prefix = f"fluxio-test-{token_hex(6)}"
    kinds = {
        "memory": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": prefix,
        },
        "redis": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": prefix,
            "OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
        },
    }
    with override_settings(CACHES={"default": kinds["memory"], "ours": kinds[request.param]}):
        yield "ours"
        if request.param == "redis":
            caches["ours"].delete_pattern("*")
        caches["ours"].close()


def everything_in(alias: str) -> str:
    """All that a cache holds, as it holds it."""
    cache: Any = caches[alias]
    if hasattr(cache, "_cache"):
        return repr(cache._cache)
    client = cache.client.get_client()
    names = list(client.scan_iter(f"{cache.key_prefix}*"))
    return repr([(name, client.get(name)) for name in names])


async def test_a_text_comes_back_until_it_is_deleted(alias: str) -> None:
    store = DjangoCacheStore(alias)
    await store.set("a", "1")
    await store.set("a", "2", ttl=60)
    assert await store.get("a") == "2"
    assert await store.get("b") is None
    await store.delete("a")
    await store.delete("a")
    assert await store.get("a") is None


async def test_a_text_is_gone_once_its_time_is_over(alias: str) -> None:
    store = DjangoCacheStore(alias)
    await store.set("a", "1", ttl=-1)
    assert await store.get("a") is None


@pytest.mark.security(14)
async def test_nothing_of_a_context_is_in_the_cache_in_the_clear(alias: str) -> None:
    calls: list[str] = []

    @stage(reads=["name"], version="1")
    async def look_up(ctx: Context) -> Context:
        calls.append(ctx["name"])
        return ctx.set("address", f"{CANARY} of {ctx['name']}")

    pipeline = Pipeline([look_up], middleware=[CacheMiddleware(DjangoCacheStore(alias))])
    first, second = [await pipeline.invoke({"name": "Ada"}) for _ in range(2)]
    assert first["address"] == second["address"] == f"{CANARY} of Ada"
    assert calls == ["Ada"]
    assert CANARY not in everything_in(alias)
    assert "Ada" not in everything_in(alias)


async def test_a_store_that_only_signs_shows_what_it_keeps(alias: str) -> None:
    await DjangoCacheStore(alias, encrypt=False).set("a", CANARY)
    assert CANARY in everything_in(alias)
    assert await DjangoCacheStore(alias, encrypt=False).get("a") == CANARY


@pytest.mark.parametrize("forged", ["e:1:AAAA", "p:{}", "", 7, {"a": 1}], ids=repr)
async def test_what_somebody_else_put_there_is_a_miss(alias: str, forged: Any) -> None:
    caches[alias].set("a", forged)
    assert await DjangoCacheStore(alias).get("a") is None


async def test_a_text_that_was_moved_to_another_key_is_a_miss(alias: str) -> None:
    store = DjangoCacheStore(alias)
    await store.set("a", "1")
    caches[alias].set("b", caches[alias].get("a"))
    assert await store.get("b") is None


async def test_keys_can_be_rotated(alias: str) -> None:
    await DjangoCacheStore(alias).set("a", "1")
    from django.conf import settings

    old = settings.SECRET_KEY
    with override_settings(SECRET_KEY="another one", SECRET_KEY_FALLBACKS=[old]):
        assert await DjangoCacheStore(alias).get("a") == "1"
    with override_settings(SECRET_KEY="another one", SECRET_KEY_FALLBACKS=[]):
        assert await DjangoCacheStore(alias).get("a") is None
    keyring = Keyring(keys={"1": b"k" * 32})
    await DjangoCacheStore(alias, keyring=keyring).set("a", "2")
    assert await DjangoCacheStore(alias, keyring=keyring).get("a") == "2"


async def test_a_cache_that_is_none_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="Add it to CACHES"):
        await DjangoCacheStore("nowhere").get("a")


async def test_a_breaker_that_one_worker_opens_is_open_for_all(alias: str) -> None:
    @stage(version="1")
    async def call(ctx: Context) -> Context:
        raise OSError("down")

    def worker() -> Pipeline:
        breaker = CircuitBreakerMiddleware(2, 60, backend=DjangoBreakerBackend(alias))
        return Pipeline([call], middleware=[breaker], name="shared")

    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            await worker().invoke({})
    with pytest.raises(CircuitOpenError):
        await worker().invoke({})


async def test_a_state_is_swapped_only_where_it_is_as_expected(alias: str) -> None:
    backend = DjangoBreakerBackend(alias)
    failed = BreakerState(failures=1)
    assert await backend.load("a") == CLOSED
    assert await backend.swap("a", CLOSED, failed)
    assert not await backend.swap("a", CLOSED, BreakerState(failures=9))
    assert await backend.load("a") == failed
    assert await backend.swap("a", failed, CLOSED)
    assert await backend.load("a") == CLOSED


def test_between_reading_and_writing_a_state_no_other_worker_changes_it(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.01)
    failed = BreakerState(failures=1)

    def swap() -> bool:
        """What another worker comes to, on a thread and a connection of its own."""
        try:
            return asyncio.run(DjangoBreakerBackend(alias).swap("a", CLOSED, failed))
        except CacheBusyError:
            return False

    def change(found: Any) -> tuple[Any, bool]:
        assert found is None  # read already, and not yet written
        with ThreadPoolExecutor(1) as other:
            return {"failures": 2}, other.submit(swap).result()

    assert not DjangoBreakerBackend(alias)._states.change("a", change)
    assert asyncio.run(DjangoBreakerBackend(alias).load("a")).failures == 2


async def test_calls_of_all_workers_stand_in_one_line(alias: str) -> None:
    pace, time = Pace(interval=2.0, burst=2), 1000.0
    one, two = (DjangoRateLimitBackend(alias, now=lambda: time) for _ in range(2))
    slots = [await worker.reserve("api", pace) for worker in (one, two, one, two)]
    assert [slot.wait for slot in slots] == [0.0, 0.0, 2.0, 4.0]
    await two.give_back("api", slots[3])
    await one.give_back("api", slots[0])
    assert (await one.reserve("api", pace)).wait == 4.0
    assert (await one.reserve("other", pace)).wait == 0.0
    time = 2000.0
    assert (await two.reserve("api", pace)).wait == 0.0


async def test_a_lock_that_a_dead_worker_left_is_waited_for_only_so_long(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.01)
    backend = DjangoRateLimitBackend(alias)
    caches[alias].add(f"{backend._states._name('api')}:lock", "of somebody else")
    with pytest.raises(CacheBusyError, match="stayed locked"):
        await backend.reserve("api", Pace(interval=1.0, burst=1))
