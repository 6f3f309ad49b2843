"""Nothing is recorded where it would stay in a transaction that nobody said he would commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from fluxio import Context, Pipeline, stage
from fluxio.errors import ConfigurationError
from fluxio_django import DjangoStore
from fluxio_django.isolation import commits_nothing
from fluxio_django.models import Run
from fluxio_django.pipeline import DjangoPipeline


@stage(version="1")
def first(ctx: Context) -> Context:
    return ctx.set("first", 1)


@pytest.fixture
def pipeline(database: str, settings: Any) -> DjangoPipeline:
    settings.FLUXIO = {"DATABASE": database}
    made = Pipeline([first], durable=True, checkpoint_store=DjangoStore(database))
    return made.bound_to(DjangoPipeline, name="autocommit", store=DjangoStore)


@contextmanager
def without_autocommit(database: str) -> Iterator[None]:
    transaction.set_autocommit(False, using=database)
    try:
        yield
    finally:
        transaction.rollback(using=database)
        transaction.set_autocommit(True, using=database)


def refused(start: Callable[..., object], *args: Any, **options: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"autocommit switched off.*Switch it on"):
        start(*args, **options)


def test_a_run_is_refused_before_anything_is_written(
    pipeline: DjangoPipeline, database: str
) -> None:
    for run_id in ("first", "second"):
        with without_autocommit(database):
            refused(pipeline.invoke_sync, {}, run_id=run_id)
            refused(pipeline.enqueue_sync, {}, run_id=run_id)
            assert not Run.objects.using(database).filter(run_id=run_id).exists()
        pipeline.invoke_sync({}, run_id=run_id)
    with without_autocommit(database):
        refused(pipeline.replay_sync, "second")
        with transaction.atomic(using=database):
            assert pipeline.invoke_sync({}, run_id="third")["first"] == 1


async def test_async_code_is_refused_as_well(pipeline: DjangoPipeline, database: str) -> None:
    switch = sync_to_async(transaction.set_autocommit)
    await switch(False, using=database)
    try:
        for start in (pipeline.invoke, pipeline.enqueue):
            with pytest.raises(ConfigurationError, match="autocommit switched off"):
                await start({}, run_id="async")
    finally:
        await switch(True, using=database)


def test_a_connection_that_is_not_open_yet_is_as_its_settings_say(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections[database].copy()
    assert not commits_nothing(connection)
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
    assert commits_nothing(connection)
