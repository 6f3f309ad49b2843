"""`manage.py check` says when open views cannot be reached, or their limits are not kept."""

from typing import Any

import pytest

from fluxio_django.registry import pipelines
from tests.app.checks.found import found
from tests.app.checks.test_pipelines import NAME, sound

REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache"}}


@pytest.fixture
def opened(settings: Any) -> Any:
    """Settings with which all is well."""
    pipelines.add(NAME, sound)
    settings.FLUXIO = {"VIEWS": {NAME: {"START": "signed-in"}}}
    settings.CACHES = REDIS
    assert found() == {}
    yield settings
    pipelines.remove(NAME)


def test_w009_connections_that_outlive_requests_under_asgi(settings: Any) -> None:
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 60
    try:
        assert "fluxio.W009" not in found()
        settings.ASGI_APPLICATION = "project.asgi.application"
        assert "pool" in found()["fluxio.W009"].hint
    finally:
        settings.DATABASES["default"]["CONN_MAX_AGE"] = 0
    assert "fluxio.W009" not in found()


@pytest.mark.urls("example_project.orders.urls")
def test_w010_open_views_without_addresses(settings: Any) -> None:
    assert "fluxio.W010" not in found(tags=["fluxio"])
    settings.FLUXIO = {"VIEWS": {NAME: {}}}
    assert "include('fluxio_django.urls')" in found(tags=["fluxio"])["fluxio.W010"].hint


def test_w011_open_views_where_nobody_can_be_signed_in(opened: Any) -> None:
    opened.MIDDLEWARE = [each for each in opened.MIDDLEWARE if "Authentication" not in each]
    assert "401" in found(tags=["fluxio"])["fluxio.W011"].msg


@pytest.mark.parametrize("backend", ["dummy.DummyCache", "locmem.LocMemCache"])
def test_w012_starts_that_are_not_counted_over_all_processes(opened: Any, backend: str) -> None:
    opened.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    assert backend in found()["fluxio.W012"].msg
    opened.DEBUG = True
    assert "fluxio.W012" not in found()
