"""DjangoRedisStore keeps the shipped contract over a cache alias of django-redis."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from fluxio import Context, stage
from fluxio.errors import ConfigurationError
from fluxio.pipeline import Pipeline
from fluxio.testing import conformance
from fluxio.testing.conformance import Subject
from fluxio_django import DjangoRedisStore
from fluxio_django.pipeline import DjangoPipeline
from tests.core.stores.subjects import RedisKeys
from tests.needs import REDIS

pytestmark = pytest.mark.redis

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "runs": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS.location},
}


@pytest.fixture
def keys() -> Iterator[RedisKeys]:
    with override_settings(CACHES=CACHES):
        made = RedisKeys()
        yield made
        made.close()
        caches["runs"].close()


def store(keys: RedisKeys) -> DjangoRedisStore:
    return DjangoRedisStore("runs", key_prefix=keys.prefix)


CASES = conformance.cases_for(
    Subject(store=DjangoRedisStore("runs"), advance=RedisKeys.advance, damage=RedisKeys.damage)  # type: ignore[arg-type]
)


@pytest.mark.parametrize("case", CASES)
async def test_the_contract_is_kept(case: conformance.Case, keys: RedisKeys) -> None:
    await case.run(Subject(store=store(keys), advance=keys.advance, damage=keys.damage))


def test_a_pipeline_runs_and_resumes_from_sync_code(keys: RedisKeys) -> None:
    down = True

    @stage(version="1")
    def first(ctx: Context) -> Context:
        return ctx.set("first", 1)

    @stage(version="1")
    def second(ctx: Context) -> Context:
        if down:
            raise ConnectionError("down")
        return ctx.set("second", 2)

    made = Pipeline([first, second], durable=True, checkpoint_store=store(keys))
    pipeline = made.bound_to(DjangoPipeline, name="tests", store=lambda: store(keys))
    with pytest.raises(ConnectionError):
        pipeline.invoke_sync({}, run_id="r")
    down = False
    assert dict(pipeline.resume_sync("r")) == {"first": 1, "second": 2}


@pytest.mark.parametrize("alias", ["missing", "default"])
def test_an_alias_that_is_no_redis_is_refused_with_the_remedy(alias: str) -> None:
    @stage
    def nothing(ctx: Context) -> Context:
        return ctx

    options: dict[str, Any] = {"durable": True, "checkpoint_store": DjangoRedisStore(alias)}
    pipeline = Pipeline([nothing], **options).bound_to(
        DjangoPipeline, name="tests", store=lambda: DjangoRedisStore(alias)
    )
    with (
        override_settings(CACHES=CACHES),
        pytest.raises(ConfigurationError, match=r"django_redis\.cache\.RedisCache"),
    ):
        pipeline.invoke_sync({}, run_id="r")


def test_a_ttl_is_above_zero() -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        DjangoRedisStore(ttl=0)


def test_without_django_redis_the_error_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['django_redis'] = None\n"
        "try:\n    import fluxio_django.redis_store\n"
        "except ImportError as problem:\n    print(problem)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "fluxio-django[django-redis]" in process.stdout
