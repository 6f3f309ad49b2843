"""Checks of what views need around them: addresses, users, a shared cache, short connections."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.urls import NoReverseMatch, reverse

from fluxio_django.checks.ids import CheckID
from fluxio_django.conf import settings

_SIGNS_IN = "django.contrib.auth.middleware.AuthenticationMiddleware"
_ALONE = {
    "django.core.cache.backends.dummy.DummyCache": "keeps nothing",
    "django.core.cache.backends.locmem.LocMemCache": "is another one in every process",
}


def check_serving(app_configs: object, **_: Any) -> list[CheckMessage]:
    """Views that are open and cannot be reached, or whose limits are not kept."""
    found = [_lasting_connections()]
    if settings().views:
        found += [_unreachable(), _nobody_signed_in(), _uncounted()]
    return [message for message in found if message is not None]


def _lasting_connections() -> CheckMessage | None:
    alias = settings().database
    age = django_settings.DATABASES.get(alias, {}).get("CONN_MAX_AGE", 0)
    if not getattr(django_settings, "ASGI_APPLICATION", None) or age == 0:
        return None
    return CheckID.LASTING_CONNECTIONS.message(
        f"Database {alias!r} has CONN_MAX_AGE = {age!r}, and the project has an ASGI application: "
        "under ASGI every request has a thread of its own, and leaves its connection open there.",
        hint="Set CONN_MAX_AGE = 0, with psycopg's pool on PostgreSQL: 'OPTIONS': {'pool': True}.",
        obj="settings.DATABASES",
    )


def _unreachable() -> CheckMessage | None:
    try:
        reverse("fluxio:runs")
    except NoReverseMatch:
        return CheckID.UNREACHABLE_VIEWS.message(
            "FLUXIO['VIEWS'] opens pipelines, but the views have no addresses.",
            hint="Add path('fluxio/', include('fluxio_django.urls')) to the project's urls.py.",
            obj="settings.FLUXIO",
        )
    return None


def _nobody_signed_in() -> CheckMessage | None:
    names = [name.rpartition(".")[2] for name in django_settings.MIDDLEWARE]
    if any("Authentication" in name for name in names):
        return None
    return CheckID.NOBODY_SIGNED_IN.message(
        "FLUXIO['VIEWS'] opens pipelines, but no middleware says who is signed in: every answer "
        "will be 401.",
        hint=f"Add {_SIGNS_IN!r} to MIDDLEWARE, or the middleware that sets request.user.",
        obj="settings.MIDDLEWARE",
    )


def _uncounted() -> CheckMessage | None:
    backend = django_settings.CACHES.get("default", {}).get("BACKEND", "")
    if backend not in _ALONE or django_settings.DEBUG:
        return None
    return CheckID.UNCOUNTED_STARTS.message(
        "FLUXIO['START_RATE'] is counted in Django's default cache, which "
        f"{_ALONE[backend]} ({backend}): people can start more runs than they may.",
        hint="Use a cache that all processes share, such as Django's RedisCache.",
        obj="settings.CACHES",
    )
