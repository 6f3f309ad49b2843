"""Durable pipelines for Django: a crashed run goes on from its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxio.lazily import names_of

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
__getattr__, __dir__ = names_of(
    __name__,
    {
        "fluxio_django.caches": (
            "DjangoBreakerBackend",
            "DjangoCacheStore",
            "DjangoRateLimitBackend",
        ),
        "fluxio_django.limits": ("Limits",),
        "fluxio_django.redis_store": ("DjangoRedisStore",),
        "fluxio_django.registry": ("pipelines", "register"),
        "fluxio_django.store": ("DjangoStore",),
    },
)
