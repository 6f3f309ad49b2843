"""Durable pipelines for Django: a crashed run goes on from its last checkpoint."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluxio_django.caches import (
        DjangoBreakerBackend,
        DjangoCacheStore,
        DjangoRateLimitBackend,
    )
    from fluxio_django.limits import Limits
    from fluxio_django.redis_store import DjangoRedisStore
    from fluxio_django.registry import pipelines, register
    from fluxio_django.store import DjangoStore

__all__ = [
    "DjangoBreakerBackend",
    "DjangoCacheStore",
    "DjangoRateLimitBackend",
    "DjangoRedisStore",
    "DjangoStore",
    "Limits",
    "pipelines",
    "register",
]

# Looked up at first use: settings may name a store, and models import a pipeline, while Django is
# still loading.
_HOMES = {
    "DjangoBreakerBackend": "fluxio_django.caches",
    "DjangoCacheStore": "fluxio_django.caches",
    "DjangoRateLimitBackend": "fluxio_django.caches",
    "DjangoRedisStore": "fluxio_django.redis_store",
    "DjangoStore": "fluxio_django.store",
    "Limits": "fluxio_django.limits",
    "pipelines": "fluxio_django.registry",
    "register": "fluxio_django.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
