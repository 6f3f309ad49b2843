"""The Redis store over a cache alias of django-redis; needs the extra `django-redis`."""

from __future__ import annotations

from functools import partial

from django.core.cache import InvalidCacheBackendError

try:
    import django_redis
except ImportError as problem:
    raise ImportError(
        "DjangoRedisStore needs django-redis. Install it with: "
        "pip install 'fluxio-django[django-redis]'"
    ) from problem
from redis import Redis

from fluxio.codec import Keyring
from fluxio.errors import ConfigurationError
from fluxio.store.redis import LoopConnections, RedisStore, twin
from fluxio_django.conf import project_keyring


class DjangoRedisStore(RedisStore):
    """Keeps runs in the Redis behind a cache alias, with the settings of that alias.

    The cache's own keys, versions and serializer are not used: rows are text of the typed codec.
    May be built before Django's apps are loaded.

    Args:
        alias: a cache in CACHES whose backend is django_redis.
        ttl: seconds that a run stays after its last write; None keeps runs until they are deleted.
        key_prefix: what all keys begin with.
        keyring: signs or encrypts what is kept; FLUXIO["KEYRING"] where None.

    Raises:
        ValueError: `ttl` is not above 0.
    """

    def __init__(
        self,
        alias: str = "default",
        ttl: float | None = 86400,
        key_prefix: str = "fluxio:checkpoint",
        *,
        keyring: Keyring | None = None,
    ) -> None:
        blocking = partial(_client_of, alias)
        connections = LoopConnections(lambda: twin(blocking()), blocking)
        self._keep_in(
            connections,
            ttl=ttl,
            key_prefix=key_prefix,
            keyring=project_keyring if keyring is None else lambda: keyring,
        )


def _client_of(alias: str) -> Redis:
    """The client of a cache alias.

    Raises:
        ConfigurationError: there is no such alias, or it is none of django-redis.
    """
    try:
        client: Redis = django_redis.get_redis_connection(alias)
    except (InvalidCacheBackendError, NotImplementedError) as problem:
        raise ConfigurationError(
            f"DjangoRedisStore(alias={alias!r}) needs a cache of that name in CACHES with the "
            "backend 'django_redis.cache.RedisCache'."
        ) from problem
    return client
