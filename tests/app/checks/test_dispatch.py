"""`manage.py check` says when queued runs reach no worker, or reach it in a way that bites."""

from collections.abc import Iterator
from typing import Any

import django
import pytest
from celery import Celery
from celery import current_app as project
from django.test import override_settings

from fluxio import Context, Pipeline, stage
from fluxio_django.dispatch import delivery
from fluxio_django.registry import pipelines
from tests.app.checks.found import found

CELERY = override_settings(FLUXIO={"DISPATCHER": "celery"})


@pytest.fixture
def celery() -> Iterator[Celery]:
    """The project's Celery application, on a broker that nobody asks for anything."""
    before = project._get_current_object()
    app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=True)
    yield app
    app.close()
    before.set_current()


@stage(timeout=7200.0, version="1")
async def patient(ctx: Context) -> Context:
    return ctx


def test_e007_what_the_dispatcher_needs_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(delivery._EXTRAS, "celery", "fluxio_django.dispatch.missing.Missing")
    delivery.dispatcher_named.cache_clear()
    with CELERY:
        message = found()["fluxio.E007"]
    delivery.dispatcher_named.cache_clear()
    assert "fluxio-django[celery]" in message.hint
    assert "'celery'" in message.msg


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has tasks from 6.0 on")
def test_e007_a_django_without_tasks_of_its_own_is_refused() -> None:
    delivery.dispatcher_named.cache_clear()
    with override_settings(FLUXIO={"DISPATCHER": "tasks"}):
        message = found()["fluxio.E007"]
    assert "No module named 'django.tasks'" in message.msg
    assert "Django>=6.0" in message.hint


def test_a_celery_that_is_set_up_well_has_nothing_to_be_told(celery: Celery) -> None:
    with CELERY:
        assert set(found()) == {"fluxio.W006"}  # the tests keep their runs in SQLite


def test_w003_redis_delivers_again_while_a_stage_may_still_run(celery: Celery) -> None:
    pipelines.add("checks.patient", lambda: Pipeline([patient], durable=True))
    try:
        with CELERY:
            message = found()["fluxio.W003"]
            celery.conf.broker_transport_options = {"visibility_timeout": 7201}
            assert "fluxio.W003" not in found()
    finally:
        pipelines.remove("checks.patient")
    assert "checks.patient/patient may take 7200 s" in message.msg
    assert "14400" in message.hint


def test_w004_whoever_can_write_to_the_broker_can_run_code(celery: Celery) -> None:
    celery.conf.accept_content = ["json", "pickle"]
    with CELERY:
        assert "accept_content" in found()["fluxio.W004"].hint


def test_w018_celery_closes_the_connections_that_are_meant_to_last(
    celery: Celery, settings: Any
) -> None:
    settings.DATABASES["default"]["CONN_MAX_AGE"] = 600
    try:
        with CELERY:
            assert "CELERY_DB_REUSE_MAX" in found()["fluxio.W018"].hint
            celery.conf.CELERY_DB_REUSE_MAX = 1000
            assert "fluxio.W018" not in found()
    finally:
        settings.DATABASES["default"]["CONN_MAX_AGE"] = 0


def test_w005_no_celery_application_is_loaded(celery: Celery) -> None:
    celery.conf.broker_url = None
    with CELERY:
        assert "__init__.py" in found()["fluxio.W005"].hint
